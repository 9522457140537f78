//! Where shorter rows are filled.

use serde::Deserialize;

/// On which side a batch's shorter rows are padded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    /// Before the text.
    Left,
    /// After the text.
    #[default]
    Right,
}
