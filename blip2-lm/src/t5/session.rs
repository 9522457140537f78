//! A running decode of T5.

use burn::tensor::{Device, Tensor};

use super::{T5ForConditionalGeneration, stack::LayerState};
use crate::{
    LmError,
    batch::{gather, logits},
    generate::{DecodeSession, Logits},
};

/// A running decode of T5: the encoder and the start token, then one token at a time. The source's
/// keys and values are computed once.
#[derive(Debug)]
pub struct T5Session<'m> {
    model: &'m T5ForConditionalGeneration,
    /// Until the prompt has run: its embeddings and mask.
    prompt: Option<(Tensor<3>, Vec<Vec<bool>>)>,
    prompt_rows: usize,
    decoder_start: u32,
    max_new_tokens: usize,
    /// The rows of the last step.
    rows: usize,
    states: Vec<LayerState>,
    source_padding: Option<Tensor<4>>,
    device: Device,
}

impl<'m> T5Session<'m> {
    /// The prompt was checked.
    pub(super) fn new(
        model: &'m T5ForConditionalGeneration,
        prompt: Tensor<3>,
        mask: Vec<Vec<bool>>,
        decoder_start: u32,
        max_new_tokens: usize,
    ) -> Self {
        let [rows, ..] = prompt.dims();
        Self {
            model,
            device: prompt.device(),
            prompt: Some((prompt, mask)),
            prompt_rows: rows,
            decoder_start,
            max_new_tokens,
            rows,
            states: Vec::new(),
            source_padding: None,
        }
    }

    fn advance(&mut self, tokens: &[u32]) -> Result<Logits, LmError> {
        let ids: Vec<Vec<u32>> = tokens.iter().map(|&token| vec![token]).collect();
        let embeds = self.model.embed(&ids)?;
        logits(
            self.model
                .advance(embeds, &mut self.states, self.source_padding.clone()),
        )
    }
}

impl DecodeSession for T5Session<'_> {
    type Error = LmError;

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn rows(&self) -> usize {
        self.prompt_rows
    }

    fn prefill(&mut self) -> Result<Logits, LmError> {
        let (prompt, mask) = self
            .prompt
            .take()
            .ok_or(LmError::Order("the prompt has run already"))?;
        let encoded = self.model.encode(prompt, &mask, false)?;
        // The start token takes a place too.
        self.states = self.model.states(&encoded, self.max_new_tokens + 1);
        self.source_padding = encoded.into_padding();
        self.advance(&vec![self.decoder_start; self.rows])
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, LmError> {
        if self.prompt.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        if parents.len() != tokens.len() {
            let (found, expected) = (vec![tokens.len()], format!("[{}]", parents.len()));
            return Err(LmError::Shape {
                input: "tokens",
                found,
                expected,
            });
        }
        if let Some(rows) = gather(parents, self.rows, &self.device)? {
            for state in &mut self.states {
                state.select(&rows);
            }
            self.source_padding = self.source_padding.take().map(|bias| bias.select(0, rows));
            self.rows = parents.len();
        }
        self.advance(tokens)
    }
}
