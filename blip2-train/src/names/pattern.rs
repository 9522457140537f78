//! Which names are meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Some whole components of a Hugging Face name, which stands for all names that begin or end with
/// them.
///
/// A name's components are what stands between its dots. The pattern matches a name that equals it,
/// a name that begins with it and a dot (everything in a part of the model), and a name that ends
/// with it after a dot (a layer wherever it occurs, which is the rule of PEFT's `target_modules`).
/// Parts of components match nothing: `qform` is not `qformer`.
///
/// ```
/// use blip2_train::NamePattern;
///
/// let name = "language_model.model.decoder.layers.0.self_attn.q_proj";
/// for pattern in ["language_model", "q_proj", "self_attn.q_proj", name] {
///     assert!(NamePattern::from(pattern).matches(name));
/// }
/// for pattern in ["language", "proj", "decoder", ""] {
///     assert!(!NamePattern::from(pattern).matches(name));
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let begins = name == self.0 || within(&self.0, name).is_some();
        begins || self.is_end_of(name)
    }

    /// Whether a name ends with the pattern after a dot, or equals it: PEFT's rule.
    pub(crate) fn is_end_of(&self, name: &str) -> bool {
        let before = name.strip_suffix(self.as_str());
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }
}

impl From<&str> for NamePattern {
    fn from(text: &str) -> Self {
        Self(text.to_string())
    }
}

impl From<String> for NamePattern {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&String> for NamePattern {
    fn from(text: &String) -> Self {
        Self(text.clone())
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rest of the name of what is in a module; `None` if it is not in it.
pub(crate) fn within<'n>(module: &str, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(module)?.strip_prefix('.')
}

/// Some of a model's parameters.
///
/// ```
/// use blip2_train::Selection;
///
/// let bridge = Selection::matching(["qformer", "query_tokens", "language_projection"]);
/// assert!(bridge.contains("qformer.layernorm.weight"));
/// assert!(!bridge.contains("vision_model.post_layernorm.weight"));
/// assert!(Selection::All.contains("vision_model.post_layernorm.weight"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// All of them.
    All,
    /// Those that one of the patterns matches; none where there is no pattern.
    Matching(Vec<NamePattern>),
    /// All but those that one of the patterns matches.
    Except(Vec<NamePattern>),
}

impl Selection {
    /// Those that one of these patterns matches.
    pub fn matching<P: Into<NamePattern>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self::Matching(patterns.into_iter().map(Into::into).collect())
    }

    /// All but those that one of these patterns matches.
    pub fn except<P: Into<NamePattern>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self::Except(patterns.into_iter().map(Into::into).collect())
    }

    /// None of them.
    pub fn none() -> Self {
        Self::Matching(Vec::new())
    }

    /// Whether a parameter is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(patterns) => any_matches(patterns, name),
            Self::Except(patterns) => !any_matches(patterns, name),
        }
    }
}

pub(crate) fn any_matches(patterns: &[NamePattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_components_from_an_end_match() {
        let matches = |pattern: &str, name: &str| NamePattern::from(pattern).matches(name);
        for (pattern, name) in [
            ("qformer", "qformer.encoder.layer.0.attention.query.weight"),
            ("query_tokens", "query_tokens"),
            (
                "vision_model.encoder.layers.1",
                "vision_model.encoder.layers.1.mlp.fc1.bias",
            ),
            ("q_proj", "language_model.layers.0.self_attn.q_proj"),
            ("q_proj", "q_proj"),
            ("mlp.fc1", "vision_model.encoder.layers.1.mlp.fc1"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("qform", "qformer.layernorm.weight"),
            (
                "vision_model.encoder.layers.1",
                "vision_model.encoder.layers.11.mlp.fc1.bias",
            ),
            ("q_proj", "language_model.layers.0.self_attn.seq_proj"),
            ("embeddings", "vision_model.embeddings.class_embedding"),
            ("former.encoder", "qformer.encoder"),
            ("qformer.", "qformer.layernorm.weight"),
            (".weight", "qformer.layernorm.weight"),
            ("", "qformer.layernorm.weight"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_selection_is_all_some_or_the_others() {
        let name = "vision_model.post_layernorm.weight";
        assert!(Selection::All.contains(name));
        assert!(!Selection::none().contains(name));
        assert!(Selection::matching(["vision_model"]).contains(name));
        assert!(!Selection::except(["vision_model"]).contains(name));
        assert!(Selection::except(["qformer"]).contains(name));
    }
}
