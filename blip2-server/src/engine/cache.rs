//! Encoded pictures that are kept for further questions.

use std::{collections::HashMap, hash::Hash};

/// Values by what they were made of, a model and the digest of a picture, the least recently used of which go first
/// when all together would take more bytes than the limit.
pub(super) struct Cache<K, T> {
    limit: usize,
    bytes: usize,
    clock: u64,
    kept: HashMap<K, Kept<T>>,
}

struct Kept<T> {
    value: T,
    bytes: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, T: Clone> Cache<K, T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            clock: 0,
            kept: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<T> {
        self.clock += 1;
        let kept = self.kept.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.value.clone())
    }

    /// Keeps a value, unless it alone is too large.
    pub(super) fn insert(&mut self, key: K, value: T, bytes: usize) {
        self.remove(&key);
        if bytes > self.limit {
            return;
        }
        while self.bytes + bytes > self.limit {
            // Few pictures are kept, and encoding one takes far longer than looking through them.
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                return;
            };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        let used = self.clock;
        self.kept.insert(key, Kept { value, bytes, used });
    }

    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.bytes;
        }
    }

    /// What all that is kept takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Digest;

    fn digest(of: u8) -> Digest {
        Digest::of(&[[of]])
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(30);
        for n in 0..3 {
            cache.insert(digest(n), n, 10);
        }
        assert_eq!(cache.get(&digest(0)), Some(0));
        cache.insert(digest(3), 3, 15);
        let left: Vec<_> = (0..4).map(|n| cache.get(&digest(n))).collect();
        assert_eq!(left, [Some(0), None, None, Some(3)]);
        assert_eq!(cache.bytes(), 25);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_what_comes_again_counts_once() {
        let mut cache = Cache::new(30);
        cache.insert(digest(0), 0, 31);
        assert_eq!((cache.get(&digest(0)), cache.bytes()), (None, 0));
        cache.insert(digest(1), 1, 20);
        cache.insert(digest(1), 2, 25);
        assert_eq!((cache.get(&digest(1)), cache.bytes()), (Some(2), 25));
    }
}
