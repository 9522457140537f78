//! The engine's front door.

use std::fmt;
use std::sync::Arc;

use super::GenerateError;
use super::beam::search_rows;
use super::cancel::CancelToken;
use super::config::GenerationConfig;
use super::constraint::TokenConstraint;
use super::output::Generated;
use super::rules::Rules;
use super::run::{Run, Sequence};
use super::session::DecodeSession;
use super::stream::Stream;
use super::text::TokenDecoder;
use super::walk::{Walk, walk_rows};

/// Generates tokens by a [`GenerationConfig`], with hooks as needed; may be used many times.
///
/// `num_beams` and `do_sample` choose the mode: greedy search, sampling, beam search or beam
/// sampling.
///
/// The hooks may be borrowed, for `'a`. A program that keeps generators or their streams gives them
/// owned hooks, an [`Arc`] of a tokenizer for example: a `Generator<'static>` may go to another
/// thread, and so may a [`Stream<'static, S>`](Stream) of a session that owns its model.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{DecoderLm, OptConfig, RandomWeights, Weights};
/// use blip2_lm::generate::{GenerationConfig, Generator, NextTokens, Position, TokenConstraint};
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
/// /// No token that is there already.
/// struct Once;
///
/// impl TokenConstraint for Once {
///     fn next_tokens(&self, at: Position<'_>, scores: &mut [f32]) -> NextTokens {
///         for &token in at.ids() {
///             scores[token as usize] = f32::NEG_INFINITY;
///         }
///         NextTokens::Any
///     }
/// }
///
/// let prompts = [vec![2, 17, 42]];
/// let mut session = model.start(model.embed(&prompts)?, &[vec![true; 3]], 8)?;
/// let eight = GenerationConfig::default().with_max_new_tokens(8).with_num_beams(3);
/// let found = Generator::new(eight)?.constraint(Once).generate(&mut session, &prompts)?;
/// let mut tokens = [&prompts[0][..], &found[0][0].tokens].concat();
/// tokens.sort();
/// tokens.dedup();
/// assert_eq!(tokens.len(), 3 + 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Generator<'a> {
    config: GenerationConfig,
    constraint: Option<Arc<dyn TokenConstraint + 'a>>,
    token_decoder: Option<Arc<dyn TokenDecoder + 'a>>,
    cancel: CancelToken,
}

impl<'a> Generator<'a> {
    /// A generator without hooks.
    ///
    /// # Errors
    ///
    /// [`GenerateError::InvalidArgument`] as of [`GenerationConfig::validate`].
    pub fn new(config: GenerationConfig) -> Result<Self, GenerateError> {
        config.validate()?;
        Ok(Self {
            config,
            constraint: None,
            token_decoder: None,
            cancel: CancelToken::new(),
        })
    }

    /// Lets `constraint` decide which tokens may come.
    #[must_use]
    pub fn constraint(mut self, constraint: impl TokenConstraint + 'a) -> Self {
        self.constraint = Some(Arc::new(constraint));
        self
    }

    /// Decodes tokens with `decoder`, for stop strings and for [`stream`](Self::stream).
    #[must_use]
    pub fn token_decoder(mut self, decoder: impl TokenDecoder + 'a) -> Self {
        self.token_decoder = Some(Arc::new(decoder));
        self
    }

    /// Stops when `cancel`, or a clone of it, is cancelled; checked before every model step.
    #[must_use]
    pub fn cancel_token(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The arguments.
    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// Generates for each row of `session` after its prompt ids. One list for each prompt, of
    /// `num_return_sequences` results, the best first; a beam search finds fewer if constraints
    /// leave fewer sequences.
    ///
    /// The prompt ids are what penalties, n-grams and lengths count: for a decoder-only model the
    /// whole prompt, image placeholders included; for an encoder-decoder the decoder's start
    /// token. Rows end independently of each other, and a row that has ended is no longer run.
    ///
    /// # Errors
    ///
    /// [`GenerateError`]: a prompt that fills `max_length`, prompts that do not match the session,
    /// logits that are no distribution, rules that forbid every token, and whatever the model, the
    /// token decoder or the constraint gets wrong.
    pub fn generate<S: DecodeSession>(
        &self,
        session: &mut S,
        prompts: &[Vec<u32>],
    ) -> Result<Vec<Vec<Generated>>, GenerateError> {
        let run = self.run(session, prompts.len())?;
        if prompts.is_empty() {
            Ok(Vec::new())
        } else if self.config.num_beams > 1 {
            search_rows(session, &run, prompts)
        } else {
            walk_rows(session, &run, prompts)
        }
    }

    /// Generates for the only row of `session`, step by step, with its text.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate); also [`GenerateError::NoTokenDecoder`] if none was given,
    /// and [`GenerateError::InvalidArgument`] for more than one beam or returned sequence.
    pub fn stream<S: DecodeSession>(
        &self,
        session: S,
        prompt: &[u32],
    ) -> Result<Stream<'a, S>, GenerateError> {
        for (argument, value) in [
            ("num_beams", self.config.num_beams),
            ("num_return_sequences", self.config.num_return_sequences),
        ] {
            if value != 1 {
                let reason = "a stream follows one sequence, greedy or sampled: set it to 1";
                return Err(GenerateError::argument(argument, value, reason));
            }
        }
        if self.token_decoder.is_none() {
            return Err(GenerateError::NoTokenDecoder { need: "a stream" });
        }
        let run = self.run(&session, 1)?;
        let sequence = Sequence::new(&run, 0, prompt, true)?;
        let walk = Walk::new(&run, sequence, 0);
        Ok(Stream::new(session, run, walk))
    }

    /// Whether tokens can be made text of.
    pub(super) fn decodes(&self) -> bool {
        self.token_decoder.is_some()
    }

    pub(super) fn run<S: DecodeSession>(
        &self,
        session: &S,
        prompts: usize,
    ) -> Result<Run<'a>, GenerateError> {
        if session.rows() != prompts {
            return Err(GenerateError::PromptCount {
                given: prompts,
                expected: session.rows(),
            });
        }
        if !self.config.stop_strings.is_empty() && self.token_decoder.is_none() {
            return Err(GenerateError::NoTokenDecoder {
                need: "`stop_strings`",
            });
        }
        Ok(Run {
            rules: Rules::new(
                self.config.clone(),
                self.constraint.clone(),
                session.vocab_size(),
            )?,
            token_decoder: self.token_decoder.clone(),
            cancel: self.cancel.clone(),
            remaining_positions: session.remaining_positions(),
        })
    }
}

impl fmt::Debug for Generator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
