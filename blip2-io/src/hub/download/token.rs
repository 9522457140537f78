//! The token by which the hub knows a user.

use std::{env, fmt, fs, path::Path};

use crate::hub::home::is_true;

/// A token. It is sent to the hub alone and shown to nobody.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    /// A token without the space around it; `None` for what cannot be one.
    pub(super) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_string()))
    }

    /// As Python finds it: `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file that `hf auth
    /// login` writes; none where `HF_HUB_DISABLE_IMPLICIT_TOKEN` says so.
    pub(super) fn of_environment(file: &Path) -> Option<Self> {
        let variable = |name| Self::new(&env::var(name).ok()?);
        let no = env::var("HF_HUB_DISABLE_IMPLICIT_TOKEN").unwrap_or_default();
        if is_true(&no) {
            return None;
        }
        variable("HF_TOKEN")
            .or_else(|| variable("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| Self::new(&fs::read_to_string(file).ok()?))
    }

    /// The header's value.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new(" hf_secret\n").unwrap();
        assert_eq!(format!("{token:?}"), "a token");
        assert_eq!(token.header(), "Bearer hf_secret");
        assert!(Token::new("two words").is_none() && Token::new("\n").is_none());
    }
}
