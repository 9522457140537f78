//! Pictures that come with several records, each time as a copy of their own.

use std::{collections::HashMap, hash::Hash};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{PictureFile, collect::Collector, shard::ShardMember};
use crate::preprocessing::DecodeOptions;

/// A picture that came with its record.
pub(super) struct Embedded {
    /// Its number.
    picture: usize,
    /// A hash of what the record calls it; none where it does not.
    called: Option<u64>,
}

impl Embedded {
    pub(super) fn new(picture: usize, called: Option<&str>) -> Self {
        let called = called.map(|name| xxh3_64(name.as_bytes()));
        Self { picture, called }
    }
}

impl Collector {
    /// Makes one picture of the copies of one, so that what counts pictures counts it once: those that are
    /// called alike and have the same bytes. A name alone tells too little, as `image.jpg` may be that of
    /// every row. `contents` gives a hash of the bytes of each of those that may be copies; none for one
    /// that cannot be read, or is known to be no copy.
    pub(super) fn unite(&mut self, contents: impl FnOnce(&[&PictureFile]) -> Vec<Option<u128>>) {
        let embedded = std::mem::take(&mut self.embedded);
        let alike = alike(&embedded, |own| own.called);
        let pictures: Vec<&PictureFile> = alike
            .iter()
            .filter_map(|own| self.pictures.get(own.picture))
            .collect();
        let hashes = contents(&pictures);
        let mut first_of: Vec<usize> = (0..self.pictures.len()).collect();
        let mut known = HashMap::new();
        for (own, hash) in alike.into_iter().zip(hashes) {
            let Some(hash) = hash else { continue };
            let first = *known.entry((own.called, hash)).or_insert(own.picture);
            first_of[own.picture] = first;
        }
        self.merge(&first_of);
    }

    /// Gives each picture's examples the number of the first that is the same. The others stay where they
    /// are read from: they lie near what is read with them.
    fn merge(&mut self, first_of: &[usize]) {
        let pictures = std::mem::take(&mut self.pictures);
        let mut places = Vec::with_capacity(pictures.len());
        for (number, picture) in pictures.into_iter().enumerate() {
            let is_first = first_of[number] == number;
            let kept = match is_first {
                true => &mut self.pictures,
                false => &mut self.copies,
            };
            places.push(kept.len());
            kept.push(picture);
        }
        for example in &mut self.examples {
            let number = example.picture;
            let first = first_of[number];
            example.copy = (first != number).then(|| places[number]);
            example.picture = places[first];
        }
    }
}

/// Those that have a key in common with another one, in their order.
fn alike<T, K: Eq + Hash>(all: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut counts: HashMap<K, usize> = HashMap::new();
    for one in all {
        *counts.entry(key(one)).or_default() += 1;
    }
    let is_shared = |one: &&T| counts.get(&key(one)).is_some_and(|&count| count > 1);
    all.iter().filter(is_shared).collect()
}

/// A hash of a picture's bytes.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// Hashes of members of shards. Of most a few bytes tell that they are no copies: a picture is read whole
/// if another one is as long and ends alike.
pub(super) fn of_members(pictures: &[&PictureFile]) -> Vec<Option<u128>> {
    let mut hashes = vec![None; pictures.len()];
    let members: Vec<(usize, &ShardMember)> = pictures
        .iter()
        .enumerate()
        .filter_map(|(number, picture)| match picture {
            PictureFile::Shard(member) => Some((number, member)),
            _ => None,
        })
        .collect();
    let as_long = alike(&members, |(_, member)| member.size());
    let ended = as_long.into_iter().filter_map(|&(number, member)| {
        let end = hash(&member.end().ok()?);
        Some((number, member, end))
    });
    let ended: Vec<(usize, &ShardMember, u128)> = ended.collect();
    let limit = DecodeOptions::default().limits.max_file_bytes;
    for (number, member, _) in alike(&ended, |(_, member, end)| (member.size(), *end)) {
        hashes[*number] = member.read(limit).ok().map(|bytes| hash(&bytes));
    }
    hashes
}
