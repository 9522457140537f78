//! Ids of models on the Hugging Face hub.

use std::{fmt, path::Path, str::FromStr};

/// The most characters that the hub allows in an id.
const LONGEST: usize = 96;
/// The revision of an id that names none.
const MAIN: &str = "main";

/// The id of a model on the Hugging Face hub: `owner/name`, or `owner/name@revision`, where the
/// revision is a branch, a tag or a commit.
///
/// ```
/// use blip2_io::hub::ModelId;
///
/// let id: ModelId = "Salesforce/blip2-opt-2.7b@51572668da0eb669e01a189dc22abe6088589a24".parse()?;
/// assert_eq!(id.name(), "Salesforce/blip2-opt-2.7b");
/// assert_eq!("Salesforce/blip2-opt-2.7b".parse::<ModelId>()?.revision(), "main");
/// assert!("models/../secret".parse::<ModelId>().is_err());
/// # Ok::<(), blip2_io::hub::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId {
    name: String,
    revision: Option<String>,
}

/// A text that is no id of the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id of the Hugging Face hub; one is written owner/name or owner/name@revision")]
pub struct InvalidId(String);

impl ModelId {
    /// The id without its revision.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The revision; `main` where none was named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// The same model at another revision.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] for a text that is no revision.
    pub fn at(&self, revision: &str) -> Result<Self, InvalidId> {
        format!("{}@{revision}", self.name).parse()
    }

    /// The id that a path which is no folder may stand for.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        path.to_str()?.parse().ok()
    }

    /// The id that a path may stand for which is no folder, and no slip in the name of one: of an owner,
    /// and not in a folder that is there.
    pub fn to_download(path: &Path) -> Option<Self> {
        let id = Self::of_path(path)?;
        let (owner, _) = id.name.split_once('/')?;
        (!path.exists() && !Path::new(owner).exists()).then_some(id)
    }

    /// The id in a model's address on the hub, as a browser shows it.
    ///
    /// ```
    /// use blip2_io::hub::ModelId;
    ///
    /// let id = ModelId::of_address("https://huggingface.co/Salesforce/blip2-opt-2.7b/tree/main");
    /// assert_eq!(id.unwrap().to_string(), "Salesforce/blip2-opt-2.7b@main");
    /// assert!(ModelId::of_address("https://example.org/a/b").is_none());
    /// ```
    pub fn of_address(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let rest = match scheme {
            "http" | "https" => {
                let (host, path) = rest.split_once('/')?;
                let host = host.trim_start_matches("www.");
                ["huggingface.co", "hf.co"]
                    .contains(&host)
                    .then_some(path)?
            }
            "hf" => rest,
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next()?;
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        let name = format!("{}/{}", parts.next()?, parts.next()?);
        match (parts.next(), parts.next()) {
            (Some("tree" | "blob" | "resolve"), Some(revision)) => {
                format!("{name}@{revision}").parse().ok()
            }
            _ => name.parse().ok(),
        }
    }

    /// The id of a folder of the cache.
    pub(crate) fn of_folder(folder: &str) -> Option<Self> {
        let name = folder.strip_prefix("models--")?.replace("--", "/");
        name.parse().ok()
    }

    /// The folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}", self.name.replace('/', "--"))
    }
}

impl FromStr for ModelId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId(text.to_string());
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        let parts: Vec<&str> = name.split('/').collect();
        let fits = parts.len() <= 2
            && name.len() <= LONGEST
            && parts.iter().all(|part| is_part(part))
            && revision.is_none_or(is_revision);
        match fits {
            true => Ok(Self {
                name: name.to_string(),
                revision: revision.map(str::to_string),
            }),
            false => Err(invalid()),
        }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What the hub allows between the slashes of an id (`validate_repo_id` of `huggingface_hub`).
fn is_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    part.chars().all(plain)
        && edge(part.chars().next())
        && edge(part.chars().next_back())
        && !part.contains("--")
        && !part.contains("..")
}

/// A revision becomes a path below the cache and a part of an address: its components must stay there.
pub(super) fn is_revision(revision: &str) -> bool {
    let component = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        !part.is_empty() && part.chars().all(plain) && !part.contains("..") && part != "."
    };
    revision.len() <= 2 * LONGEST && revision.split('/').all(component)
}

/// Whether a text is a whole commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_within_the_cache() {
        for text in [
            "Salesforce/blip2-opt-2.7b",
            "gpt2",
            "a/b@refs/pr/1",
            "a_b/c.d@v1.0",
        ] {
            let id: ModelId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(ModelId::of_folder(&id.folder()).unwrap().name(), id.name());
        }
        for text in [
            "", "/a", "a/", "a/b/c", "../a", "a/..", "a--b/c", "a/b@", "a/b@../x", "a/b@/x",
            "a b/c", "a/b@x?y", "./a", ".a/b", "a\\b",
        ] {
            assert!(text.parse::<ModelId>().is_err(), "{text}");
        }
    }
}
