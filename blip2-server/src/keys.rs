//! Bearer keys.

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Keys any of which opens the server.
pub(crate) struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| digest(key.as_bytes())).collect())
    }

    /// Whether a request brings a key, or none is needed. Neither how long it takes nor how many keys there
    /// are tells how near a guess came: digests of one length are compared whole, with every key.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let given = digest(bearer(headers).unwrap_or_default());
        let found = self.0.iter().fold(Choice::from(0), |found, key| {
            found | key.as_slice().ct_eq(given.as_slice())
        });
        found.into()
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The token of `Authorization: Bearer`, whose scheme has no case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked("bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allows(keys: &[&str], given: Option<&str>) -> bool {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            let value = HeaderValue::from_str(given).unwrap();
            headers.insert(header::AUTHORIZATION, value);
        }
        Keys::new(&keys).allow(&headers)
    }

    #[test]
    fn any_of_the_keys_opens_and_nothing_else() {
        let keys = ["first", "second"];
        assert!(allows(&keys, Some("Bearer second")));
        assert!(allows(&keys, Some("bearer first")));
        for other in [
            None,
            Some("Bearer "),
            Some("Bearer firs"),
            Some("Bearer firstt"),
            Some("Basic first"),
            Some("first"),
        ] {
            assert!(!allows(&keys, other), "{other:?}");
        }
    }

    #[test]
    fn without_keys_everyone_may_ask() {
        assert!(allows(&[], None));
    }
}
