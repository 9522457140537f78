//! Where Python keeps what it has from the hub, by its environment variables.

use std::{env, ffi::OsString, path::PathBuf};

/// A look at the environment: the process's own, or a test's.
type Lookup<'l> = &'l dyn Fn(&str) -> Option<OsString>;

/// What the environment says of the hub, with the precedence of Python's `huggingface_hub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    /// `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in the home.
    pub(super) cache: PathBuf,
    /// `HF_TOKEN_PATH`, else `token` in the home.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    pub(super) token: PathBuf,
}

impl Home {
    pub(super) fn of_process() -> Self {
        Self::of(&|name| env::var_os(name))
    }

    fn of(lookup: Lookup<'_>) -> Self {
        let get = |name: &str| variable(lookup, name);
        let home = get("HF_HOME").unwrap_or_else(|| {
            let caches = get("XDG_CACHE_HOME").or_else(|| Some(user(lookup)?.join(".cache")));
            caches.unwrap_or_default().join("huggingface")
        });
        let cache = get("HF_HUB_CACHE").or_else(|| get("HUGGINGFACE_HUB_CACHE"));
        Self {
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token: get("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token")),
        }
    }
}

/// Whether `HF_HUB_OFFLINE`, or else `TRANSFORMERS_OFFLINE`, forbids to ask the hub.
pub(super) fn is_offline() -> bool {
    offline(&|name| env::var_os(name))
}

fn offline(lookup: Lookup<'_>) -> bool {
    let set = |name| lookup(name).filter(|value| !value.is_empty());
    let value = set("HF_HUB_OFFLINE").or_else(|| set("TRANSFORMERS_OFFLINE"));
    value.is_some_and(|value| is_true(&value.to_string_lossy()))
}

/// Whether a variable's value means yes.
pub(super) fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

/// A path in a variable, with `~` and variables in it; an empty one says nothing.
fn variable(lookup: Lookup<'_>, name: &str) -> Option<PathBuf> {
    let value = lookup(name).filter(|value| !value.is_empty())?;
    let Some(text) = value.to_str() else {
        return Some(value.into());
    };
    let text = expanded(lookup, text);
    let user = || user(lookup);
    Some(match text.strip_prefix('~') {
        Some("") => user()?,
        Some(rest) if rest.starts_with('/') => user()?.join(rest.trim_start_matches('/')),
        _ => text.into(),
    })
}

/// A text whose `$NAME` and `${NAME}` are replaced by the variables' values, where there are such.
fn expanded(lookup: Lookup<'_>, text: &str) -> String {
    let mut pieces = text.split('$');
    let mut whole = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (name, rest) = match piece
            .strip_prefix('{')
            .and_then(|piece| piece.split_once('}'))
        {
            Some(braced) => braced,
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                piece.split_at(piece.find(|c| !word(c)).unwrap_or(piece.len()))
            }
        };
        match lookup(name).filter(|_| !name.is_empty()) {
            Some(value) => {
                whole.push_str(&value.to_string_lossy());
                whole.push_str(rest);
            }
            None => {
                whole.push('$');
                whole.push_str(piece);
            }
        }
    }
    whole
}

fn user(lookup: Lookup<'_>) -> Option<PathBuf> {
    let home = lookup("HOME").or_else(|| lookup("USERPROFILE"))?;
    Some(home.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Home {
        Home::of(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn variables_have_pythons_precedence() {
        let mut variables = vec![("HOME", "/home/me")];
        for (name, value, cache) in [
            ("", "", "/home/me/.cache/huggingface/hub"),
            ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
            ("HF_HOME", "~/hf", "/home/me/hf/hub"),
            ("HUGGINGFACE_HUB_CACHE", "$HOME/old", "/home/me/old"),
            ("HF_HUB_CACHE", "/${XDG_CACHE_HOME}/new", "//x/new"),
        ] {
            variables.push((name, value));
            assert_eq!(home(&variables).cache, PathBuf::from(cache), "{name}");
        }
        assert_eq!(home(&variables).token, PathBuf::from("/home/me/hf/token"));
        let empty = [
            ("HOME", "/home/me"),
            ("HF_HUB_CACHE", ""),
            ("HF_HOME", "/hf"),
        ];
        assert_eq!(home(&empty).cache, PathBuf::from("/hf/hub"));
    }

    #[test]
    fn the_switch_for_offline_is_read_as_python_does() {
        for (variables, expected) in [
            (&[("HF_HUB_OFFLINE", "1")][..], true),
            (&[("HF_HUB_OFFLINE", "Yes")], true),
            (
                &[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")],
                false,
            ),
            (
                &[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "true")],
                true,
            ),
            (&[], false),
        ] {
            let found = offline(&|name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            });
            assert_eq!(found, expected, "{variables:?}");
        }
    }
}
