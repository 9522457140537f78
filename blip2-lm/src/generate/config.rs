//! The generation arguments.

use serde::{Deserialize, Deserializer, Serialize};

use super::GenerateError;

/// New tokens generated when neither `max_new_tokens` nor `max_length` is given.
const DEFAULT_NEW_TOKENS: usize = 20;

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
/// let config = GenerationConfig { num_beams: 5, max_new_tokens: Some(30), ..Default::default() };
/// config.validate()?;
/// let wrong = GenerationConfig { num_beams: 0, ..config };
/// assert!(wrong.validate().unwrap_err().to_string().contains("num_beams"));
/// # Ok::<(), blip2_lm::generate::GenerateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationConfig {
    /// The most tokens to generate. `None` (the default): `max_length` decides, or 20 without it.
    pub max_new_tokens: Option<usize>,
    /// The most tokens of prompt and generated text together; `max_new_tokens` goes before it.
    /// Default `None`.
    pub max_length: Option<usize>,
    /// No end token before prompt and generated text hold this many tokens. Default 0.
    #[serde(deserialize_with = "null_as_default")]
    pub min_length: usize,
    /// No end token among the first so many generated ones; goes before `min_length`.
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
    /// Sampling: only the so many likeliest tokens (and ties with the last); 0 for all of them.
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
}

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
        }
    }
}

/// When a beam search stops. In JSON: `false`, `true` or `"never"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EarlyStoppingJson", into = "EarlyStoppingJson")]
pub enum EarlyStopping {
    /// Once there are `num_beams` finished sequences and the best running beam, were it to finish
    /// now, would not beat the worst of them.
    #[default]
    False,
    /// As soon as there are `num_beams` finished sequences.
    True,
    /// As [`False`](Self::False), but with a positive length penalty the running beam is judged as
    /// if it reached the maximum length: the canonical search, which cannot miss a better one.
    Never,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EarlyStoppingJson {
    Flag(bool),
    Word(Never),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Never {
    Never,
}

impl From<EarlyStoppingJson> for EarlyStopping {
    fn from(json: EarlyStoppingJson) -> Self {
        match json {
            EarlyStoppingJson::Flag(false) => Self::False,
            EarlyStoppingJson::Flag(true) => Self::True,
            EarlyStoppingJson::Word(Never::Never) => Self::Never,
        }
    }
}

impl From<EarlyStopping> for EarlyStoppingJson {
    fn from(value: EarlyStopping) -> Self {
        match value {
            EarlyStopping::False => Self::Flag(false),
            EarlyStopping::True => Self::Flag(true),
            EarlyStopping::Never => Self::Word(Never::Never),
        }
    }
}

impl GenerationConfig {
    /// Checks every argument and how they go together.
    ///
    /// # Errors
    ///
    /// [`GenerateError::InvalidArgument`] names the first argument at fault and its value.
    pub fn validate(&self) -> Result<(), GenerateError> {
        self.validate_lengths()?;
        self.validate_counts()?;
        in_range("length_penalty", self.length_penalty, "finite", |x| {
            x.is_finite()
        })?;
        in_range(
            "repetition_penalty",
            self.repetition_penalty,
            "above 0 and finite",
            positive,
        )?;
        in_range(
            "temperature",
            self.temperature,
            "above 0 and finite (for greedy search unset `do_sample`)",
            positive,
        )?;
        in_range("top_p", self.top_p, "above 0 and at most 1", unit_share)?;
        in_range(
            "typical_p",
            self.typical_p,
            "above 0 and at most 1",
            unit_share,
        )?;
        if let Some(min_p) = self.min_p {
            in_range("min_p", min_p, "from 0 to 1", |x| (0.0..=1.0).contains(&x))?;
        }
        if self.bad_words_ids.iter().any(Vec::is_empty) {
            return Err(GenerateError::argument(
                "bad_words_ids",
                "[]",
                "each entry must hold at least one id",
            ));
        }
        if self.stop_strings.iter().any(String::is_empty) {
            return Err(GenerateError::argument(
                "stop_strings",
                "\"\"",
                "an empty text would end every sequence at once",
            ));
        }
        Ok(())
    }

    fn validate_lengths(&self) -> Result<(), GenerateError> {
        for (name, max) in [
            ("max_new_tokens", self.max_new_tokens),
            ("max_length", self.max_length),
        ] {
            if max == Some(0) {
                return Err(GenerateError::argument(name, 0, "must be at least 1"));
            }
        }
        let max_new = match (self.max_new_tokens, self.max_length) {
            (None, None) => Some(DEFAULT_NEW_TOKENS),
            (max_new, _) => max_new,
        };
        if let (Some(min), Some(max)) = (self.min_new_tokens, max_new)
            && min > max
        {
            let reason = format!("must not be above the maximum of {max} new tokens");
            return Err(GenerateError::argument("min_new_tokens", min, reason));
        }
        if let (None, Some(max)) = (self.max_new_tokens, self.max_length)
            && self.min_length > max
        {
            let reason = format!("must not be above `max_length` = {max}");
            return Err(GenerateError::argument(
                "min_length",
                self.min_length,
                reason,
            ));
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), GenerateError> {
        if self.num_beams == 0 {
            return Err(GenerateError::argument(
                "num_beams",
                0,
                "must be at least 1; 1 means no beam search",
            ));
        }
        let sequences = self.num_return_sequences;
        let reason = if sequences == 0 {
            "must be at least 1".to_owned()
        } else if self.num_beams > 1 && sequences > self.num_beams {
            format!("must not be above `num_beams` = {}", self.num_beams)
        } else if self.num_beams == 1 && !self.do_sample && sequences > 1 {
            "greedy search has one result: set `num_beams` or `do_sample`".to_owned()
        } else {
            return Ok(());
        };
        Err(GenerateError::argument(
            "num_return_sequences",
            sequences,
            reason,
        ))
    }

    /// How many tokens may be generated after a prompt of `prompt_len` ids.
    pub(super) fn new_tokens_after(&self, prompt_len: usize) -> Result<usize, GenerateError> {
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

/// Above zero and finite in f32 too, where it is applied.
fn positive(x: f64) -> bool {
    x > 0.0 && (x as f32).is_normal()
}

fn unit_share(x: f64) -> bool {
    x > 0.0 && x <= 1.0
}

fn in_range(
    argument: &'static str,
    value: f64,
    range: &str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), GenerateError> {
    if holds(value) {
        Ok(())
    } else {
        let reason = format!("must be {range}");
        Err(GenerateError::argument(argument, value, reason))
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
