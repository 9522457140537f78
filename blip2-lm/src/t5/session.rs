//! T5's decode.

use blip2_kernels::{Keep, Kept};
use burn::tensor::{Int, Tensor};

use super::{model::T5ForConditionalGeneration, state::T5State};
use crate::{
    batch::{Step, extension, ids_tensor, of_last_keys},
    error::LmError,
    session::Decode,
};

/// T5 has no longest context to bound a decode by: room for more tokens than this is made only
/// when they come.
const RESERVED: usize = 1024;

impl T5ForConditionalGeneration {
    /// The logits after new tokens of each row.
    fn feed(&self, state: &mut T5State, ids: Tensor<2, Int>) -> Result<Tensor<3>, LmError> {
        let embeds = self.embed_checked(ids);
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
        let start = vec![vec![state.decoder_start]; state.running];
        let ids = ids_tensor(&start, self.vocab_size(), &state.device)?;
        self.feed(state, ids)
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
        let (rows, vocab) = (state.running, self.vocab_size());
        let Step { ids, gather } = Step::check(parents, tokens, rows, vocab, &state.device)?;
        if let Some(rows) = gather {
            for layer in &mut state.states {
                layer.select(parents);
            }
            let keys = state.source_len();
            state.source_padding = state
                .source_padding
                .take()
                .map(|bias| of_last_keys(bias.select(0, rows), keys));
            state.running = parents.len();
        }
        self.feed(state, ids)
    }

    fn extend(&self, state: &mut T5State, tokens: &[u32]) -> Result<Tensor<3>, LmError> {
        if state.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let ids = extension(tokens, state.running, self.vocab_size(), &state.device)?;
        self.feed(state, ids)
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
