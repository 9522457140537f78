//! OPT as a whole.

use blip2_io::config::OptConfig;
use blip2_kernels::{Embedding, KvCache, LayerNorm, Linear, Weights};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{
    OptSession,
    layer::{DecoderLayer, layer_norm},
};
use crate::{
    LmError,
    batch::{check_embeds, check_mask, decoder_bias, ids_tensor},
};

/// Positions are looked up this far into their table: a relic of the padding id that the first
/// implementation kept rows for.
const POSITION_OFFSET: usize = 2;

/// OPT with its output head (`OPTForCausalLM`).
#[derive(Module, Debug)]
pub struct OptForCausalLm {
    embed_tokens: Embedding,
    embed_positions: Embedding,
    project_in: Option<Linear>,
    project_out: Option<Linear>,
    layers: Vec<DecoderLayer>,
    final_layer_norm: Option<LayerNorm>,
    /// Where the head is not the table of token embeddings.
    lm_head: Option<Linear>,
    max_positions: usize,
}

/// What a [`forward`](OptForCausalLm::forward) returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OptOutput {
    /// The logits of the token after each position, `[batch, seq, vocab]`.
    pub logits: Tensor<3>,
    /// The embeddings with their positions, then each layer's output, each `[batch, seq, hidden]`;
    /// the last of them after the final norm. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
}

impl OptForCausalLm {
    /// Builds the model from the weights below the cursor (`model.decoder`, `lm_head`).
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &OptConfig, weights: &Weights<'_>) -> Result<Self, LmError> {
        config.validate()?;
        let decoder = weights.at("model").at("decoder");
        let (hidden, embed) = (config.hidden_size, config.word_embed_proj_dim);
        let vocab = config.vocab_size;
        // A tied checkpoint may have been saved under either name.
        let only_head = config.tie_word_embeddings
            && !decoder.contains("embed_tokens.weight")
            && weights.contains("lm_head.weight");
        let embed_tokens = if only_head {
            weights.embedding("lm_head", vocab, embed)
        } else {
            decoder.embedding("embed_tokens", vocab, embed)
        };
        let projected = embed != hidden;
        let final_norm = config.do_layer_norm_before && !config.remove_final_layer_norm;
        Ok(Self {
            embed_tokens,
            embed_positions: decoder.embedding(
                "embed_positions",
                config.max_position_embeddings + POSITION_OFFSET,
                hidden,
            ),
            project_in: projected.then(|| decoder.linear("project_in", embed, hidden, false)),
            project_out: projected.then(|| decoder.linear("project_out", hidden, embed, false)),
            layers: (0..config.num_hidden_layers)
                .map(|n| DecoderLayer::load(config, &decoder.at("layers").at(&n.to_string())))
                .collect(),
            final_layer_norm: final_norm.then(|| layer_norm(config, "final_layer_norm", &decoder)),
            lm_head: (!config.tie_word_embeddings)
                .then(|| weights.linear("lm_head", embed, vocab, false)),
            max_positions: config.max_position_embeddings,
        })
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    /// The width of a token's embedding.
    pub fn embedding_dim(&self) -> usize {
        self.embed_tokens.dim()
    }

    /// How many positions the context holds.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// The embeddings of tokens, `[batch, seq, embedding_dim]`.
    ///
    /// # Errors
    ///
    /// For an empty batch, ragged rows, and ids that the vocabulary does not have.
    pub fn embed(&self, ids: &[Vec<u32>]) -> Result<Tensor<3>, LmError> {
        let device = self.embed_tokens.device();
        Ok(self
            .embed_tokens
            .forward(ids_tensor(ids, self.vocab_size(), &device)?))
    }

    /// The logits after every position, for scoring a given text.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, embedding_dim]`
    /// - attention_mask: `[batch][seq]`, true where a position counts; padding may stand anywhere
    ///
    /// # Errors
    ///
    /// [`LmError`] for shapes that do not go together and rows that are too long or only padding.
    pub fn forward(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        output_hidden_states: bool,
    ) -> Result<OptOutput, LmError> {
        self.check(&inputs_embeds, attention_mask)?;
        let mut hidden_states = Vec::new();
        let keep = output_hidden_states.then_some(&mut hidden_states);
        let hidden = self.run(inputs_embeds, attention_mask, &mut [], keep);
        let mut output = OptOutput {
            logits: self.head(hidden.clone()),
            hidden_states,
        };
        if output_hidden_states {
            output.hidden_states.push(hidden);
        }
        Ok(output)
    }

    /// A decode of up to `max_new_tokens` tokens after embedded prompts.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, embedding_dim]`
    /// - attention_mask: `[batch][seq]`, true where a position counts
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn start(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        max_new_tokens: usize,
    ) -> Result<OptSession<'_>, LmError> {
        self.check(&inputs_embeds, attention_mask)?;
        Ok(OptSession::new(
            self,
            inputs_embeds,
            attention_mask.to_vec(),
            max_new_tokens,
        ))
    }

    fn check(&self, embeds: &Tensor<3>, mask: &[Vec<bool>]) -> Result<(), LmError> {
        let shape = check_embeds("inputs_embeds", embeds, self.embedding_dim())?;
        check_mask(mask, shape)?;
        let context = self.max_positions;
        for (row, mask) in mask.iter().enumerate() {
            let tokens = count(mask);
            if tokens > context {
                return Err(LmError::ContextTooLong {
                    row,
                    tokens,
                    context,
                });
            }
        }
        Ok(())
    }

    /// Runs a whole prompt. Caches, if there are any, are one for each layer.
    pub(super) fn run(
        &self,
        inputs_embeds: Tensor<3>,
        mask: &[Vec<bool>],
        caches: &mut [KvCache],
        hidden_states: Option<&mut Vec<Tensor<3>>>,
    ) -> Tensor<3> {
        let [_, seq, _] = inputs_embeds.dims();
        let bias = decoder_bias(mask, seq, &inputs_embeds.device());
        let positions: Vec<Vec<usize>> = mask.iter().map(|row| positions(row)).collect();
        self.layers(inputs_embeds, &positions, bias, caches, hidden_states)
    }

    /// Runs new positions through all layers; returns what the head reads.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, new, embedding_dim]`
    /// - positions: `[batch][new]`, rows of the table of positions
    /// - bias: `[batch or 1, 1, new, keys]`
    pub(super) fn layers(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &[Vec<usize>],
        bias: Option<Tensor<4>>,
        caches: &mut [KvCache],
        mut hidden_states: Option<&mut Vec<Tensor<3>>>,
    ) -> Tensor<3> {
        let positions = position_ids(positions, &inputs_embeds.device());
        let embeds = match &self.project_in {
            Some(project) => project.forward(inputs_embeds),
            None => inputs_embeds,
        };
        let mut hidden = embeds + self.embed_positions.forward(positions);
        let mut caches = caches.iter_mut();
        for layer in &self.layers {
            if let Some(kept) = hidden_states.as_deref_mut() {
                kept.push(hidden.clone());
            }
            hidden = layer.forward(hidden, bias.clone(), caches.next());
        }
        if let Some(norm) = &self.final_layer_norm {
            hidden = norm.forward(hidden);
        }
        match &self.project_out {
            Some(project) => project.forward(hidden),
            None => hidden,
        }
    }

    /// The logits, `[batch, seq, vocab]`.
    pub(super) fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.embed_tokens.attend(hidden),
        }
    }

    pub(super) fn caches(&self, rows: usize, capacity: usize, device: &Device) -> Vec<KvCache> {
        self.layers
            .iter()
            .map(|layer| layer.cache(rows, capacity, device))
            .collect()
    }
}

/// The positions of a row that count.
pub(super) fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|&&counts| counts).count()
}

/// The rows of the table of positions for a row of a batch: positions count what the mask counts,
/// so that padding, wherever it stands, shifts nothing.
fn positions(mask: &[bool]) -> Vec<usize> {
    let mut next = POSITION_OFFSET;
    mask.iter()
        .map(|&counts| {
            if counts {
                next += 1;
                next - 1
            } else {
                POSITION_OFFSET - 1
            }
        })
        .collect()
}

/// The row of the table of positions for the token after `tokens` that count.
pub(super) fn position_after(tokens: usize) -> usize {
    tokens + POSITION_OFFSET
}

fn position_ids(rows: &[Vec<usize>], device: &Device) -> Tensor<2, Int> {
    let width = rows.first().map_or(0, Vec::len);
    let flat: Vec<i64> = rows
        .iter()
        .flatten()
        .map(|&position| position as i64)
        .collect();
    Tensor::from_data(TensorData::new(flat, [rows.len(), width]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_shifts_no_position() {
        assert_eq!(
            positions(&[true, true, false, false, true]),
            [2, 3, 1, 1, 4]
        );
        assert_eq!(positions(&[false, true, true]), [1, 2, 3]);
    }
}
