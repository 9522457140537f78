//! A name for each request, by which the log can be searched.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header that names a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that is taken over from a client.
const LONGEST: usize = 128;

/// A new name, told apart from those of this process by a count and from those of others by chance. Nothing
/// depends on its being hard to guess.
pub(crate) fn new(prefix: &str) -> String {
    static PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{prefix}{:016x}{:08x}",
        PROCESS.hash_one(count),
        count as u32
    )
}

/// The name that a request brought, if it may stand in a log and a header, or a new one.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let given = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        !id.is_empty() && id.len() <= LONGEST && id.iter().all(plain)
    });
    given.cloned().unwrap_or_else(|| {
        let new = HeaderValue::from_str(&new("req-"));
        new.unwrap_or_else(|_| HeaderValue::from_static("req-0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(name).unwrap());
        of(&headers).to_str().unwrap().to_string()
    }

    #[test]
    fn a_plain_name_is_kept_and_others_are_replaced() {
        assert_eq!(named("abc-1.2_3:4"), "abc-1.2_3:4");
        for odd in ["", "a b", "a\tb", &"x".repeat(LONGEST + 1), "\"quoted\""] {
            assert!(named(odd).starts_with("req-"), "{odd:?}");
        }
    }

    #[test]
    fn new_names_differ() {
        assert_ne!(new("a-"), new("a-"));
    }
}
