//! A hash of weights, to tell models apart.

use xxhash_rust::xxh3::Xxh3;

use super::Checkpoint;

impl Checkpoint {
    /// A hash, in hexadecimal, of the tensors whose names start with one of `prefixes`: names,
    /// formats, shapes and every byte of their numbers, so that one changed weight changes it.
    /// `extra` is hashed too: whatever else should tell two models apart.
    ///
    /// Reads those tensors once, at the speed of memory (XXH3), or of the disk if they are not
    /// cached. It is no protection against someone who forges a collision.
    pub fn fingerprint(&self, prefixes: &[&str], extra: &str) -> String {
        let mut hasher = Xxh3::new();
        hasher.update(&(extra.len() as u64).to_le_bytes());
        hasher.update(extra.as_bytes());
        for (name, entry) in &self.tensors {
            if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            hasher.update(format!("{name}:{:?}:{:?};", entry.dtype, entry.shape).as_bytes());
            if let Ok(bytes) = self.bytes(entry) {
                hasher.update(&bytes);
            }
            self.release(name);
        }
        format!("{:016x}", hasher.digest())
    }
}
