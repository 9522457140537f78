//! The photo index, as it is and with the hash that its content has: behind the hash are the checks of
//! everything else.
#![no_main]

use blip2_core::PhotoIndex;
use blip2_fuzz::{chosen, on_disk};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::Xxh3;

/// Writes the right hash into the header, of what the sizes in it say is hashed.
fn hashed(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let number = |place: usize| Some(u32::from_le_bytes(*bytes.get(place..)?.first_chunk()?));
    let [count, queries, dim] = [number(12)?, number(16)?, number(20)?].map(u64::from);
    let embeddings = queries
        .checked_mul(dim)?
        .checked_mul(4)?
        .checked_mul(count)?;
    let table = u64::from_le_bytes(*bytes.get(32..)?.first_chunk()?);
    let end = table.checked_add(embeddings)?.checked_add(64)?;
    let mut hasher = Xxh3::new();
    hasher.update(bytes.get(..56)?);
    hasher.update(bytes.get(64..usize::try_from(end).ok()?)?);
    bytes
        .get_mut(56..64)?
        .copy_from_slice(&hasher.digest().to_le_bytes());
    Some(bytes)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((whole, rest)) = chosen(bytes, &[false, true]) else {
        return;
    };
    let content = match whole {
        true => hashed(rest.to_vec()),
        false => None,
    };
    let folder = on_disk(&[("x.idx", content.as_deref().unwrap_or(rest))]);
    let path = folder.path().join("x.idx");
    if let Ok(mut index) = PhotoIndex::open(&path) {
        let names: Vec<String> = index.names().map(Into::into).collect();
        let _ = index.save(&path);
        PhotoIndex::open(&path).expect("what was saved is whole");
        for name in names {
            assert!(index.remove(&name));
        }
    }
});
