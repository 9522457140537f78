//! A decoder-only model as a whole.

use blip2_kernels::{Bias, Embedding, Keep, Kept, KvCache, Linear, Weights, recompute};
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

use super::{
    DecoderOutput, Described, Description,
    attention::Context,
    description,
    layer::DecoderLayer,
    norm::Norm,
    positions::LearnedPositions,
    rotary::{CosSin, Rotary},
};
use crate::{
    batch::{Unseen, check_embeds, check_mask, ids_tensor, padding_bias},
    causal::{
        CausalLm, CausalState, CausalStep, Positions, all_positions, check_context, positions_of,
    },
    error::LmError,
    session::Session,
};

/// A decoder-only language model with its output head: OPT (`OPTForCausalLM`; Zhang et al., 2022),
/// LLaMA (`LlamaForCausalLM`; Touvron et al., 2023) and what has its architecture, such as
/// Vicuna, or Granite (`GraniteForCausalLM`).
///
/// ```
/// use blip2_lm::{DecoderLm, Keep, LlamaConfig, RandomWeights, Weights, burn::tensor::Device};
///
/// let config = LlamaConfig::default()
///     .with_vocab_size(100)
///     .with_hidden_size(32)
///     .with_intermediate_size(64)
///     .with_num_hidden_layers(2)
///     .with_num_attention_heads(4)
///     .with_num_key_value_heads(2)
///     .with_head_dim(8);
/// let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
///
/// let embeds = model.embed(&[vec![1, 17, 42]])?;
/// let output = model.forward(embeds, &[vec![true; 3]], Keep::HIDDEN_STATES)?;
/// assert_eq!(output.logits.dims(), [1, 3, 100]);
/// assert_eq!(output.hidden_states.len(), 1 + 2); // what the first layer reads, and each one's output
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
#[derive(Module, Debug)]
pub struct DecoderLm {
    embed_tokens: Embedding,
    learned_positions: Option<LearnedPositions>,
    #[module(skip)]
    rotary: Option<Rotary>,
    project_in: Option<Linear>,
    project_out: Option<Linear>,
    layers: Vec<DecoderLayer>,
    final_norm: Option<Norm>,
    /// Where the head is not the table of token embeddings.
    lm_head: Option<Linear>,
    #[module(skip)]
    context: Option<usize>,
    embedding_scale: f64,
    logits_divisor: f64,
    forward_counts_padding: bool,
    /// A token that is read as token 0.
    #[module(skip)]
    placeholder: Option<u32>,
}

impl DecoderLm {
    /// Builds the model from the weights below the cursor (`model`, `lm_head`). `config` is an
    /// [`OptConfig`](crate::OptConfig), a [`LlamaConfig`](crate::LlamaConfig) or a
    /// [`GraniteConfig`](crate::GraniteConfig).
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense. What the source of weights lacks is no error here:
    /// the source keeps that account.
    #[allow(private_bounds)] // the models of this crate
    pub fn load(config: &impl Described, weights: &Weights<'_>) -> Result<Self, LmError> {
        Ok(Self::build(&config.describe()?, weights))
    }

    /// Builds the model that is described. Descriptions are made of configurations that were
    /// checked.
    pub(super) fn build(description: &Description, weights: &Weights<'_>) -> Self {
        let model = weights.at(description.names.model);
        let (hidden, embed) = (description.hidden_size, description.embedding_dim);
        let (learned_positions, rotary) = match &description.positions {
            &description::Positions::Learned { count, offset } => {
                let positions = LearnedPositions::load(count, offset, hidden, &model);
                (Some(positions), None)
            }
            description::Positions::Rotary { rope, longest } => {
                let rotary = Rotary::new(rope, description.head_dim, *longest);
                (None, Some(rotary))
            }
        };
        let projected = embed != hidden;
        let tied = is_tied(description, weights);
        let norm = |name| Norm::load(description.norm, name, hidden, &model);
        Self {
            embed_tokens: token_embeddings(description, weights, &model, tied),
            learned_positions,
            rotary,
            project_in: projected.then(|| model.linear("project_in", embed, hidden, Bias::Without)),
            project_out: projected
                .then(|| model.linear("project_out", hidden, embed, Bias::Without)),
            layers: (0..description.num_layers)
                .map(|n| DecoderLayer::load(description, &model.at("layers").at(&n.to_string())))
                .collect(),
            final_norm: description
                .final_norm
                .then(|| norm(description.names.final_norm)),
            lm_head: (!tied)
                .then(|| weights.head("lm_head", embed, description.vocab_size, Bias::Without)),
            context: description.context,
            embedding_scale: description.scales.embedding,
            logits_divisor: description.scales.logits_divisor,
            forward_counts_padding: description.forward_counts_padding,
            placeholder: None,
        }
    }

    /// Reads `token` as token 0 wherever it comes, also where the model has written it itself: so does the
    /// reference of Granite Speech with the placeholder for sound, which may have no embedding. The
    /// logits are as they are.
    #[must_use]
    pub fn with_placeholder(self, token: u32) -> Self {
        Self {
            placeholder: Some(token),
            ..self
        }
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    /// Whether the head is a matrix of its own, and not the table of token embeddings.
    pub fn has_own_head(&self) -> bool {
        self.lm_head.is_some()
    }

    /// The width of a token's embedding, which is what [`forward`](Self::forward) and
    /// [`start`](Self::start) read.
    ///
    /// It is the width of the layers in all models but OPT-350M (`word_embed_proj_dim`). Where the
    /// two differ, `transformers` projects pictures to the layers' width and scatters them among
    /// narrower token embeddings, which mixes them up; no BLIP-2 was ever made so.
    pub fn embedding_dim(&self) -> usize {
        self.embed_tokens.dim()
    }

    /// How many positions the context holds; `None` with `dynamic` rotary positions, which stretch
    /// themselves.
    ///
    /// The reference goes on beyond the context of rotary positions without a word, with positions
    /// that the model never saw.
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
        keep: Keep,
    ) -> Result<DecoderOutput, LmError> {
        let positions = positions_of(attention_mask);
        self.run(inputs_embeds, attention_mask, &positions, keep)
    }

    /// As [`forward`](Self::forward), but with the positions of the reference's `forward` where it is
    /// given no `position_ids`, which is how models are trained. OPT's are the same; LLaMA's count
    /// padding too, so that rows with padding before or between what counts differ. Its `generate`
    /// passes `position_ids` that do not.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_without_position_ids(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        keep: Keep,
    ) -> Result<DecoderOutput, LmError> {
        let positions = self.positions_of_forward(attention_mask);
        self.run(inputs_embeds, attention_mask, &positions, keep)
    }

    fn run(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        positions: &Positions,
        keep: Keep,
    ) -> Result<DecoderOutput, LmError> {
        let mut kept = Kept::new(keep);
        let hidden = self.read(inputs_embeds, attention_mask, positions, &mut kept)?;
        kept.hidden(&hidden);
        Ok(DecoderOutput {
            logits: self.logits(hidden),
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
        })
    }

    /// What the head would read after every position (`OPTModel`, `LlamaModel`): the features of a
    /// text.
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
    /// [`forward_without_position_ids`](Self::forward_without_position_ids).
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn last_hidden_state_without_position_ids(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
    ) -> Result<Tensor<3>, LmError> {
        let positions = self.positions_of_forward(attention_mask);
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
        let logits = match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.embed_tokens.logits(hidden),
        };
        match self.logits_divisor {
            1.0 => logits,
            divisor => logits / divisor,
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
        check_context(mask, self.context)?;
        Ok(shape)
    }

    fn positions_of_forward(&self, attention_mask: &[Vec<bool>]) -> Positions {
        match self.forward_counts_padding {
            true => all_positions(attention_mask),
            false => positions_of(attention_mask),
        }
    }

    /// Runs whole prompts through all layers.
    fn read(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        positions: &Positions,
        kept: &mut Kept,
    ) -> Result<Tensor<3>, LmError> {
        let [_, seq] = self.check(&inputs_embeds, attention_mask)?;
        let device = inputs_embeds.device();
        let padding = padding_bias(attention_mask, &device);
        let unseen = match kept.wants_maps() {
            // A map is made by Burn's operations, which are told by a bias.
            true => Unseen::by_bias(seq, seq, padding, &device),
            false => Unseen::of(seq, seq, padding, &device),
        };
        Ok(self.layers(inputs_embeds, positions, unseen, &mut [], kept))
    }

    /// As [`CausalLm::advance`], keeping what is asked for. Caches, if there are any, are one for
    /// each layer.
    fn layers(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
        unseen: Unseen,
        caches: &mut [KvCache],
        kept: &mut Kept,
    ) -> Tensor<3> {
        let (hidden, rotation) = self.first_layer_reads(inputs_embeds, positions);
        let context = Context { rotation, unseen };
        self.through_layers(hidden, context, caches, kept)
    }

    /// Hidden states and, of rotary positions, what rotates queries and keys.
    fn first_layer_reads(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
    ) -> (Tensor<3>, Option<CosSin>) {
        let device = inputs_embeds.device();
        let rotary = self.rotary.as_ref();
        let rotation = rotary.map(|rotary| rotary.cos_sin(positions, &device));
        (self.first_hidden(inputs_embeds, positions), rotation)
    }

    /// What the head reads of what the first layer reads.
    fn through_layers(
        &self,
        mut hidden: Tensor<3>,
        context: Context,
        caches: &mut [KvCache],
        kept: &mut Kept,
    ) -> Tensor<3> {
        let mut caches = caches.iter_mut();
        for layer in &self.layers {
            hidden = match caches.next() {
                None if kept.is_idle() => {
                    let context = context.clone();
                    recompute::layer(layer, hidden, move |layer, hidden| {
                        layer.forward(hidden, &context, None, &mut Kept::default())
                    })
                }
                cache => layer.forward(hidden, &context, cache, kept),
            };
        }
        if let Some(norm) = &self.final_norm {
            hidden = norm.forward(hidden);
        }
        match &self.project_out {
            Some(project) => project.forward(hidden),
            None => hidden,
        }
    }

    /// What the first layer reads: embeddings at the layers' width, with what is added for their
    /// positions.
    fn first_hidden(&self, inputs_embeds: Tensor<3>, positions: &Positions) -> Tensor<3> {
        let device = inputs_embeds.device();
        let scaled = match self.embedding_scale {
            1.0 => inputs_embeds,
            scale => inputs_embeds * scale,
        };
        let embeds = match &self.project_in {
            Some(project) => project.forward(scaled),
            None => scaled,
        };
        match &self.learned_positions {
            Some(learned) => embeds + learned.forward(positions, &device),
            None => embeds,
        }
    }
}

/// Whether the table of token embeddings is the head, too: where the configuration says so, unless the
/// checkpoint holds both and they are not the same, when the reference takes each for what it is.
fn is_tied(description: &Description, weights: &Weights<'_>) -> bool {
    let table = format!("{}.embed_tokens.weight", description.names.model);
    description.tied_head && !weights.differ("lm_head.weight", &table)
}

/// The table of token embeddings, which is asked for as a head where it is one: `int4` holds heads in
/// 8 bits.
fn token_embeddings(
    description: &Description,
    weights: &Weights<'_>,
    model: &Weights<'_>,
    tied: bool,
) -> Embedding {
    let (vocab, width) = (description.vocab_size, description.embedding_dim);
    let padding = description.pad_token_id;
    if !tied {
        return model
            .embedding("embed_tokens", vocab, width)
            .with_padding(padding);
    }
    // A tied checkpoint may have been saved under either name.
    let only_head = !model.contains("embed_tokens.weight") && weights.contains("lm_head.weight");
    let table = match only_head {
        true => weights.tied_embedding("lm_head", vocab, width),
        false => model.tied_embedding("embed_tokens", vocab, width),
    };
    table.with_padding(padding)
}

impl CausalLm for DecoderLm {
    fn vocab_size(&self) -> usize {
        self.embed_tokens.rows()
    }

    fn context(&self) -> Option<usize> {
        self.context
    }

    fn embed_checked(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let ids = match self.placeholder {
            Some(token) => {
                let is_placeholder = ids.clone().equal_elem(i64::from(token));
                ids.mask_fill(is_placeholder, 0)
            }
            None => ids,
        };
        self.embed_tokens.forward(ids)
    }

    fn caches(&self) -> usize {
        self.layers.len()
    }

    fn advance(
        &self,
        inputs_embeds: Tensor<3>,
        positions: &Positions,
        unseen: Unseen,
        caches: &mut [KvCache],
    ) -> Tensor<3> {
        self.layers(
            inputs_embeds,
            positions,
            unseen,
            caches,
            &mut Kept::default(),
        )
    }

    fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.logits(hidden)
    }

    fn steps(&self) -> Option<&dyn CausalStep> {
        Some(self)
    }
}

impl CausalStep for DecoderLm {
    fn reads(&self, inputs_embeds: Tensor<3>, positions: &Positions) -> Vec<Tensor<3>> {
        let (hidden, rotation) = self.first_layer_reads(inputs_embeds, positions);
        let angles = rotation.map(|CosSin { cos, sin }| [cos, sin]);
        std::iter::once(hidden)
            .chain(angles.into_iter().flatten())
            .collect()
    }

    fn advance(
        &self,
        read: Vec<Tensor<3>>,
        bias: Option<Tensor<4>>,
        caches: &mut [KvCache],
    ) -> Option<Tensor<3>> {
        let mut read = read.into_iter();
        let hidden = read.next()?;
        let rotation = match (read.next(), read.next()) {
            (Some(cos), Some(sin)) => Some(CosSin { cos, sin }),
            _ => None,
        };
        // A single new position has no future.
        let unseen = Unseen {
            bias,
            causal: false,
        };
        let context = Context { rotation, unseen };
        let hidden = self.through_layers(hidden, context, caches, &mut Kept::default());
        Some(self.logits(hidden))
    }
}
