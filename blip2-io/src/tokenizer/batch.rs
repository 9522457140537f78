//! Several texts as rows of one length.

use super::{Tokenizer, padding::PaddingSide};
use crate::error::IoError;

/// Rows of token ids of one length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenBatch {
    /// The ids, `[batch, seq]`.
    pub input_ids: Vec<Vec<u32>>,
    /// Which of them are tokens of the text rather than padding, `[batch, seq]`.
    pub attention_mask: Vec<Vec<bool>>,
}

impl Tokenizer {
    /// The ids of several texts with their special tokens, as rows of one length: the longest
    /// text's, or `length`, to which longer texts are cut. Shorter rows are padded on
    /// [`padding_side`](Tokenizer::padding_side).
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`], also if `length` leaves no room for the special tokens, or if rows
    /// must be padded and there is no padding token.
    pub fn encode_batch(
        &self,
        texts: &[&str],
        length: Option<usize>,
    ) -> Result<TokenBatch, IoError> {
        let encode = |text: &&str| match length {
            Some(length) => self.encode_truncated(text, length),
            None => self.encode(text),
        };
        let rows: Vec<Vec<u32>> = texts.iter().map(encode).collect::<Result<_, _>>()?;
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = length.unwrap_or(longest);
        let mut batch = TokenBatch::default();
        for row in rows {
            let (ids, mask) = self.pad(row, width)?;
            batch.input_ids.push(ids);
            batch.attention_mask.push(mask);
        }
        Ok(batch)
    }

    fn pad(&self, row: Vec<u32>, width: usize) -> Result<(Vec<u32>, Vec<bool>), IoError> {
        let mask = vec![true; row.len()];
        let lacking = width.saturating_sub(row.len());
        if lacking == 0 {
            return Ok((row, mask));
        }
        let pad = self.pad_token_id().ok_or_else(|| {
            IoError::tokenize("there is no pad_token to bring rows to one length")
        })?;
        let (pads, hidden) = (vec![pad; lacking], vec![false; lacking]);
        Ok(match self.padding_side() {
            PaddingSide::Left => ([pads, row].concat(), [hidden, mask].concat()),
            PaddingSide::Right => ([row, pads].concat(), [mask, hidden].concat()),
        })
    }
}
