//! What a decode of T5 remembers.

use blip2_kernels::KvCache;
use burn::tensor::{Device, Int, Tensor};

use super::stack::LayerState;
use crate::{
    batch::{joined_bias, of_last_keys},
    error::LmError,
    steps::{self, Caches, Steps},
};

/// What a decode of T5 remembers between its steps. The encoder and the start token run in the
/// prefill; the source's keys and values are computed once.
#[derive(Debug)]
pub(crate) struct T5State {
    /// Until the prompts have run: their embeddings and mask.
    pub(super) prompts: Option<(Tensor<3>, Vec<Vec<bool>>)>,
    pub(super) prompt_rows: usize,
    pub(super) decoder_start: u32,
    pub(super) max_new_tokens: usize,
    /// The prompt that each row of the last step continues.
    pub(super) prompt_of: Vec<usize>,
    pub(super) states: Vec<LayerState>,
    pub(super) source_padding: Option<Tensor<4>>,
    /// Steps that a GPU is told once, while rows stay with their prompts.
    pub(super) steps: Option<Steps>,
    /// Whether it did not take them.
    pub(super) refused: bool,
    pub(crate) device: Device,
}

impl T5State {
    /// The number of prompts.
    pub(crate) fn rows(&self) -> usize {
        self.prompt_rows
    }

    /// The embeddings of prompts that have not run, `[rows, seq, hidden]`.
    pub(crate) fn prompts(&self) -> Option<&Tensor<3>> {
        self.prompts.as_ref().map(|(embeds, _)| embeds)
    }

    /// See [`RewindSession::rewind`](crate::RewindSession::rewind).
    pub(crate) fn rewind(&mut self, count: usize) {
        self.end_steps();
        for layer in &mut self.states {
            layer.rewind(count);
        }
    }

    /// Has rows go on from `parents`: what they wrote, and of other prompts their source.
    pub(super) fn move_rows(&mut self, parents: &[usize], rows: Tensor<1, Int>) {
        let stay = steps::stay_with_prompts(&self.prompt_of, parents);
        if let (true, Some(steps)) = (stay, &self.steps)
            && steps.move_rows(self.states.as_mut_slice(), parents)
        {
            return;
        }
        self.end_steps();
        KvCache::select_all(self.states.growing(), parents);
        if stay {
            return;
        }
        KvCache::select_all(self.states.iter_mut().map(LayerState::source_mut), parents);
        let keys = self.source_len();
        self.source_padding = self
            .source_padding
            .take()
            .map(|bias| of_last_keys(bias.select(0, rows), keys));
        let of = |&parent: &usize| self.prompt_of[parent];
        self.prompt_of = parents.iter().map(of).collect();
    }

    /// Has the next step described anew.
    pub(super) fn end_steps(&mut self) {
        if let Some(steps) = self.steps.take() {
            steps.end(self.states.as_mut_slice());
        }
    }

    /// How many positions the longest row's source has.
    pub(super) fn source_len(&self) -> usize {
        self.states.first().map_or(0, LayerState::source_len)
    }

    /// See [`JoinSession::join`](crate::JoinSession::join).
    pub(crate) fn join(&mut self, mut other: Self) -> Result<(), LmError> {
        if self.prompts.is_some() || other.prompts.is_some() {
            return Err(LmError::Order("a prompt has not run yet"));
        }
        self.end_steps();
        other.end_steps();
        let sizes = [&*self, &other].map(|state| [state.prompt_of.len(), state.source_len()]);
        let paddings = [self.source_padding.take(), other.source_padding];
        self.source_padding = joined_bias(paddings, sizes, &self.device);
        for (layer, other) in self.states.iter_mut().zip(other.states) {
            layer.join(other);
        }
        let prompts = self.prompt_rows;
        let theirs = other.prompt_of.into_iter().map(|prompt| prompts + prompt);
        self.prompt_of.extend(theirs);
        self.prompt_rows += other.prompt_rows;
        Ok(())
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
            prompt_of: (0..rows).collect(),
            states: Vec::new(),
            source_padding: None,
            steps: None,
            refused: false,
        }
    }
}
