//! T5's decode.

use blip2_kernels::{Keep, Kept};
use burn::tensor::Tensor;

use super::{model::T5ForConditionalGeneration, state::T5State};
use crate::{
    batch::{Step, extension, ids_tensor},
    error::LmError,
    session::Decode,
    steps::{self, Steps},
};

/// T5 has no longest context to bound a decode by: room for more tokens than this is made only
/// when they come.
const RESERVED: usize = 1024;

impl T5ForConditionalGeneration {
    /// A step that a GPU was told before, or is told to be done again; `None` where there is none.
    fn repeat(&self, state: &mut T5State, embeds: Tensor<3>) -> Result<Option<Tensor<3>>, LmError> {
        let room = steps::capacity(state.states.as_mut_slice(), 1);
        let Some(capacity) = room.filter(|_| !state.refused) else {
            return Ok(None);
        };
        let read = self.reads(embeds, &state.states, capacity);
        if state.steps.is_none() {
            state.steps = Steps::begin(state.states.as_mut_slice());
        }
        let Some(steps) = &mut state.steps else {
            return Ok(None);
        };
        let padding = &state.source_padding;
        let logits = steps.run(state.states.as_mut_slice(), &read, |states, read| {
            self.step(read, states, padding.clone())
        })?;
        if logits.is_none() {
            state.refused = true;
            state.end_steps();
        }
        Ok(logits)
    }

    /// The logits after new tokens of each row.
    fn feed(&self, state: &mut T5State, embeds: Tensor<3>) -> Result<Tensor<3>, LmError> {
        state.end_steps();
        let padding = state.source_padding.clone();
        let kept = &mut Kept::default();
        Ok(self.advance(embeds, &mut state.states, padding, kept))
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

    fn prefill(&self, state: &mut T5State) -> Result<Tensor<3>, LmError> {
        let (embeds, mask) = state
            .prompts
            .take()
            .ok_or(LmError::Order("the prompt has run already"))?;
        let encoded = self.encode(embeds, &mask, Keep::NOTHING)?;
        // The start token is fed and the last one is not.
        let capacity = state.max_new_tokens.clamp(1, RESERVED);
        state.states = self.states(&encoded, capacity);
        state.source_padding = encoded.padding;
        let start = vec![vec![state.decoder_start]; state.prompt_of.len()];
        let ids = ids_tensor(&start, self.vocab_size(), &state.device)?;
        self.feed(state, self.embed_written(ids))
    }

    fn step(
        &self,
        state: &mut T5State,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError> {
        if state.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let (rows, vocab) = (state.prompt_of.len(), self.vocab_size());
        let Step { ids, gather } = Step::check(parents, tokens, rows, vocab, &state.device)?;
        if let Some(rows) = gather {
            state.move_rows(parents, rows);
        }
        let embeds = self.embed_written(ids);
        match self.repeat(state, embeds.clone())? {
            Some(logits) => Ok(logits),
            None => self.feed(state, embeds),
        }
    }

    fn extend(&self, state: &mut T5State, tokens: &[u32]) -> Result<Tensor<3>, LmError> {
        if state.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let ids = extension(
            tokens,
            state.prompt_of.len(),
            self.vocab_size(),
            &state.device,
        )?;
        self.feed(state, self.embed_written(ids))
    }

    fn rewind(&self, state: &mut T5State, count: usize) {
        state.rewind(count);
    }

    fn join(&self, state: &mut T5State, other: T5State) -> Result<(), LmError> {
        state.join(other)
    }

    /// Relative positions have no end.
    fn remaining_positions(&self, _: &T5State) -> Option<usize> {
        None
    }
}
