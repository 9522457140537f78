//! The generation arguments.

use blip2_kernels::setters;
use serde::{Deserialize, Deserializer, Serialize};

use super::{EarlyStopping, GenerateError};

/// New tokens generated when neither `max_new_tokens` nor `max_length` is given.
pub(super) const DEFAULT_NEW_TOKENS: usize = 20;

/// How to generate: names, meanings and defaults of `transformers`' `GenerationConfig`.
///
/// A `generation_config.json` parses into it; keys it does not know are ignored and `null` means
/// the default. Arguments of another mode (`temperature` without `do_sample`, `length_penalty`
/// without beams) have no effect, as in `transformers`, but must be valid.
///
/// Wherever a length counts the prompt, it counts the prompt ids that were given to the engine.
///
/// ```
/// use blip2_lm::generate::GenerationConfig;
///
/// let config = GenerationConfig::default().with_num_beams(5).with_max_new_tokens(30);
/// config.validate()?;
/// let wrong = config.with_num_beams(0);
/// assert!(wrong.validate().unwrap_err().to_string().contains("num_beams"));
/// # Ok::<(), blip2_lm::generate::GenerateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GenerationConfig {
    /// The most tokens to generate. `None` (the default): `max_length` decides, or 20 without it.
    pub max_new_tokens: Option<usize>,
    /// The most tokens of prompt and generated text together; `max_new_tokens` goes before it.
    /// Default `None`.
    pub max_length: Option<usize>,
    /// No end token before prompt and generated text hold this many tokens. Default 0.
    #[serde(deserialize_with = "null_as_default")]
    pub min_length: usize,
    /// No end token among the first `min_new_tokens` generated ones; goes before `min_length`.
    /// Default `None`.
    pub min_new_tokens: Option<usize>,
    /// Beams of the beam search; 1 (the default) for greedy search or plain sampling.
    #[serde(deserialize_with = "null_as_one")]
    pub num_beams: usize,
    /// Sequences returned for each prompt. Default 1; more needs beams (at most `num_beams`) or
    /// sampling.
    #[serde(deserialize_with = "null_as_one")]
    pub num_return_sequences: usize,
    /// A beam's score is its log-probability divided by its generated length to this power:
    /// above 0 favours long sequences, below 0 short ones. Default 1.
    #[serde(deserialize_with = "null_as_unit")]
    pub length_penalty: f64,
    /// When a beam search stops. Default [`EarlyStopping::False`].
    #[serde(deserialize_with = "null_as_default")]
    pub early_stopping: EarlyStopping,
    /// Whether to draw the next token at random. Default `false`.
    #[serde(deserialize_with = "null_as_default")]
    pub do_sample: bool,
    /// Sampling: the logits are divided by it. Above 0, default 1.
    #[serde(deserialize_with = "null_as_unit")]
    pub temperature: f64,
    /// Sampling: only the `top_k` likeliest tokens (and ties with the last); 0 for all of them.
    /// Default 50.
    #[serde(deserialize_with = "null_as_fifty")]
    pub top_k: usize,
    /// Sampling: only the likeliest tokens that together reach this probability. In (0, 1],
    /// default 1: all.
    #[serde(deserialize_with = "null_as_unit")]
    pub top_p: f64,
    /// Sampling: only tokens at least this probable relative to the likeliest. In [0, 1], default
    /// `None`.
    pub min_p: Option<f64>,
    /// Sampling: only the tokens whose surprise is nearest to the distribution's entropy, up to
    /// this probability (<https://arxiv.org/abs/2202.00666>). In (0, 1], default 1: all.
    #[serde(deserialize_with = "null_as_unit")]
    pub typical_p: f64,
    /// Sampling: the seed. A call with the same seed draws the same tokens on every platform, and
    /// a row the same alone or in a batch. Default 0.
    #[serde(deserialize_with = "null_as_default")]
    pub seed: u64,
    /// Scores of tokens that already occurred, in the prompt too, are divided by it if positive,
    /// multiplied if negative (<https://arxiv.org/abs/1909.05858>). Above 0, default 1: none.
    #[serde(deserialize_with = "null_as_unit")]
    pub repetition_penalty: f64,
    /// No n-gram of this size occurs twice in prompt and generated text; 0 (the default) for no
    /// such rule.
    #[serde(deserialize_with = "null_as_default")]
    pub no_repeat_ngram_size: usize,
    /// Sequences of ids that must not be generated. An entry that is a single end token is
    /// ignored. Default empty.
    #[serde(deserialize_with = "null_as_default")]
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Ids that end a sequence; reads a single number as well as a list. Default none.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    /// The padding id, for callers that pad the sequences to one length; the engine does not pad.
    /// Default `None`.
    pub pad_token_id: Option<u32>,
    /// Texts that end a sequence; reads a single text as well as a list. They need a token decoder.
    /// Default none.
    #[serde(deserialize_with = "one_or_many")]
    pub stop_strings: Vec<String>,
    /// How many of the likeliest tokens are told at each step, beside the one that was chosen
    /// ([`Generated::top_logprobs`](super::Generated::top_logprobs)). At most 100, and none with beams.
    /// Default 0. Not an argument of `transformers`.
    #[serde(deserialize_with = "null_as_default")]
    pub top_logprobs: usize,
}

setters! { GenerationConfig {
    with_max_new_tokens(max_new_tokens: impl Into<Option<usize>>),
    with_max_length(max_length: impl Into<Option<usize>>),
    with_min_length(min_length: usize),
    with_min_new_tokens(min_new_tokens: impl Into<Option<usize>>),
    with_num_beams(num_beams: usize),
    with_num_return_sequences(num_return_sequences: usize),
    with_length_penalty(length_penalty: f64),
    with_early_stopping(early_stopping: EarlyStopping),
    with_do_sample(do_sample: bool),
    with_temperature(temperature: f64),
    with_top_k(top_k: usize),
    with_top_p(top_p: f64),
    with_min_p(min_p: impl Into<Option<f64>>),
    with_typical_p(typical_p: f64),
    with_seed(seed: u64),
    with_repetition_penalty(repetition_penalty: f64),
    with_no_repeat_ngram_size(no_repeat_ngram_size: usize),
    with_bad_words_ids(bad_words_ids: impl Into<Vec<Vec<u32>>>),
    with_eos_token_id(eos_token_id: impl Into<Vec<u32>>),
    with_pad_token_id(pad_token_id: impl Into<Option<u32>>),
    with_stop_strings(stop_strings: impl Into<Vec<String>>),
    with_top_logprobs(top_logprobs: usize),
} }

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: None,
            max_length: None,
            min_length: 0,
            min_new_tokens: None,
            num_beams: 1,
            num_return_sequences: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::False,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: None,
            typical_p: 1.0,
            seed: 0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            eos_token_id: Vec::new(),
            pad_token_id: None,
            stop_strings: Vec::new(),
            top_logprobs: 0,
        }
    }
}

impl GenerationConfig {
    /// The most tokens that may be generated after a prompt of `prompt_len` ids, by
    /// `max_new_tokens` and `max_length`. What is generated last is not fed to the model, so a
    /// cache holds all with one position less.
    ///
    /// # Errors
    ///
    /// [`GenerateError::InvalidArgument`] if the prompt leaves no room below `max_length`.
    pub fn new_tokens_after(&self, prompt_len: usize) -> Result<usize, GenerateError> {
        match (self.max_new_tokens, self.max_length) {
            (Some(max), _) => Ok(max),
            (None, None) => Ok(DEFAULT_NEW_TOKENS),
            (None, Some(max)) if max > prompt_len => Ok(max - prompt_len),
            (None, Some(max)) => {
                let reason = format!(
                    "a prompt already has {prompt_len} ids: increase it, or set `max_new_tokens`"
                );
                Err(GenerateError::argument("max_length", max, reason))
            }
        }
    }
}

fn null_or<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D, or: T) -> Result<T, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or(or))
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    json: D,
) -> Result<T, D::Error> {
    null_or(json, T::default())
}

fn null_as_one<'de, D: Deserializer<'de>>(json: D) -> Result<usize, D::Error> {
    null_or(json, 1)
}

fn null_as_unit<'de, D: Deserializer<'de>>(json: D) -> Result<f64, D::Error> {
    null_or(json, 1.0)
}

fn null_as_fifty<'de, D: Deserializer<'de>>(json: D) -> Result<usize, D::Error> {
    null_or(json, 50)
}

fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    json: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match Option::deserialize(json)? {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    })
}
