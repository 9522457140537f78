//! A running decode of OPT.

use blip2_kernels::KvCache;
use burn::tensor::{Device, Tensor};

use super::{OptForCausalLm, position};
use crate::{
    LmError,
    batch::{Step, decoder_bias, logits, padding_bias, rows_tensor},
    generate::{DecodeSession, Logits},
    options::Kept,
};

/// A running decode of OPT: prompts, then one token at a time with a KV cache.
#[derive(Debug)]
pub struct OptSession<'m> {
    model: &'m OptForCausalLm,
    /// Until the prompts have run: their embeddings and mask.
    prompts: Option<(Tensor<3>, Vec<Vec<bool>>)>,
    prompt_rows: usize,
    /// The positions that count of the longest prompt.
    longest: usize,
    caches: Vec<KvCache>,
    /// How many positions count, for each row of the last step.
    counts: Vec<usize>,
    /// What hides padding in the caches, `[rows, 1, 1, keys]`, where there is any.
    padding: Option<Tensor<4>>,
    device: Device,
}

impl<'m> OptSession<'m> {
    /// The prompts were checked.
    pub(super) fn new(
        model: &'m OptForCausalLm,
        embeds: Tensor<3>,
        mask: Vec<Vec<bool>>,
        max_new_tokens: usize,
    ) -> Self {
        let [rows, seq, _] = embeds.dims();
        let device = embeds.device();
        let counts: Vec<usize> = mask.iter().map(|row| position::count(row)).collect();
        let shortest = counts.iter().copied().min().unwrap_or(0);
        // The last token is not fed, and no row grows beyond the context.
        let room = model.max_positions().saturating_sub(shortest);
        let fed = max_new_tokens.saturating_sub(1).min(room);
        Self {
            model,
            caches: model.caches(rows, seq + fed, &device),
            padding: padding_bias(&mask, &device),
            prompts: Some((embeds, mask)),
            prompt_rows: rows,
            longest: counts.iter().copied().max().unwrap_or(0),
            counts,
            device,
        }
    }

    /// Refuses rows whose context is full.
    fn check_room(&self, parents: &[usize]) -> Result<(), LmError> {
        let context = self.model.max_positions();
        let counts = parents.iter().filter_map(|&parent| self.counts.get(parent));
        match counts.enumerate().find(|&(_, &count)| count >= context) {
            Some((row, count)) => Err(LmError::ContextTooLong {
                row,
                tokens: count + 1,
                context,
            }),
            None => Ok(()),
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

impl DecodeSession for OptSession<'_> {
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
        let [_, seq, _] = embeds.dims();
        let hidden = self.model.layers(
            embeds,
            position::of_prompts(&mask, &self.device),
            decoder_bias(seq, self.padding.clone(), &self.device),
            &mut self.caches,
            &mut Kept::default(),
        );
        // The head is as large as many layers: only the last position needs it.
        logits(self.model.head(last(hidden, &mask)))
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, LmError> {
        if self.prompts.is_some() {
            return Err(LmError::Order("the prompt has not run yet"));
        }
        let (rows, vocab) = (self.counts.len(), self.model.vocab_size());
        let Step { ids, gather } = Step::check(parents, tokens, rows, vocab, &self.device)?;
        self.check_room(parents)?;
        if let Some(rows) = gather {
            for cache in &mut self.caches {
                cache.select(rows.clone());
            }
            self.padding = self.padding.take().map(|bias| bias.select(0, rows));
            self.counts = parents.iter().map(|&parent| self.counts[parent]).collect();
        }
        self.padding = self.padding.take().map(|bias| {
            let seen = Tensor::zeros([parents.len(), 1, 1, 1], &self.device);
            Tensor::cat(vec![bias, seen], 3)
        });
        let positions = position::after(&self.counts, &self.device);
        let hidden = self.model.layers(
            self.model.embed_checked(ids),
            positions,
            self.padding.clone(),
            &mut self.caches,
            &mut Kept::default(),
        );
        for count in &mut self.counts {
            *count += 1;
        }
        logits(self.model.head(hidden))
    }

    fn remaining_positions(&self) -> Option<usize> {
        Some(self.model.max_positions().saturating_sub(self.longest))
    }
}
