//! The language model, whichever it is.

use blip2_io::config::TextConfig;
use blip2_kernels::Weights;
use burn::{module::Module, tensor::Tensor};

use crate::{
    LmError,
    generate::{DecodeSession, Logits},
    llama::{LlamaForCausalLm, LlamaSession},
    opt::{OptForCausalLm, OptSession},
    t5::{T5ForConditionalGeneration, T5Session},
};

/// A language model that reads embedded prompts.
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // there is one for each pipeline
pub enum LanguageModel {
    /// A decoder-only model.
    Opt(OptForCausalLm),
    /// An encoder-decoder model.
    T5(T5ForConditionalGeneration),
    /// A decoder-only model whose positions turn queries and keys.
    Llama(LlamaForCausalLm),
}

impl LanguageModel {
    /// Builds the model that `config` names from the weights below the cursor.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &TextConfig, weights: &Weights<'_>) -> Result<Self, LmError> {
        match config {
            TextConfig::Opt(config) => OptForCausalLm::load(config, weights).map(Self::Opt),
            TextConfig::T5(config) => {
                T5ForConditionalGeneration::load(config, weights).map(Self::T5)
            }
            TextConfig::Llama(config) => LlamaForCausalLm::load(config, weights).map(Self::Llama),
            other => Err(LmError::Unsupported(format!("{other:?}"))),
        }
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Opt(model) => model.vocab_size(),
            Self::T5(model) => model.vocab_size(),
            Self::Llama(model) => model.vocab_size(),
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
            Self::Opt(model) => model.embedding_dim(),
            Self::T5(model) => model.embedding_dim(),
            Self::Llama(model) => model.embedding_dim(),
        }
    }

    /// The embeddings of tokens, `[batch, seq, embedding_dim]`.
    ///
    /// # Errors
    ///
    /// For an empty batch, ragged rows, and ids that the vocabulary does not have.
    pub fn embed(&self, ids: &[Vec<u32>]) -> Result<Tensor<3>, LmError> {
        match self {
            Self::Opt(model) => model.embed(ids),
            Self::T5(model) => model.embed(ids),
            Self::Llama(model) => model.embed(ids),
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
            Self::Opt(model) => model.last_hidden_state(inputs_embeds, attention_mask),
            Self::T5(model) => {
                let encoded = model.encode(inputs_embeds, attention_mask, false)?;
                Ok(encoded.last_hidden_state)
            }
            Self::Llama(model) => model.last_hidden_state(inputs_embeds, attention_mask),
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
    ) -> Result<Session<'_>, LmError> {
        match self {
            Self::Opt(model) => model
                .start(inputs_embeds, attention_mask, max_new_tokens)
                .map(Session::Opt),
            Self::T5(model) => {
                let start = decoder_start.ok_or(LmError::NoStartToken)?;
                model
                    .start(inputs_embeds, attention_mask, start, max_new_tokens)
                    .map(Session::T5)
            }
            Self::Llama(model) => model
                .start(inputs_embeds, attention_mask, max_new_tokens)
                .map(Session::Llama),
        }
    }
}

/// A running decode of a [`LanguageModel`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Session<'m> {
    /// Of OPT.
    Opt(OptSession<'m>),
    /// Of T5.
    T5(T5Session<'m>),
    /// Of LLaMA.
    Llama(LlamaSession<'m>),
}

impl DecodeSession for Session<'_> {
    type Error = LmError;

    fn vocab_size(&self) -> usize {
        match self {
            Self::Opt(session) => session.vocab_size(),
            Self::T5(session) => session.vocab_size(),
            Self::Llama(session) => session.vocab_size(),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Opt(session) => session.rows(),
            Self::T5(session) => session.rows(),
            Self::Llama(session) => session.rows(),
        }
    }

    fn prefill(&mut self) -> Result<Logits, LmError> {
        match self {
            Self::Opt(session) => session.prefill(),
            Self::T5(session) => session.prefill(),
            Self::Llama(session) => session.prefill(),
        }
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, LmError> {
        match self {
            Self::Opt(session) => session.step(parents, tokens),
            Self::T5(session) => session.step(parents, tokens),
            Self::Llama(session) => session.step(parents, tokens),
        }
    }

    fn remaining_positions(&self) -> Option<usize> {
        match self {
            Self::Opt(session) => session.remaining_positions(),
            Self::T5(session) => session.remaining_positions(),
            Self::Llama(session) => session.remaining_positions(),
        }
    }
}
