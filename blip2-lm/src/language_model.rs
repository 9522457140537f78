//! The language model, whichever it is.

use blip2_io::config::TextConfig;
use blip2_kernels::{Keep, Weights, layers_in_pool, step_in_pool};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use crate::{
    causal::{CausalLm, CausalState},
    decoder::DecoderLm,
    error::LmError,
    session::{Decode, Session},
    t5::{T5ForConditionalGeneration, T5State},
};

/// A language model that reads embedded prompts.
///
/// ```
/// use blip2_lm::burn::tensor::Device;
/// use blip2_lm::{CheckpointFolder, CheckpointWeights, LanguageModel, Weights};
///
/// // The language model of a BLIP-2; a folder that holds nothing else has no prefix.
/// let (folder, device) = (CheckpointFolder::open("../blip2-cli/demo")?, Device::flex());
/// let checkpoint = folder.checkpoint()?;
/// let source = CheckpointWeights::new(&checkpoint);
/// let weights = Weights::new(&source, &device).at("language_model");
/// let model = LanguageModel::load(&folder.config()?.text_config, &weights)?;
/// assert!(!model.is_encoder_decoder()); // OPT
///
/// let embeds = model.embed(&[vec![2, 17, 42]])?;
/// let features = model.last_hidden_state(embeds, &[vec![true; 3]])?;
/// assert_eq!(features.dims(), [1, 3, model.embedding_dim()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // there is one for each pipeline
pub enum LanguageModel {
    /// A decoder-only model: OPT, LLaMA or Granite.
    Decoder(DecoderLm),
    /// An encoder-decoder model.
    T5(T5ForConditionalGeneration),
}

impl LanguageModel {
    /// Builds the model that `config` names from the weights below the cursor.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &TextConfig, weights: &Weights<'_>) -> Result<Self, LmError> {
        match config {
            TextConfig::Opt(config) => DecoderLm::load(config, weights).map(Self::Decoder),
            TextConfig::Llama(config) => DecoderLm::load(config, weights).map(Self::Decoder),
            TextConfig::Granite(config) => DecoderLm::load(config, weights).map(Self::Decoder),
            TextConfig::T5(config) => {
                T5ForConditionalGeneration::load(config, weights).map(Self::T5)
            }
            other => Err(LmError::Unsupported(format!("{other:?}"))),
        }
    }

    /// As [`DecoderLm::with_placeholder`]; an encoder-decoder stays as it is.
    #[must_use]
    pub fn with_placeholder(self, token: u32) -> Self {
        match self {
            Self::Decoder(model) => Self::Decoder(model.with_placeholder(token)),
            Self::T5(model) => Self::T5(model),
        }
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Decoder(model) => model.vocab_size(),
            Self::T5(model) => model.vocab_size(),
        }
    }

    /// The layers that read prompts.
    fn layers(&self) -> usize {
        match self {
            Self::Decoder(model) => model.caches(),
            Self::T5(model) => model.encoder_layers(),
        }
    }

    /// Whether prompts are read by an encoder, and answers begin with a start token.
    pub fn is_encoder_decoder(&self) -> bool {
        matches!(self, Self::T5(_))
    }

    /// The width of a token's embedding, which is what the model reads and what pictures are
    /// projected to.
    pub fn embedding_dim(&self) -> usize {
        match self {
            Self::Decoder(model) => model.embedding_dim(),
            Self::T5(model) => model.embedding_dim(),
        }
    }

    /// The embeddings of tokens, `[batch, seq, embedding_dim]`.
    ///
    /// # Errors
    ///
    /// For an empty batch, ragged rows, and ids that the vocabulary does not have.
    pub fn embed(&self, ids: &[Vec<u32>]) -> Result<Tensor<3>, LmError> {
        match self {
            Self::Decoder(model) => model.embed(ids),
            Self::T5(model) => model.embed(ids),
        }
    }

    /// The features of embedded texts: what a decoder-only model's head would read, or what an
    /// encoder-decoder's encoder gives.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, embedding_dim]`
    /// - attention_mask: `[batch][seq]`, true where a position counts; padding may stand anywhere
    /// - output: `[batch, seq, embedding_dim]`
    ///
    /// # Errors
    ///
    /// [`LmError`] for shapes that do not go together, and rows that are only padding or longer
    /// than the context.
    pub fn last_hidden_state(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
    ) -> Result<Tensor<3>, LmError> {
        match self {
            Self::Decoder(model) => model.last_hidden_state(inputs_embeds, attention_mask),
            Self::T5(model) => {
                let encoded = model.encode(inputs_embeds, attention_mask, Keep::NOTHING)?;
                Ok(encoded.last_hidden_state)
            }
        }
    }

    /// A decode of up to `max_new_tokens` tokens after embedded prompts.
    ///
    /// `decoder_start` is the token that an encoder-decoder's answers start from; decoder-only
    /// models need none.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, embedding_dim]`
    /// - attention_mask: `[batch][seq]`, true where a position counts; padding may stand anywhere
    ///
    /// # Errors
    ///
    /// [`LmError`] for shapes that do not go together, rows that are only padding or longer than
    /// the context, and an encoder-decoder without a start token.
    pub fn start(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        decoder_start: Option<u32>,
        max_new_tokens: usize,
    ) -> Result<Session<&Self>, LmError> {
        let tokens = max_new_tokens;
        let state = match self {
            Self::Decoder(model) => {
                State::Causal(model.begin(inputs_embeds, attention_mask, tokens)?)
            }
            Self::T5(model) => {
                let start = decoder_start.ok_or(LmError::NoStartToken)?;
                State::T5(model.begin(inputs_embeds, attention_mask, start, tokens)?)
            }
        };
        Ok(Session::new(self, state))
    }
}

/// What a decode of a [`LanguageModel`] remembers between its steps.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one for each decode
pub(crate) enum State {
    Causal(CausalState),
    T5(T5State),
}

impl State {
    /// The width of prompts, and how many positions they have together.
    fn prompt_size(&self) -> [usize; 2] {
        let prompts = match self {
            Self::Causal(state) => state.prompts(),
            Self::T5(state) => state.prompts(),
        };
        prompts.map_or([0, 0], |embeds| {
            let [rows, seq, width] = embeds.dims();
            [width, rows * seq]
        })
    }

    fn device(&self) -> Device {
        match self {
            Self::Causal(state) => state.device().clone(),
            Self::T5(state) => state.device.clone(),
        }
    }
}

/// A session begins with the state of its model, and no other model is ever put under it.
const OTHER: LmError = LmError::Order("the state is of another kind of model");

impl Decode for LanguageModel {
    type State = State;

    fn vocab_size(&self) -> usize {
        self.vocab_size()
    }

    fn rows(&self, state: &State) -> usize {
        match state {
            State::Causal(state) => state.rows(),
            State::T5(state) => state.rows(),
        }
    }

    fn prefill(&self, state: &mut State) -> Result<Tensor<3>, LmError> {
        let (layers, device, size) = (self.layers(), state.device(), state.prompt_size());
        layers_in_pool(self, &device, layers, size, || match (self, state) {
            (Self::Decoder(model), State::Causal(state)) => state.prefill(model),
            (Self::T5(model), State::T5(state)) => model.prefill(state),
            _ => Err(OTHER),
        })
    }

    fn step(
        &self,
        state: &mut State,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError> {
        step_in_pool(&state.device(), || match (self, state) {
            (Self::Decoder(model), State::Causal(state)) => state.step(model, parents, tokens),
            (Self::T5(model), State::T5(state)) => model.step(state, parents, tokens),
            _ => Err(OTHER),
        })
    }

    fn extend(&self, state: &mut State, tokens: &[u32]) -> Result<Tensor<3>, LmError> {
        match (self, state) {
            (Self::Decoder(model), State::Causal(state)) => state.extend(model, tokens),
            (Self::T5(model), State::T5(state)) => model.extend(state, tokens),
            _ => Err(OTHER),
        }
    }

    fn rewind(&self, state: &mut State, count: usize) {
        match state {
            State::Causal(state) => state.rewind(count),
            State::T5(state) => state.rewind(count),
        }
    }

    fn join(&self, state: &mut State, other: State) -> Result<(), LmError> {
        match (state, other) {
            (State::Causal(state), State::Causal(other)) => state.join(other),
            (State::T5(state), State::T5(other)) => state.join(other),
            _ => Err(OTHER),
        }
    }

    fn remaining_positions(&self, state: &State) -> Option<usize> {
        match (self, state) {
            (Self::Decoder(model), State::Causal(state)) => state.remaining_positions(model),
            // Relative positions have no end.
            _ => None,
        }
    }
}
