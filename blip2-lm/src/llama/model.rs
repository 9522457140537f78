//! LLaMA as a whole.

use blip2_io::config::LlamaConfig;
use blip2_kernels::{Embedding, KvCache, Linear, RmsNorm, Weights, recompute};
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

use super::{layer::DecoderLayer, rotary::Rotary};
use crate::{
    LmError, LmOptions, Session,
    batch::{check_embeds, check_mask, decoder_bias, ids_tensor, padding_bias},
    causal::{CausalLm, CausalState, Positions, check_context, positions_of},
    options::Kept,
};

/// LLaMA with its output head (`LlamaForCausalLM`).
#[derive(Module, Debug)]
pub struct LlamaForCausalLm {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    /// Where the head is not the table of token embeddings.
    lm_head: Option<Linear>,
    #[module(skip)]
    rotary: Rotary,
    #[module(skip)]
    context: Option<usize>,
}

/// What a [`forward`](LlamaForCausalLm::forward) returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LlamaOutput {
    /// The logits of the token after each position, `[batch, seq, vocab]`.
    pub logits: Tensor<3>,
    /// The embeddings, then each layer's output, each `[batch, seq, hidden]`; the last of them is
    /// what the head reads, after the final norm. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's attention map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
}

impl LlamaForCausalLm {
    /// Builds the model from the weights below the cursor (`model`, `lm_head`).
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &LlamaConfig, weights: &Weights<'_>) -> Result<Self, LmError> {
        config.validate()?;
        let model = weights.at("model");
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        // A tied checkpoint may have been saved under either name.
        let only_head = config.tie_word_embeddings
            && !model.contains("embed_tokens.weight")
            && weights.contains("lm_head.weight");
        let embed_tokens = if only_head {
            weights.embedding("lm_head", vocab, hidden)
        } else {
            model.embedding("embed_tokens", vocab, hidden)
        };
        let rotary = Rotary::new(config);
        Ok(Self {
            embed_tokens,
            layers: (0..config.num_hidden_layers)
                .map(|n| DecoderLayer::load(config, &model.at("layers").at(&n.to_string())))
                .collect(),
            norm: model.rms_norm("norm", hidden, config.rms_norm_eps),
            lm_head: (!config.tie_word_embeddings)
                .then(|| weights.linear("lm_head", hidden, vocab, false)),
            context: (!rotary.is_unbounded()).then_some(config.max_position_embeddings),
            rotary,
        })
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    /// The width of a token's embedding, `hidden_size`.
    pub fn embedding_dim(&self) -> usize {
        self.embed_tokens.dim()
    }

    /// How many positions the context holds; `None` with `dynamic` positions, which stretch
    /// themselves.
    ///
    /// The reference goes on beyond it without a word, with positions that the model never saw.
    pub fn max_positions(&self) -> Option<usize> {
        self.context
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
    /// continue it. Positions count what the mask counts.
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
    ) -> Result<LlamaOutput, LmError> {
        let positions = positions_of(attention_mask);
        self.run(inputs_embeds, attention_mask, &positions, options.into())
    }

    /// As [`forward`](Self::forward), but with positions that count padding too, as the reference's
    /// `forward` does unless it is told positions; its `generate` tells them. They differ for rows
    /// with padding between what counts.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_counting_padding(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        options: impl Into<LmOptions>,
    ) -> Result<LlamaOutput, LmError> {
        let positions = all_positions(attention_mask);
        self.run(inputs_embeds, attention_mask, &positions, options.into())
    }

    fn run(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        positions: &Positions,
        options: LmOptions,
    ) -> Result<LlamaOutput, LmError> {
        let mut kept = Kept::new(options);
        let hidden = self.read(inputs_embeds, attention_mask, positions, &mut kept)?;
        kept.hidden(&hidden);
        Ok(LlamaOutput {
            logits: self.head(hidden),
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
        })
    }

    /// What the head would read after every position (`LlamaModel`): the features of a text.
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
        let positions = positions_of(attention_mask);
        let mut kept = Kept::default();
        self.read(inputs_embeds, attention_mask, &positions, &mut kept)
    }

    /// As [`last_hidden_state`](Self::last_hidden_state), with the positions of
    /// [`forward_counting_padding`](Self::forward_counting_padding).
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn last_hidden_state_counting_padding(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
    ) -> Result<Tensor<3>, LmError> {
        let positions = all_positions(attention_mask);
        let mut kept = Kept::default();
        self.read(inputs_embeds, attention_mask, &positions, &mut kept)
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

    /// The length of prompts that go with their mask and the context.
    fn check(&self, embeds: &Tensor<3>, mask: &[Vec<bool>]) -> Result<usize, LmError> {
        let shape @ [_, seq] = check_embeds("inputs_embeds", embeds, self.embedding_dim())?;
        check_mask(mask, shape)?;
        check_context(mask, self.context)?;
        Ok(seq)
    }

    /// Runs whole prompts through all layers.
    fn read(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        positions: &Positions,
        kept: &mut Kept,
    ) -> Result<Tensor<3>, LmError> {
        let seq = self.check(&inputs_embeds, attention_mask)?;
        let device = inputs_embeds.device();
        let bias = decoder_bias(seq, padding_bias(attention_mask, &device), &device);
        Ok(self.layers(inputs_embeds, positions, bias, &mut [], kept))
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
        let turns = self.rotary.turns(positions, &inputs_embeds.device());
        let mut hidden = inputs_embeds;
        let mut caches = caches.iter_mut();
        for layer in &self.layers {
            let (turns, bias) = (turns.clone(), bias.clone());
            hidden = match caches.next() {
                None if kept.is_idle() => recompute::layer(layer, hidden, move |layer, hidden| {
                    layer.forward(hidden, &turns, bias.clone(), None, &mut Kept::default())
                }),
                cache => layer.forward(hidden, &turns, bias, cache, kept),
            };
        }
        self.norm.forward(hidden)
    }
}

/// The positions of rows whose padding counts too.
fn all_positions(attention_mask: &[Vec<bool>]) -> Positions {
    let row = |mask: &Vec<bool>| (0..mask.len()).map(Some).collect();
    attention_mask.iter().map(row).collect()
}

impl CausalLm for LlamaForCausalLm {
    fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    fn context(&self) -> Option<usize> {
        self.context
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
