//! One picture of its copies.

use std::collections::HashMap;

use super::{PictureFile, collect::Collector, same::alike};

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
