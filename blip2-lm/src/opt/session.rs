//! A running decode of OPT.

use blip2_kernels::KvCache;
use burn::tensor::{Device, Tensor};

use super::{
    OptForCausalLm,
    model::{count, position_after},
};
use crate::{
    LmError,
    batch::{gather, logits, padding_bias, rows_tensor},
    generate::{DecodeSession, Logits},
};

/// A running decode of OPT: prompts, then one token at a time with a KV cache.
#[derive(Debug)]
pub struct OptSession<'m> {
    model: &'m OptForCausalLm,
    /// Until the prompt has run.
    prompt: Option<Tensor<3>>,
    rows: usize,
    caches: Vec<KvCache>,
    /// For each running row, which positions of its cache count.
    mask: Vec<Vec<bool>>,
    /// The positions that count of the longest prompt.
    longest: usize,
    device: Device,
}

impl<'m> OptSession<'m> {
    /// The prompt was checked.
    pub(super) fn new(
        model: &'m OptForCausalLm,
        prompt: Tensor<3>,
        mask: Vec<Vec<bool>>,
        max_new_tokens: usize,
    ) -> Self {
        let [rows, seq, _] = prompt.dims();
        let device = prompt.device();
        Self {
            model,
            caches: model.caches(rows, seq + max_new_tokens, &device),
            prompt: Some(prompt),
            rows,
            longest: mask.iter().map(|row| count(row)).max().unwrap_or(0),
            mask,
            device,
        }
    }

    /// The hidden state of each row's last position that counts, `[rows, 1, hidden]`.
    fn last(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [rows, seq, width] = hidden.dims();
        let last: Vec<usize> = self
            .mask
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
        hidden
            .reshape([rows * seq, width])
            .select(0, rows_tensor(&places, &self.device))
            .reshape([rows, 1, width])
    }
}

impl DecodeSession for OptSession<'_> {
    type Error = LmError;

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn prefill(&mut self) -> Result<Logits, LmError> {
        let prompt = self
            .prompt
            .take()
            .ok_or(LmError::Order("the prompt has run already"))?;
        let hidden = self.model.run(prompt, &self.mask, &mut self.caches, None);
        // The head is as large as many layers: only the last position needs it.
        logits(self.model.head(self.last(hidden)))
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
        if let Some(rows) = gather(parents, self.mask.len(), &self.device)? {
            for cache in &mut self.caches {
                cache.select(rows.clone());
            }
            self.mask = parents
                .iter()
                .map(|&parent| self.mask[parent].clone())
                .collect();
        }
        let positions: Vec<Vec<usize>> = self
            .mask
            .iter()
            .map(|row| vec![position_after(count(row))])
            .collect();
        for row in &mut self.mask {
            row.push(true);
        }
        let ids: Vec<Vec<u32>> = tokens.iter().map(|&token| vec![token]).collect();
        let embeds = self.model.embed(&ids)?;
        let bias = padding_bias(&self.mask, &self.device);
        let hidden = self
            .model
            .layers(embeds, &positions, bias, &mut self.caches, None);
        logits(self.model.head(hidden))
    }

    fn remaining_positions(&self) -> Option<usize> {
        Some(self.model.max_positions().saturating_sub(self.longest))
    }
}
