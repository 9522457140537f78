//! OPT as a whole.

use blip2_io::config::OptConfig;
use blip2_kernels::{Embedding, KvCache, LayerNorm, Linear, Weights, recompute};
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

use super::{
    layer::{DecoderLayer, layer_norm},
    position,
};
use crate::{
    LmError, LmOptions, Session,
    batch::{check_embeds, check_mask, decoder_bias, ids_tensor, padding_bias},
    causal::{CausalLm, CausalState, Positions, check_context, positions_of},
    options::Kept,
};

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
    /// the last of them is what the head reads, `[batch, seq, embedding_dim]`: after the final norm
    /// and the projection, where there are any. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's attention map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
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
            weights.tied_embedding("lm_head", vocab, embed)
        } else if config.tie_word_embeddings {
            decoder.tied_embedding("embed_tokens", vocab, embed)
        } else {
            decoder.embedding("embed_tokens", vocab, embed)
        };
        let projected = embed != hidden;
        let final_norm = config.do_layer_norm_before && !config.remove_final_layer_norm;
        Ok(Self {
            embed_tokens,
            embed_positions: decoder.embedding(
                "embed_positions",
                config.max_position_embeddings + position::OFFSET,
                hidden,
            ),
            project_in: projected.then(|| decoder.linear("project_in", embed, hidden, false)),
            project_out: projected.then(|| decoder.linear("project_out", hidden, embed, false)),
            layers: (0..config.num_hidden_layers)
                .map(|n| DecoderLayer::load(config, &decoder.at("layers").at(&n.to_string())))
                .collect(),
            final_layer_norm: final_norm.then(|| layer_norm(config, "final_layer_norm", &decoder)),
            lm_head: (!config.tie_word_embeddings)
                .then(|| weights.head("lm_head", embed, vocab, false)),
            max_positions: config.max_position_embeddings,
        })
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    /// The width of a token's embedding, which is what [`forward`](Self::forward) and
    /// [`start`](Self::start) read: `word_embed_proj_dim`.
    ///
    /// It is `hidden_size` in all sizes but 350M. Where the two differ, `transformers` projects
    /// pictures to `hidden_size` and scatters them among narrower token embeddings, which mixes
    /// them up; no BLIP-2 was ever made so.
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
        ids_tensor(ids, self.vocab_size(), &device).map(|ids| self.embed_checked(ids))
    }

    /// The logits after every position, for scoring a given text; [`start`](Self::start) to
    /// continue it.
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
        options: impl Into<LmOptions>,
    ) -> Result<OptOutput, LmError> {
        let mut kept = Kept::new(options.into());
        let hidden = self.read(inputs_embeds, attention_mask, &mut kept)?;
        kept.hidden(&hidden);
        Ok(OptOutput {
            logits: self.head(hidden),
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
        })
    }

    /// What the head would read after every position (`OPTModel`): the features of a text.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds and attention_mask: as for [`forward`](Self::forward)
    /// - output: `[batch, seq, embedding_dim]`
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn last_hidden_state(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
    ) -> Result<Tensor<3>, LmError> {
        let mut kept = Kept::new(LmOptions::default());
        self.read(inputs_embeds, attention_mask, &mut kept)
    }

    /// Runs whole prompts through all layers.
    fn read(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        kept: &mut Kept,
    ) -> Result<Tensor<3>, LmError> {
        let [_, seq] = self.check(&inputs_embeds, attention_mask)?;
        let device = inputs_embeds.device();
        let positions = positions_of(attention_mask);
        let bias = decoder_bias(seq, padding_bias(attention_mask, &device), &device);
        Ok(self.layers(inputs_embeds, &positions, bias, &mut [], kept))
    }

    /// The logits of what the head reads: of [`last_hidden_state`](Self::last_hidden_state), or of
    /// such positions of it as are of interest.
    ///
    /// # Shapes
    ///
    /// - hidden: `[batch, seq, embedding_dim]`
    /// - output: `[batch, seq, vocab]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.embed_tokens.attend(hidden),
        }
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
    ) -> Result<Session<&Self>, LmError> {
        let state = self.begin(inputs_embeds, attention_mask, max_new_tokens)?;
        Ok(Session::new(self, state))
    }

    /// The state of a decode that [`start`](Self::start) starts.
    pub(crate) fn begin(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        max_new_tokens: usize,
    ) -> Result<CausalState, LmError> {
        self.check(&inputs_embeds, attention_mask)?;
        let mask = attention_mask.to_vec();
        Ok(CausalState::new(self, inputs_embeds, mask, max_new_tokens))
    }

    /// The shape `[batch, seq]` of prompts that go with their mask and the context.
    fn check(&self, embeds: &Tensor<3>, mask: &[Vec<bool>]) -> Result<[usize; 2], LmError> {
        let shape = check_embeds("inputs_embeds", embeds, self.embedding_dim())?;
        check_mask(mask, shape)?;
        check_context(mask, Some(self.max_positions))?;
        Ok(shape)
    }

    /// As [`CausalLm::advance`], keeping what is asked for. Caches, if there are any, are one for
    /// each layer.
    fn layers(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
        bias: Option<Tensor<4>>,
        caches: &mut [KvCache],
        kept: &mut Kept,
    ) -> Tensor<3> {
        let places = position::places(positions, &inputs_embeds.device());
        let embeds = match &self.project_in {
            Some(project) => project.forward(inputs_embeds),
            None => inputs_embeds,
        };
        let mut hidden = embeds + self.embed_positions.forward(places);
        let mut caches = caches.iter_mut();
        for layer in &self.layers {
            let bias = bias.clone();
            hidden = match caches.next() {
                None if kept.is_idle() => recompute::layer(layer, hidden, move |layer, hidden| {
                    layer.forward(hidden, bias.clone(), None, &mut Kept::default())
                }),
                cache => layer.forward(hidden, bias, cache, kept),
            };
        }
        if let Some(norm) = &self.final_layer_norm {
            hidden = norm.forward(hidden);
        }
        match &self.project_out {
            Some(project) => project.forward(hidden),
            None => hidden,
        }
    }
}

impl CausalLm for OptForCausalLm {
    fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    fn context(&self) -> Option<usize> {
        Some(self.max_positions)
    }

    fn embed_checked(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.embed_tokens.forward(ids)
    }

    fn caches(&self) -> usize {
        self.layers.len()
    }

    fn advance(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
        bias: Option<Tensor<4>>,
        caches: &mut [KvCache],
    ) -> Tensor<3> {
        self.layers(inputs_embeds, positions, bias, caches, &mut Kept::default())
    }

    fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.logits(hidden)
    }
}
