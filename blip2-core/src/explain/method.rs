//! By which method it is told where a model looked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How it is told how much each patch carried an answer. What each costs and is worth:
/// `docs/explain.md` of the repository.
///
/// ```
/// use blip2_core::explain::Method;
///
/// assert_eq!(Method::default(), Method::Relevance);
/// assert_eq!(Method::Rollout.to_string(), "rollout");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// Gradient-weighted attention relevance (Chefer, Gur and Wolf, 2021, "Generic
    /// Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers"):
    /// every attention map, weighted by its gradient, from the answer down to the patches. A forward
    /// and a backward pass for each token. The default.
    #[default]
    Relevance,
    /// Attention rollout (Abnar and Zuidema, 2020, "Quantifying Attention Flow in Transformers"): the
    /// product of all attention maps, each half of it the residual. One forward pass, no gradients; it
    /// tells where the model looks and not what for, so that every token's map is much the same.
    Rollout,
    /// Occlusion (Zeiler and Fergus, 2014, "Visualizing and Understanding Convolutional Networks"):
    /// how much the log-probability falls when a patch is hidden under the picture's mean colour. A
    /// forward pass for each patch; slow and honest, and the only one whose values are negative where
    /// a patch speaks against the answer.
    Occlusion,
    /// The attention of the last layers alone, from the answer to the queries and from them to the
    /// patches: what is often taken for an explanation, and what others are to be measured against.
    Attention,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Relevance,
        Self::Rollout,
        Self::Occlusion,
        Self::Attention,
    ];
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Relevance => "relevance",
            Self::Rollout => "rollout",
            Self::Occlusion => "occlusion",
            Self::Attention => "attention",
        })
    }
}
