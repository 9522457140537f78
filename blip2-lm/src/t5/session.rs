//! T5's decode.

use blip2_kernels::{Keep, Kept};
use burn::tensor::{Device, Int, Tensor};

use super::{T5ForConditionalGeneration, stack::LayerState};
use crate::{
    LmError,
    batch::{Step, ids_tensor, logits},
    generate::Logits,
    session::Decode,
};

/// T5 has no longest context to bound a decode by: room for more tokens than this is made only
/// when they come.
const RESERVED: usize = 1024;

/// What a decode of T5 remembers between its steps. The encoder and the start token run in the
/// prefill; the source's keys and values are computed once.
#[derive(Debug)]
pub(crate) struct T5State {
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

impl T5State {
    /// The number of prompts.
    pub(crate) fn rows(&self) -> usize {
        self.prompt_rows
    }

    /// The prompts and the start token were checked.
    pub(super) fn new(
        embeds: Tensor<3>,
        mask: Vec<Vec<bool>>,
        decoder_start: u32,
        max_new_tokens: usize,
    ) -> Self {
        let [rows, ..] = embeds.dims();
        Self {
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
}

impl T5ForConditionalGeneration {
    /// The logits after new tokens of each row.
    fn feed(&self, state: &mut T5State, ids: Tensor<2, Int>) -> Result<Logits, LmError> {
        let embeds = self.embed_checked(ids);
        let padding = state.source_padding.clone();
        let kept = &mut Kept::default();
        logits(self.advance(embeds, &mut state.states, padding, kept))
    }
}

impl Decode for T5ForConditionalGeneration {
    type State = T5State;

    fn vocab_size(&self) -> usize {
        self.vocab_size()
    }

    fn rows(&self, state: &T5State) -> usize {
        state.rows()
    }

    fn prefill(&self, state: &mut T5State) -> Result<Logits, LmError> {
        let (embeds, mask) = state
            .prompts
            .take()
            .ok_or(LmError::Order("the prompt has run already"))?;
        let encoded = self.encode(embeds, &mask, Keep::NOTHING)?;
        // The start token is fed and the last one is not.
        let capacity = state.max_new_tokens.clamp(1, RESERVED);
        state.states = self.states(&encoded, capacity);
        state.source_padding = encoded.padding;
        let start = vec![vec![state.decoder_start]; state.running];
        let ids = ids_tensor(&start, self.vocab_size(), &state.device)?;
        self.feed(state, ids)
    }

    fn step(
        &self,
        state: &mut T5State,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Logits, LmError> {
        if state.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let (rows, vocab) = (state.running, self.vocab_size());
        let Step { ids, gather } = Step::check(parents, tokens, rows, vocab, &state.device)?;
        if let Some(rows) = gather {
            for layer in &mut state.states {
                layer.select(parents);
            }
            state.source_padding = state.source_padding.take().map(|bias| bias.select(0, rows));
            state.running = parents.len();
        }
        self.feed(state, ids)
    }

    /// Relative positions have no end.
    fn remaining_positions(&self, _: &T5State) -> Option<usize> {
        None
    }
}
