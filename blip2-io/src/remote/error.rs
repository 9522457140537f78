//! What went wrong on the way.

use thiserror::Error;

/// What stands at a URL could not be read.
#[derive(Debug, Error)]
#[error("{url}: {reason}")]
#[non_exhaustive]
pub struct FetchError {
    /// The URL, without a name or a password.
    pub url: String,
    /// Why.
    pub reason: String,
}

impl FetchError {
    pub(super) fn new(url: &str, reason: String) -> Self {
        let url = without_password(url);
        Self { url, reason }
    }
}

/// A URL as it may stand in a log.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_string();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_told() {
        for (url, told) in [
            ("https://me:secret@h/x.png", "https://h/x.png"),
            ("https://h/a@b.png", "https://h/a@b.png"),
            ("https://a@b@h?x@y", "https://h?x@y"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_password(url), told);
        }
    }
}
