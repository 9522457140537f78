//! The stopping rule of beam search.

use serde::{Deserialize, Serialize};

/// When a beam search stops. In JSON: `false`, `true` or `"never"`.
///
/// ```
/// use blip2_lm::generate::{EarlyStopping, GenerationConfig};
///
/// let read: GenerationConfig =
///     serde_json::from_str(r#"{ "num_beams": 5, "early_stopping": "never" }"#)?;
/// assert_eq!(read.early_stopping, EarlyStopping::Never);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EarlyStoppingJson", into = "EarlyStoppingJson")]
pub enum EarlyStopping {
    /// Once there are `num_beams` finished sequences and the best running beam, were it to finish
    /// now, would not beat the worst of them.
    #[default]
    False,
    /// As soon as there are `num_beams` finished sequences.
    True,
    /// As [`False`](Self::False), but with a positive length penalty the running beam is judged as
    /// if it reached the maximum length: the canonical search, which cannot miss a better one.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EarlyStoppingJson {
    Flag(bool),
    Word(Never),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Never {
    Never,
}

impl From<EarlyStoppingJson> for EarlyStopping {
    fn from(json: EarlyStoppingJson) -> Self {
        match json {
            EarlyStoppingJson::Flag(false) => Self::False,
            EarlyStoppingJson::Flag(true) => Self::True,
            EarlyStoppingJson::Word(Never::Never) => Self::Never,
        }
    }
}

impl From<EarlyStopping> for EarlyStoppingJson {
    fn from(value: EarlyStopping) -> Self {
        match value {
            EarlyStopping::False => Self::Flag(false),
            EarlyStopping::True => Self::Flag(true),
            EarlyStopping::Never => Self::Word(Never::Never),
        }
    }
}
