//! A running decode of any decoder-only model.

mod positions;
mod state;

use blip2_kernels::KvCache;
use burn::tensor::{Int, Tensor};

pub(crate) use {
    positions::{Positions, all_positions, check_context, positions_of},
    state::CausalState,
};

use crate::{batch::Unseen, error::LmError, session::Decode};

/// What a [`CausalState`] needs of a decoder-only model.
pub(crate) trait CausalLm {
    /// The size of the vocabulary.
    fn vocab_size(&self) -> usize;

    /// How many positions the context holds; `None` for any number.
    fn context(&self) -> Option<usize>;

    /// The embeddings of tokens that were checked, `[rows, seq, embedding_dim]`.
    fn embed_checked(&self, ids: Tensor<2, Int>) -> Tensor<3>;

    /// The number of caches.
    fn caches(&self) -> usize;

    /// Runs new positions through all layers; returns what the head reads.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, new, embedding_dim]`
    /// - positions: `[batch][new]`
    /// - output: `[batch, new, embedding_dim]`
    fn advance(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
        unseen: Unseen,
        caches: &mut [KvCache],
    ) -> Tensor<3>;

    /// The logits, `[batch, seq, vocab]`.
    fn head(&self, hidden: Tensor<3>) -> Tensor<3>;

    /// Whether a prompt that ends in padding goes on after its last column, and at position 1 (the
    /// reference's `generate` takes padding to stand at 0), in place of after its last position
    /// that counts.
    fn continues_padding(&self) -> bool {
        false
    }

    /// The model as one whose steps can be recorded, if they can.
    fn steps(&self) -> Option<&dyn CausalStep> {
        None
    }
}

/// A decoder-only model whose steps a GPU can be told once.
pub(crate) trait CausalStep {
    /// What the first layer reads of new positions, in tensors whose shapes do not depend on where they are.
    fn reads(&self, inputs_embeds: Tensor<3>, positions: &Positions) -> Vec<Tensor<3>>;

    /// As [`CausalLm::advance`], from there to the logits.
    fn advance(
        &self,
        read: Vec<Tensor<3>>,
        bias: Option<Tensor<4>>,
        caches: &mut [KvCache],
    ) -> Option<Tensor<3>>;
}

impl<M: CausalLm> Decode for M {
    type State = CausalState;

    fn vocab_size(&self) -> usize {
        CausalLm::vocab_size(self)
    }

    fn rows(&self, state: &CausalState) -> usize {
        state.rows()
    }

    fn prefill(&self, state: &mut CausalState) -> Result<Tensor<3>, LmError> {
        state.prefill(self)
    }

    fn step(
        &self,
        state: &mut CausalState,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError> {
        state.step(self, parents, tokens)
    }

    fn extend(&self, state: &mut CausalState, tokens: &[u32]) -> Result<Tensor<3>, LmError> {
        state.extend(self, tokens)
    }

    fn rewind(&self, state: &mut CausalState, count: usize) {
        state.rewind(count);
    }

    fn join(&self, state: &mut CausalState, other: CausalState) -> Result<(), LmError> {
        state.join(other)
    }

    fn remaining_positions(&self, state: &CausalState) -> Option<usize> {
        state.remaining_positions(self)
    }
}
