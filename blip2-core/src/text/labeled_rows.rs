//! Rows to be read, with what is to be written.

use super::rows::PromptRows;
use crate::error::Blip2Error;

/// Rows to be read, and what is to be written.
///
/// ```
/// use blip2_core::{AnswerRows, CheckpointFolder};
///
/// let rows = AnswerRows::of(&CheckpointFolder::open("../blip2-cli/demo")?, None)?;
/// let batch = rows.questions(&[("what color is the shape?", "red")])?;
/// let (read, labels) = (&batch.rows.ids()[0], &batch.labels[0]);
/// let taught = labels.iter().zip(read).filter(|(label, _)| **label != -100);
/// // The answer and the end token, each where the model reads it; the question does not count.
/// assert!(taught.clone().all(|(label, id)| *label == i64::from(*id)));
/// assert_eq!(taught.last(), Some((&2, &2)));
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LabeledRows {
    /// What the language model reads. Of a decoder-only model, and of
    /// BLIP-1 that describes, what is to be written follows the prompts.
    pub rows: PromptRows,
    /// What a Q-Former reads that reads prompts (InstructBLIP).
    pub instructions: Option<PromptRows>,
    /// The tokens to be written: of a decoder-only model in the places of `rows`, else in rows of
    /// their own. What does not count is −100.
    pub labels: Vec<Vec<i64>>,
}

impl LabeledRows {
    /// The rows at these places, in this order, as long as they are.
    ///
    /// # Errors
    ///
    /// As [`PromptRows::select`].
    pub fn select(&self, places: &[usize]) -> Result<Self, Blip2Error> {
        let instructions = self.instructions.as_ref();
        let labels = places.iter().filter_map(|&place| self.labels.get(place));
        Ok(Self {
            rows: self.rows.select(places)?,
            instructions: instructions.map(|rows| rows.select(places)).transpose()?,
            labels: labels.cloned().collect(),
        })
    }
}

/// The label of what does not count.
pub(super) const IGNORED: i64 = -100;
