//! Pictures that come with several records, each time as a copy of their own.

use std::{collections::HashMap, hash::Hash};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{PictureFile, shard::ShardMember};
use crate::preprocessing::DecodeOptions;

/// A picture that came with its record.
pub(super) struct Embedded {
    /// Its number.
    pub(super) picture: usize,
    /// A hash of what the record calls it; none where it does not.
    pub(super) called: Option<u64>,
}

impl Embedded {
    pub(super) fn new(picture: usize, called: Option<&str>) -> Self {
        let called = called.map(|name| xxh3_64(name.as_bytes()));
        Self { picture, called }
    }
}

/// Those that have a key in common with another one, in their order.
pub(super) fn alike<T, K: Eq + Hash>(all: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
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
