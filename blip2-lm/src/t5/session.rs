//! A running decode of T5.

use burn::tensor::{Device, Int, Tensor};

use super::{T5ForConditionalGeneration, stack::LayerState};
use crate::{
    LmError,
    batch::{Step, ids_tensor, logits},
    generate::{DecodeSession, Logits},
    options::Kept,
};

/// T5 has no longest context to bound a decode by: room for more tokens than this is made only
/// when they come.
const RESERVED: usize = 1024;

/// A running decode of T5: the encoder and the start token, then one token at a time. The source's
/// keys and values are computed once.
#[derive(Debug)]
pub struct T5Session<'m> {
    model: &'m T5ForConditionalGeneration,
    /// Until the prompts have run: their embeddings and mask.
    prompts: Option<(Tensor<3>, Vec<Vec<bool>>)>,
    prompt_rows: usize,
    decoder_start: u32,
    max_new_tokens: usize,
    /// The rows of the last step.
    running: usize,
    states: Vec<LayerState>,
    source_padding: Option<Tensor<4>>,
    device: Device,
}

impl<'m> T5Session<'m> {
    /// The prompts and the start token were checked.
    pub(super) fn new(
        model: &'m T5ForConditionalGeneration,
        embeds: Tensor<3>,
        mask: Vec<Vec<bool>>,
        decoder_start: u32,
        max_new_tokens: usize,
    ) -> Self {
        let [rows, ..] = embeds.dims();
        Self {
            model,
            device: embeds.device(),
            prompts: Some((embeds, mask)),
            prompt_rows: rows,
            decoder_start,
            max_new_tokens,
            running: rows,
            states: Vec::new(),
            source_padding: None,
        }
    }

    fn advance(&mut self, ids: Tensor<2, Int>) -> Result<Logits, LmError> {
        let embeds = self.model.embed_checked(ids);
        let padding = self.source_padding.clone();
        let kept = &mut Kept::default();
        logits(self.model.advance(embeds, &mut self.states, padding, kept))
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
        let (embeds, mask) = self
            .prompts
            .take()
            .ok_or(LmError::Order("the prompt has run already"))?;
        let encoded = self.model.encode(embeds, &mask, false)?;
        // The start token is fed and the last one is not.
        let capacity = self.max_new_tokens.clamp(1, RESERVED);
        self.states = self.model.states(&encoded, capacity);
        self.source_padding = encoded.padding;
        let start = vec![vec![self.decoder_start]; self.running];
        let ids = ids_tensor(&start, self.model.vocab_size(), &self.device)?;
        self.advance(ids)
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, LmError> {
        if self.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let vocab = self.model.vocab_size();
        let Step { ids, gather } = Step::check(parents, tokens, self.running, vocab, &self.device)?;
        if let Some(rows) = gather {
            for state in &mut self.states {
                state.select(parents);
            }
            self.source_padding = self.source_padding.take().map(|bias| bias.select(0, rows));
            self.running = parents.len();
        }
        self.advance(ids)
    }
}
