//! A generation as it was recorded, and how what was found differs from it.

use blip2_core::{Blip2Error, TextConfig};
use blip2_lm::generate::Generated;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{error::VerifyError, ids};

/// How far a score may be from the recorded one, as a share of it.
const SCORE_SHARE: f64 = 1e-4;

/// A recorded generation.
#[derive(Deserialize)]
pub(crate) struct Case {
    #[serde(default)]
    pub(crate) kwargs: Map<String, Value>,
    pub(crate) sequences: Vec<Vec<u32>>,
    #[serde(default)]
    sequences_scores: Vec<f64>,
    #[serde(default)]
    text: Option<Vec<String>>,
    pub(crate) f64_agrees: Option<bool>,
}

impl Case {
    pub(crate) fn read(key: &str, value: &Value) -> Result<Self, VerifyError> {
        Self::deserialize(value).map_err(|error| VerifyError::golden(format!("{key}: {error}")))
    }

    /// Whether each prompt gets one text, without beams: a draft writes ahead for these.
    pub(crate) fn writes_one(&self) -> bool {
        let is_one = |key| self.kwargs.get(key).is_none_or(|count| count == 1);
        is_one("num_beams") && is_one("num_return_sequences")
    }

    /// How results, with the tokens before them, differ from what was recorded.
    pub(crate) fn differs(
        &self,
        histories: &[Vec<u32>],
        results: &[Generated],
        pad: u32,
        scores: f64,
        text: impl Fn(&[u32]) -> Result<String, Blip2Error>,
    ) -> Option<String> {
        if results.len() != self.sequences.len() {
            let (found, expected) = (results.len(), self.sequences.len());
            return Some(format!("{found} sequences instead of {expected}"));
        }
        let per_row = results.len() / histories.len().max(1);
        for (n, (result, expected)) in results.iter().zip(&self.sequences).enumerate() {
            let mut found = histories
                .get(n / per_row.max(1))
                .cloned()
                .unwrap_or_default();
            found.extend(&result.tokens);
            // Finished rows are padded to the longest.
            found.resize(found.len().max(expected.len()), pad);
            if let Some(difference) = ids::difference(&found, expected) {
                return Some(format!("sequence {n} {difference}"));
            }
            if let Some(expected) = self.sequences_scores.get(n) {
                let found = result.score.map_or(f64::NAN, f64::from);
                let difference = (found - expected).abs();
                // A length penalty of -1 multiplies a sum by its length, and with it how far right
                // implementations are from one another.
                let allowed = scores.max(SCORE_SHARE * expected.abs());
                if difference.is_nan() || difference > allowed {
                    return Some(format!(
                        "sequence {n} has the score {found} instead of {expected}"
                    ));
                }
            }
            if let Some(expected) = self.text.as_ref().and_then(|text| text.get(n)) {
                match text(&found) {
                    Ok(text) if &text == expected => {}
                    Ok(text) => {
                        return Some(format!("text {n} is {text:?} instead of {expected:?}"));
                    }
                    Err(error) => return Some(error.to_string()),
                }
            }
        }
        None
    }

    /// What the reference pads finished sequences with: the padding token, but in a beam search the
    /// end token where the padding token is 0, which its code takes for none.
    pub(crate) fn padding(&self, text: &TextConfig) -> u32 {
        let pad = text.pad_token_id().unwrap_or_default();
        if pad != 0 || self.sequences_scores.is_empty() {
            return pad;
        }
        let own = self.kwargs.get("eos_token_id").and_then(Value::as_u64);
        let own = own.map(|id| id as u32);
        own.or(text.eos_token_ids().first().copied()).unwrap_or(pad)
    }
}
