//! What a decode remembers, and each thing that it does.

use blip2_kernels::KvCache;
use burn::tensor::{Device, Int, Tensor};

use super::{
    CausalLm,
    positions::{Positions, check_room, count, positions_of},
};
use crate::{
    batch::{Step, Unseen, extension, joined_bias, of_last_keys, padding_bias, rows_tensor},
    error::LmError,
    steps::{self, Steps},
};

/// The most positions that caches are allocated for at once where the context has no end.
const UNBOUNDED: usize = 256;

/// What a decode of a decoder-only model remembers between its steps.
#[derive(Debug)]
pub(crate) struct CausalState {
    /// Until the prompts have run: their embeddings and mask.
    prompts: Option<(Tensor<3>, Vec<Vec<bool>>)>,
    prompt_rows: usize,
    /// The positions that count of the longest prompt.
    longest: usize,
    caches: Vec<KvCache>,
    /// How many positions count, for each row of the last step.
    counts: Vec<usize>,
    /// The prompt that each row of the last step continues.
    prompt_of: Vec<usize>,
    /// What hides padding in the caches, `[rows, 1, 1, keys]`, where there is any.
    padding: Option<Tensor<4>>,
    /// Steps that a GPU is told once, while rows stay with their prompts, and what hides padding from them,
    /// `[rows, 1, 1, capacity]`.
    steps: Option<(Steps, Option<Tensor<4>>)>,
    /// Whether it did not take them.
    refused: bool,
    device: Device,
}

impl CausalState {
    /// The prompts were checked.
    pub(crate) fn new(
        model: &impl CausalLm,
        embeds: Tensor<3>,
        mask: Vec<Vec<bool>>,
        max_new_tokens: usize,
    ) -> Self {
        let [rows, seq, _] = embeds.dims();
        let device = embeds.device();
        let next = |row: &Vec<bool>| match row.last() {
            Some(false) if model.continues_padding() => 1,
            _ => count(row),
        };
        let counts: Vec<usize> = mask.iter().map(next).collect();
        let shortest = counts.iter().copied().min().unwrap_or(0);
        // The last token is not fed, and no row grows beyond the context. Without a context there
        // is nothing to go by, and the caches grow as they are filled.
        let room = match model.context() {
            Some(context) => context.saturating_sub(shortest),
            None => UNBOUNDED,
        };
        let fed = max_new_tokens.saturating_sub(1).min(room);
        Self {
            caches: vec![KvCache::new(rows, seq + fed); model.caches()],
            padding: padding_bias(&mask, &device),
            prompts: Some((embeds, mask)),
            prompt_rows: rows,
            longest: counts.iter().copied().max().unwrap_or(0),
            counts,
            prompt_of: (0..rows).collect(),
            steps: None,
            refused: false,
            device,
        }
    }

    /// How many positions the caches hold, of the longest row.
    fn keys(&self) -> usize {
        self.caches.first().map_or(0, KvCache::len)
    }

    /// The number of prompts.
    pub(crate) fn rows(&self) -> usize {
        self.prompt_rows
    }

    /// The embeddings of prompts that have not run, `[rows, seq, embedding_dim]`.
    pub(crate) fn prompts(&self) -> Option<&Tensor<3>> {
        self.prompts.as_ref().map(|(embeds, _)| embeds)
    }

    /// Where its tensors are.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// See [`DecodeSession::prefill`](crate::DecodeSession::prefill).
    pub(crate) fn prefill(&mut self, model: &impl CausalLm) -> Result<Tensor<3>, LmError> {
        let (embeds, mask) = self
            .prompts
            .take()
            .ok_or(LmError::Order("the prompt has run already"))?;
        let [_, seq, _] = embeds.dims();
        let hidden = model.advance(
            embeds,
            &positions_of(&mask),
            Unseen::of(seq, seq, self.padding.clone(), &self.device),
            &mut self.caches,
        );
        // The head is as large as many layers: only the last position needs it.
        let last = match model.continues_padding() {
            true => hidden.narrow(1, seq - 1, 1),
            false => last(hidden, &mask),
        };
        Ok(model.head(last))
    }

    /// See [`DecodeSession::step`](crate::DecodeSession::step).
    pub(crate) fn step(
        &mut self,
        model: &impl CausalLm,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError> {
        if self.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let (rows, vocab) = (self.counts.len(), model.vocab_size());
        let Step { ids, gather } = Step::check(parents, tokens, rows, vocab, &self.device)?;
        let counts = parents.iter().filter_map(|&parent| self.counts.get(parent));
        check_room(model.context(), counts, 1)?;
        // First everything that belongs to rows follows them to their new places.
        if let Some(rows) = gather {
            self.move_rows(parents, rows);
        }
        let embeds = model.embed_checked(ids);
        match self.repeat(model, embeds.clone())? {
            Some(logits) => Ok(logits),
            None => self.feed(model, embeds),
        }
    }

    /// Has rows go on from `parents`: caches, what hides their padding, and how far each has come, of which rows of a
    /// prompt differ in the caches alone.
    fn move_rows(&mut self, parents: &[usize], rows: Tensor<1, Int>) {
        let stay = steps::stay_with_prompts(&self.prompt_of, parents);
        if let (true, Some((steps, _))) = (stay, &self.steps)
            && steps.move_rows(self.caches.as_mut_slice(), parents)
        {
            return;
        }
        self.end_steps();
        KvCache::select_all(&mut self.caches, parents);
        if stay {
            return;
        }
        let keys = self.keys();
        self.padding = self
            .padding
            .take()
            .map(|bias| of_last_keys(bias.select(0, rows), keys));
        let [counts, prompt_of] = [&self.counts, &self.prompt_of]
            .map(|of| parents.iter().map(|&parent| of[parent]).collect());
        (self.counts, self.prompt_of) = (counts, prompt_of);
    }

    /// A step that a GPU was told before, or is told to be done again; `None` where there is none.
    fn repeat(
        &mut self,
        model: &impl CausalLm,
        embeds: Tensor<3>,
    ) -> Result<Option<Tensor<3>>, LmError> {
        if self.refused {
            return Ok(None);
        }
        let room = steps::capacity(self.caches.as_mut_slice(), 1);
        let (Some(capacity), Some(model)) = (room, model.steps()) else {
            return Ok(None);
        };
        let read = model.reads(embeds, &self.next_positions(1));
        if self.steps.is_none() {
            self.steps = self.begin_steps(capacity);
        }
        let Some((steps, padding)) = &mut self.steps else {
            return Ok(None);
        };
        let logits = steps.run(self.caches.as_mut_slice(), &read, |caches, read| {
            model.advance(read, padding.clone(), caches)
        })?;
        match logits {
            Some(_) => self.counts.iter_mut().for_each(|count| *count += 1),
            None => {
                self.refused = true;
                self.end_steps();
            }
        }
        Ok(logits)
    }

    fn begin_steps(&mut self, capacity: usize) -> Option<(Steps, Option<Tensor<4>>)> {
        let steps = Steps::begin(self.caches.as_mut_slice())?;
        let padding = self.padding.clone();
        Some((steps, padding.map(|bias| widened(bias, capacity))))
    }

    fn end_steps(&mut self) {
        if let Some((steps, _)) = self.steps.take() {
            steps.end(self.caches.as_mut_slice());
            self.widen_padding(self.keys());
        }
    }

    /// The positions of new tokens of each row.
    fn next_positions(&self, new: usize) -> Positions {
        let counts = self.counts.iter();
        counts
            .map(|&count| (count..count + new).map(Some).collect())
            .collect()
    }

    /// Positions behind those of the prompts, up to `keys`, are seen by all rows.
    fn widen_padding(&mut self, keys: usize) {
        self.padding = self.padding.take().map(|bias| widened(bias, keys));
    }

    /// See [`RewindSession::extend`](crate::RewindSession::extend).
    pub(crate) fn extend(
        &mut self,
        model: &impl CausalLm,
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError> {
        if self.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        check_room(model.context(), self.counts.iter(), tokens.len())?;
        let ids = extension(tokens, self.counts.len(), model.vocab_size(), &self.device)?;
        self.feed(model, model.embed_checked(ids))
    }

    /// See [`RewindSession::rewind`](crate::RewindSession::rewind).
    pub(crate) fn rewind(&mut self, count: usize) {
        self.end_steps();
        let keys = self.keys();
        for cache in &mut self.caches {
            cache.drop_last(count);
        }
        let dropped = keys - self.keys();
        for count in &mut self.counts {
            *count -= dropped;
        }
        self.padding = self.padding.take().map(|bias| {
            let columns = bias.dims()[3] - dropped;
            bias.narrow(3, 0, columns)
        });
    }

    /// Runs new tokens of each row, `[rows, new, embedding_dim]`; the logits after each of them.
    fn feed(&mut self, model: &impl CausalLm, embeds: Tensor<3>) -> Result<Tensor<3>, LmError> {
        let [_, new, _] = embeds.dims();
        self.end_steps();
        self.widen_padding(self.keys() + new);
        let keys = self.keys() + new;
        let unseen = Unseen::of(new, keys, self.padding.clone(), &self.device);
        let positions = self.next_positions(new);
        let hidden = model.advance(embeds, &positions, unseen, &mut self.caches);
        for count in &mut self.counts {
            *count += new;
        }
        Ok(model.head(hidden))
    }

    /// See [`JoinSession::join`](crate::JoinSession::join).
    pub(crate) fn join(&mut self, mut other: Self) -> Result<(), LmError> {
        if self.prompts.is_some() || other.prompts.is_some() {
            return Err(LmError::Order("a prompt has not run yet"));
        }
        self.end_steps();
        other.end_steps();
        let sizes = [&*self, &other].map(|state| [state.counts.len(), state.keys()]);
        let paddings = [self.padding.take(), other.padding];
        self.padding = joined_bias(paddings, sizes, &self.device);
        for (cache, other) in self.caches.iter_mut().zip(other.caches) {
            cache.join(other);
        }
        self.counts.extend(other.counts);
        let prompts = self.prompt_rows;
        let theirs = other.prompt_of.into_iter().map(|prompt| prompts + prompt);
        self.prompt_of.extend(theirs);
        self.prompt_rows += other.prompt_rows;
        self.longest = self.longest.max(other.longest);
        Ok(())
    }

    /// See [`DecodeSession::remaining_positions`](crate::DecodeSession::remaining_positions).
    pub(crate) fn remaining_positions(&self, model: &impl CausalLm) -> Option<usize> {
        let context = model.context()?;
        Some(context.saturating_sub(self.longest))
    }
}

/// A bias `[rows, 1, 1, seen]` that hides nothing of what is behind, up to `keys`.
fn widened(bias: Tensor<4>, keys: usize) -> Tensor<4> {
    let [rows, _, _, seen] = bias.dims();
    match keys.saturating_sub(seen) {
        0 => bias,
        behind => {
            let zeros = Tensor::zeros([rows, 1, 1, behind], &bias.device());
            Tensor::cat(vec![bias, zeros], 3)
        }
    }
}

/// The hidden state of each row's last position that counts, `[rows, 1, hidden]`.
fn last(hidden: Tensor<3>, mask: &[Vec<bool>]) -> Tensor<3> {
    let [rows, seq, width] = hidden.dims();
    let last: Vec<usize> = mask
        .iter()
        .map(|row| row.iter().rposition(|&counts| counts).unwrap_or(0))
        .collect();
    if last.iter().all(|&position| position + 1 == seq) {
        return hidden.narrow(1, seq - 1, 1);
    }
    let places: Vec<usize> = last
        .iter()
        .enumerate()
        .map(|(row, position)| row * seq + position)
        .collect();
    let places = rows_tensor(&places, &hidden.device());
    hidden
        .reshape([rows * seq, width])
        .select(0, places)
        .reshape([rows, 1, width])
}
