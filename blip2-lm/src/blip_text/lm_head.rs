//! The text model with an output head: a decoder.

use blip2_io::config::BlipTextConfig;
use blip2_kernels::{Activation, Bias, Keep, Kept, KvCache, LayerNorm, Linear, Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};

use super::{
    model::{BlipTextModel, everywhere},
    output::BlipTextOutput,
};
use crate::{
    batch::{Unseen, padding_bias},
    causal::{CausalLm, CausalState, Positions},
    error::LmError,
    session::{Decode, Session},
};

/// BLIP-1's text decoder (`BlipTextLMHeadModel`): each position sees those before it, and all of a
/// source that was encoded: a picture, or a question about one.
///
/// ```
/// # use blip2_lm::burn::tensor::{Device, Tensor};
/// # use blip2_lm::{BlipTextConfig, RandomWeights, Weights, blip_text::BlipTextLmHeadModel};
/// use blip2_lm::generate::{GenerationConfig, Generator};
///
/// # let config = BlipTextConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_encoder_hidden_size(48).with_intermediate_size(64).with_num_hidden_layers(2)
/// #     .with_num_attention_heads(4).with_bos_token_id(Some(99)).with_sep_token_id(Some(3));
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// let model = BlipTextLmHeadModel::load(&config, &Weights::new(&source, &device))?;
/// let image = Tensor::<3>::zeros([1, 10, 48], &device);
/// let (start, mask) = ([vec![99]], [vec![true]]);
/// let mut session = model.start(&start, &mask, image, 5)?;
/// let five = GenerationConfig::default().with_max_new_tokens(5);
/// let written = Generator::new(five)?.generate(&mut session, &start)?;
/// assert_eq!(written[0][0].tokens.len(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct BlipTextLmHeadModel {
    bert: BlipTextModel,
    dense: Linear,
    layer_norm: LayerNorm,
    bias: Param<Tensor<1>>,
    /// The head, where it is not the table of words.
    decoder: Option<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl BlipTextLmHeadModel {
    /// Builds the model from `bert` and `cls` below the cursor. The head is the table of words, unless the
    /// checkpoint has one with other numbers; so is its bias the transform's.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &BlipTextConfig, weights: &Weights<'_>) -> Result<Self, LmError> {
        let hidden = config.hidden_size;
        let head = weights.at("cls").at("predictions");
        let transform = head.at("transform");
        let (table, own) = (
            "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.weight",
        );
        let tied = !weights.differ(own, table);
        let bias = match head.differ("decoder.bias", "bias") {
            true => "decoder.bias",
            false => "bias",
        };
        Ok(Self {
            bert: BlipTextModel::load_with(config, &weights.at("bert"), tied)?,
            decoder: (!tied)
                .then(|| head.head("decoder", hidden, config.vocab_size, Bias::Without)),
            dense: transform.linear("dense", hidden, hidden, Bias::With),
            layer_norm: transform.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            bias: head.param(bias, [config.vocab_size], Role::Dense),
            activation: config.hidden_act,
        })
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.bert.vocab_size()
    }

    /// How many tokens a text may have, special ones included.
    pub fn max_positions(&self) -> usize {
        self.bert.max_positions()
    }

    /// The logits after every position, for scoring a given text. Positions count padding, as the
    /// reference's `forward` has it.
    ///
    /// # Shapes
    ///
    /// - ids and attention_mask: `[batch][seq]`
    /// - source: `[batch, source, encoder_hidden]`, all of which is seen
    /// - output: `[batch, seq, vocab]`
    ///
    /// # Errors
    ///
    /// As [`BlipTextModel::encode`].
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        attention_mask: &[Vec<bool>],
        source: &Tensor<3>,
    ) -> Result<Tensor<3>, LmError> {
        let output = self.forward_keeping(ids, attention_mask, source, Keep::NOTHING)?;
        Ok(output.output)
    }

    /// As [`forward`](Self::forward), keeping the attention maps of every layer if `keep` asks for them.
    ///
    /// # Errors
    ///
    /// As [`BlipTextModel::encode`].
    pub fn forward_keeping(
        &self,
        ids: &[Vec<u32>],
        attention_mask: &[Vec<bool>],
        source: &Tensor<3>,
        keep: Keep,
    ) -> Result<BlipTextOutput, LmError> {
        let embeds = self.bert.embed(ids, attention_mask)?;
        self.bert.check_source(source, ids.len())?;
        let (device, [_, seq, _]) = (embeds.device(), embeds.dims());
        let padding = padding_bias(attention_mask, &device);
        let bias = Unseen::by_bias(seq, seq, padding, &device).bias;
        let positions = everywhere(ids);
        let mut kept = Kept::new(keep);
        let (bert, source) = (&self.bert, Some(source));
        let hidden = bert.run(embeds, &positions, bias, source, &mut [], &mut kept);
        Ok(BlipTextOutput::of(self.logits(hidden), kept))
    }

    /// A decode of up to `max_new_tokens` tokens after beginnings of texts. As in the reference a
    /// row that ends in padding goes on after the padding, at position 1: rows of one length are
    /// what makes sense.
    ///
    /// # Shapes
    ///
    /// - ids and attention_mask: `[batch][seq]`
    /// - source: `[batch, source, encoder_hidden]`, all of which is seen
    ///
    /// # Errors
    ///
    /// As [`BlipTextModel::encode`].
    pub fn start(
        &self,
        ids: &[Vec<u32>],
        attention_mask: &[Vec<bool>],
        source: Tensor<3>,
        max_new_tokens: usize,
    ) -> Result<Session<&Self>, LmError> {
        let embeds = self.bert.embed(ids, attention_mask)?;
        self.bert.check_source(&source, ids.len())?;
        let (mask, reading) = (attention_mask.to_vec(), self.reading(&source));
        let text = CausalState::new(&reading, embeds, mask, max_new_tokens);
        Ok(Session::new(self, BlipTextState { source, text }))
    }

    fn reading<'a>(&'a self, source: &'a Tensor<3>) -> Reading<'a> {
        Reading {
            model: self,
            source,
        }
    }

    /// `BlipTextLMPredictionHead`.
    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let transformed = self.dense.forward_activated(hidden, self.activation);
        let transformed = self.layer_norm.forward(transformed);
        let logits = match &self.decoder {
            Some(decoder) => decoder.forward(transformed),
            None => self.bert.logits(transformed),
        };
        logits + self.bias.val().unsqueeze()
    }
}

/// What a decode of BLIP-1's text remembers between its steps.
#[derive(Debug)]
pub(crate) struct BlipTextState {
    /// What the text is about, `[batch, source, encoder_hidden]`.
    source: Tensor<3>,
    text: CausalState,
}

impl Decode for BlipTextLmHeadModel {
    type State = BlipTextState;

    fn vocab_size(&self) -> usize {
        self.vocab_size()
    }

    fn rows(&self, state: &BlipTextState) -> usize {
        state.text.rows()
    }

    fn prefill(&self, state: &mut BlipTextState) -> Result<Tensor<3>, LmError> {
        state.text.prefill(&self.reading(&state.source))
    }

    fn step(
        &self,
        state: &mut BlipTextState,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError> {
        let reading = self.reading(&state.source);
        state.text.step(&reading, parents, tokens)
    }

    fn extend(&self, state: &mut BlipTextState, tokens: &[u32]) -> Result<Tensor<3>, LmError> {
        let reading = self.reading(&state.source);
        state.text.extend(&reading, tokens)
    }

    fn rewind(&self, state: &mut BlipTextState, count: usize) {
        state.text.rewind(count);
    }

    /// What the texts are about lies in their caches since the prompts ran.
    fn join(&self, state: &mut BlipTextState, other: BlipTextState) -> Result<(), LmError> {
        state.text.join(other.text)
    }

    fn remaining_positions(&self, state: &BlipTextState) -> Option<usize> {
        state.text.remaining_positions(&self.reading(&state.source))
    }
}

/// A decoder and what it reads: together they are a decoder-only model.
struct Reading<'m> {
    model: &'m BlipTextLmHeadModel,
    source: &'m Tensor<3>,
}

impl CausalLm for Reading<'_> {
    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn context(&self) -> Option<usize> {
        Some(self.model.max_positions())
    }

    fn embed_checked(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.model.bert.embed_checked(ids)
    }

    fn caches(&self) -> usize {
        2 * self.model.bert.num_layers()
    }

    fn advance(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
        unseen: Unseen,
        caches: &mut [KvCache],
    ) -> Tensor<3> {
        let (device, [_, new, _]) = (inputs_embeds.device(), inputs_embeds.dims());
        let keys = new + caches.first().map_or(0, KvCache::len);
        let bias = unseen.into_bias(new, keys, &device);
        let (bert, mut kept) = (&self.model.bert, Kept::default());
        let source = Some(self.source);
        bert.run(inputs_embeds, positions, bias, source, caches, &mut kept)
    }

    fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.model.logits(hidden)
    }

    fn continues_padding(&self) -> bool {
        true
    }
}
