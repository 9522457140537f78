//! How a text is to be written, as requests say it.

use blip2_core::{Blip2Error, GenerationConfig, Options};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    app::Client,
    error::ApiError,
    http::fields::{Fields, FromValue, wrong},
    settings::Limits,
    words::Names,
};

/// One stop string, or several.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

impl Stop {
    fn into_strings(self) -> Vec<String> {
        let mut strings = match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        };
        strings.retain(|stop| !stop.is_empty());
        strings
    }
}

impl FromValue for Stop {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        match value {
            Value::String(one) => Ok(Self::One(one)),
            Value::Array(_) => Vec::from_value(value, at).map(Self::Many),
            other => Err(wrong(at, "a text or a list of texts", &other)),
        }
    }
}

/// A random seed. Some programs' seeds are negative; any bits do.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(value_type = i64)]
pub(crate) struct Seed(u64);

impl FromValue for Seed {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let seed = value
            .as_u64()
            .or_else(|| value.as_i64().map(i64::cast_unsigned));
        seed.map(Self)
            .ok_or_else(|| wrong(at, "a whole number of 64 bits", &value))
    }
}

/// How a text is to be written. Without any of it: greedily, up to 20 tokens.
///
/// As of all that requests are read as, `Serialize` tells `ToSchema` its shape.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct Generation {
    /// The most tokens to write.
    #[schema(example = 20)]
    pub(crate) max_tokens: Option<usize>,
    /// How many beams search for the best text; 1 for greedy search.
    pub(crate) beams: Option<usize>,
    /// How many texts to write: with beams the best ones, else sampled.
    pub(crate) n: Option<usize>,
    /// Above 0 tokens are sampled: below 1 from a sharper distribution, above 1 from a flatter one.
    pub(crate) temperature: Option<f64>,
    /// Sample from the most probable tokens whose probabilities add up to this.
    pub(crate) top_p: Option<f64>,
    /// Sample from this number of the most probable tokens; 0, or -1, for all.
    pub(crate) top_k: Option<i64>,
    /// Sample from the tokens that are at least this probable, as a part of the most probable one's probability.
    pub(crate) min_p: Option<f64>,
    /// The random seed: the same one gives the same text. Without one each request has its own.
    pub(crate) seed: Option<Seed>,
    /// Where the text ends, at the latest.
    pub(crate) stop: Option<Stop>,
    /// Of beams: above 0 favours long texts, below 0 short ones.
    pub(crate) length_penalty: Option<f64>,
    /// Above 1 discourages tokens that occurred before.
    pub(crate) repetition_penalty: Option<f64>,
    /// How many of the likeliest tokens are told at each step; OpenAI's shape alone has room for them.
    #[serde(skip)]
    pub(crate) top_logprobs: usize,
    /// The key by which `max_tokens` was given, if it was another one.
    #[serde(skip)]
    pub(crate) tokens_key: Option<&'static str>,
}

/// The most stop strings; each is looked for in every piece.
const STOPS: usize = 16;
/// The most tokens that are told at each step, as OpenAI has it.
const TOP: usize = 20;
/// How many tokens are written where a request does not say.
const USUAL_TOKENS: usize = 20;

impl Generation {
    /// What a request says of it.
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self {
            max_tokens: fields.optional("max_tokens")?,
            beams: fields.optional("beams")?,
            n: fields.optional("n")?,
            temperature: fields.optional("temperature")?,
            top_p: fields.optional("top_p")?,
            top_k: fields.optional("top_k")?,
            min_p: fields.optional("min_p")?,
            seed: fields.optional("seed")?,
            stop: fields.optional("stop")?,
            length_penalty: fields.optional("length_penalty")?,
            repetition_penalty: fields.optional("repetition_penalty")?,
            top_logprobs: 0,
            tokens_key: None,
        })
    }

    /// The options of a call for a client, within limits.
    pub(crate) fn options(
        self,
        limits: &Limits,
        client: &Client,
        names: &Names,
    ) -> Result<Options, ApiError> {
        let config = self.config(limits, names)?;
        Ok(Options::default()
            .with_generation(config)
            .with_cancel(client.cancel.clone()))
    }

    /// Refuses what has a meaning where tokens are sampled alone, where none are. OpenAI's programs send some of
    /// it always.
    pub(crate) fn check_sampling(&self) -> Result<(), ApiError> {
        self.check_ranges()?;
        let is_sampled = self.temperature.is_some_and(|of| of > 0.0) || self.samples_several();
        let narrows = [
            ("top_p", self.top_p.is_some_and(|of| of != 1.0)),
            ("top_k", self.top_k.is_some_and(|of| of > 0)),
            ("min_p", self.min_p.is_some_and(|of| of != 0.0)),
        ];
        match narrows.into_iter().find(|(_, set)| *set) {
            Some((key, _)) if !is_sampled => {
                let text = format!("`{key}` is of sampling: give a `temperature` above 0, too");
                Err(ApiError::invalid(text).with_param(key))
            }
            _ => Ok(()),
        }
    }

    /// Whether several texts are asked for, which without beams and a temperature are samples.
    fn samples_several(&self) -> bool {
        let beams = self.beams.unwrap_or(1);
        self.temperature.is_none() && beams == 1 && self.n.is_some_and(|n| n > 1)
    }

    fn config(self, limits: &Limits, names: &Names) -> Result<GenerationConfig, ApiError> {
        self.check_ranges()?;
        let usual = USUAL_TOKENS.min(limits.max_tokens);
        let tokens = counted(
            self.tokens_key.unwrap_or("max_tokens"),
            self.max_tokens.unwrap_or(usual),
            limits.max_tokens,
        )?;
        let beams = counted("beams", self.beams.unwrap_or(1), limits.sequences)?;
        let sequences = counted("n", self.n.unwrap_or(1), limits.sequences)?;
        // Several texts without beams are samples: as OpenAI has it, of temperature 1.
        let usual = f64::from(u8::from(self.samples_several()));
        let temperature = self.temperature.unwrap_or(usual);
        check_several(sequences, beams, temperature)?;
        let stops = self.stop.map(Stop::into_strings).unwrap_or_default();
        few("stop", "stop strings", stops.len(), STOPS)?;
        if self.top_logprobs > 0 && beams > 1 {
            let text = "`top_logprobs` goes with one beam: leave out `beams`";
            return Err(ApiError::invalid(text).with_param("top_logprobs"));
        }
        let mut config = GenerationConfig::default()
            .with_max_new_tokens(tokens)
            .with_num_beams(beams)
            .with_num_return_sequences(sequences)
            .with_stop_strings(stops)
            .with_top_logprobs(at_most("top_logprobs", self.top_logprobs, TOP)?)
            .with_length_penalty(self.length_penalty.unwrap_or(1.0))
            .with_repetition_penalty(self.repetition_penalty.unwrap_or(1.0));
        if temperature != 0.0 {
            let top_k = self.top_k.and_then(|of| usize::try_from(of).ok());
            config = config
                .with_do_sample(true)
                .with_temperature(temperature)
                .with_top_k(top_k.unwrap_or(0))
                .with_top_p(self.top_p.unwrap_or(1.0))
                .with_seed(self.seed.map_or_else(any_seed, |seed| seed.0));
            if let Some(min_p) = self.min_p {
                config = config.with_min_p(min_p);
            }
        }
        config
            .validate()
            .map_err(|error| ApiError::told(&Blip2Error::from(error), names))?;
        Ok(config)
    }

    /// Checks each number by itself, whether it comes to matter or not.
    fn check_ranges(&self) -> Result<(), ApiError> {
        let positive = |x: f64| x > 0.0 && (x as f32).is_normal();
        in_range(
            "temperature",
            self.temperature,
            "0, or above 0 and no more than 3.4e38",
            |x| x == 0.0 || positive(x),
        )?;
        in_range("top_p", self.top_p, "above 0 and at most 1", |x| {
            x > 0.0 && x <= 1.0
        })?;
        in_range("min_p", self.min_p, "from 0 to 1", |x| {
            (0.0..=1.0).contains(&x)
        })?;
        in_range(
            "length_penalty",
            self.length_penalty,
            "from -3.4e38 to 3.4e38",
            |x| (x as f32).is_finite(),
        )?;
        in_range(
            "repetition_penalty",
            self.repetition_penalty,
            "above 0 and no more than 3.4e38",
            positive,
        )?;
        match self.top_k {
            Some(top_k) if top_k < -1 => {
                Err(out_of_range("top_k", &top_k, "0 or above, or -1 for all"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses more texts than there can be different ones.
fn check_several(sequences: usize, beams: usize, temperature: f64) -> Result<(), ApiError> {
    let text = if beams > 1 && sequences > beams {
        format!(
            "`n` is {sequences}, and {beams} beams give no more than {beams} texts: raise `beams`"
        )
    } else if beams == 1 && sequences > 1 && temperature == 0.0 {
        format!(
            "`n` is {sequences}, and without a `temperature` above 0 all texts would be the same: raise it, or ask \
             for one"
        )
    } else {
        return Ok(());
    };
    Err(ApiError::invalid(text).with_param("n"))
}

/// A number of at least 1, within its limit.
fn counted(key: &str, value: usize, limit: usize) -> Result<usize, ApiError> {
    match value {
        0 => Err(out_of_range(key, &0, "1 or above")),
        value => at_most(key, value, limit),
    }
}

fn in_range(
    key: &str,
    value: Option<f64>,
    range: &str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), ApiError> {
    match value {
        Some(value) if !holds(value) => Err(out_of_range(key, &value, range)),
        _ => Ok(()),
    }
}

fn out_of_range(key: &str, value: &impl std::fmt::Debug, range: &str) -> ApiError {
    // By `Debug`, since `Display` writes out all digits of a large number.
    ApiError::invalid(format!("`{key}` is {value:?}, and must be {range}")).with_param(key)
}

/// A number within its limit.
pub(crate) fn at_most(name: &str, value: usize, limit: usize) -> Result<usize, ApiError> {
    if value > limit {
        let text = format!("`{name}` is {value}, and this server allows {limit}");
        return Err(ApiError::invalid(text).with_param(name));
    }
    Ok(value)
}

/// A number of things within its limit.
pub(crate) fn few(key: &str, things: &str, count: usize, limit: usize) -> Result<usize, ApiError> {
    if count > limit {
        let text = format!("there are {count} {things}, and this server allows {limit}");
        return Err(ApiError::invalid(text).with_param(key));
    }
    Ok(count)
}

/// A seed that is another one each time.
fn any_seed() -> u64 {
    use std::hash::BuildHasher as _;
    std::collections::hash_map::RandomState::new().hash_one(0)
}

/// Refuses texts that together are longer than is allowed; the longest of them is named.
pub(crate) fn check_texts<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    limits: &Limits,
) -> Result<(), ApiError> {
    let (mut bytes, mut longest) = (0_usize, ("", 0));
    for (key, text) in texts {
        bytes += text.len();
        if text.len() > longest.1 {
            longest = (key, text.len());
        }
    }
    if bytes > limits.text_bytes {
        let text = format!(
            "the texts of the request have {bytes} bytes, and this server allows {}",
            limits.text_bytes
        );
        return Err(ApiError::invalid(text).with_param(longest.0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        picture: "image",
        text: "question",
        texts: "candidates",
    };

    fn config(json: Value) -> Result<GenerationConfig, String> {
        let Value::Object(map) = json else {
            panic!("no object");
        };
        let read = Generation::read(&mut Fields::new(map));
        let config = read.and_then(|of| of.config(&Limits::default(), &NAMES));
        config.map_err(|error| {
            let reply = serde_json::to_value(error.reply()).unwrap();
            format!("{} {}", reply["error"]["param"], error.message())
        })
    }

    #[test]
    fn nothing_said_is_greedy() {
        let config = config(serde_json::json!({})).unwrap();
        assert!(!config.do_sample);
        assert_eq!((config.max_new_tokens, config.num_beams), (Some(20), 1));
    }

    #[test]
    fn a_temperature_samples_from_all_tokens_and_zero_does_not_sample() {
        let sampled = config(serde_json::json!({"temperature": 0.5, "seed": 3})).unwrap();
        assert!(sampled.do_sample);
        assert_eq!((sampled.top_k, sampled.seed), (0, 3));
        assert!(
            !config(serde_json::json!({"temperature": 0}))
                .unwrap()
                .do_sample
        );
        assert!(config(serde_json::json!({"n": 2})).unwrap().do_sample);
        assert!(
            !config(serde_json::json!({"n": 2, "beams": 3}))
                .unwrap()
                .do_sample
        );
    }

    #[test]
    fn what_openais_programs_always_send_is_taken() {
        for json in [
            serde_json::json!({"top_p": 1, "seed": -5, "temperature": 0}),
            serde_json::json!({"top_p": 0.5, "seed": u64::MAX}),
            serde_json::json!({"top_k": -1, "min_p": 0, "repetition_penalty": 1}),
        ] {
            assert!(!config(json).unwrap().do_sample);
        }
    }

    #[test]
    fn what_narrows_a_sample_is_of_samples_alone() {
        let check = |json: Value| {
            let Value::Object(map) = json else {
                panic!("no object");
            };
            let read = Generation::read(&mut Fields::new(map)).ok().unwrap();
            read.check_sampling()
                .map_err(|error| error.message().to_string())
        };
        assert!(
            check(serde_json::json!({"top_k": 5}))
                .unwrap_err()
                .contains("`top_k`")
        );
        assert!(check(serde_json::json!({"top_p": 0.5, "temperature": 0})).is_err());
        for json in [
            serde_json::json!({"top_k": 5, "temperature": 1}),
            serde_json::json!({"top_k": 5, "n": 2}),
            serde_json::json!({"top_p": 1, "top_k": 0, "min_p": 0, "seed": 3}),
        ] {
            check(json).unwrap();
        }
    }

    #[test]
    fn what_is_too_much_or_makes_no_sense_is_refused_by_its_name() {
        let sampled = |key: &str, value: Value| {
            let mut json = serde_json::json!({"temperature": 1.0});
            json[key] = value;
            json
        };
        for (json, says) in [
            (
                serde_json::json!({"max_tokens": 257}),
                "\"max_tokens\" `max_tokens` is 257",
            ),
            (
                serde_json::json!({"max_tokens": 0}),
                "\"max_tokens\" `max_tokens` is 0",
            ),
            (
                serde_json::json!({"max_tokens": -1}),
                "\"max_tokens\" `max_tokens` must be",
            ),
            (serde_json::json!({"n": 9}), "\"n\""),
            (serde_json::json!({"n": 0}), "\"n\""),
            (serde_json::json!({"beams": 9}), "\"beams\""),
            (serde_json::json!({"beams": 0}), "\"beams\""),
            (
                serde_json::json!({"temperature": -1.0}),
                "\"temperature\" `temperature` is -1.0",
            ),
            (serde_json::json!({"temperature": 1e308}), "is 1e308,"),
            (serde_json::json!({"top_p": -1}), "\"top_p\""),
            (serde_json::json!({"top_p": 7}), "\"top_p\""),
            (sampled("top_p", 0.into()), "\"top_p\""),
            (sampled("min_p", 2.into()), "\"min_p\""),
            (serde_json::json!({"top_k": -2}), "\"top_k\""),
            (
                serde_json::json!({"repetition_penalty": 0}),
                "\"repetition_penalty\"",
            ),
            (serde_json::json!({"seed": 0.5}), "\"seed\""),
            (
                serde_json::json!({"n": 2, "temperature": 0}),
                "\"n\" `n` is 2",
            ),
            (
                serde_json::json!({"n": 4, "beams": 3}),
                "\"n\" `n` is 4, and 3 beams",
            ),
            (
                sampled("stop", serde_json::json!(vec!["x"; 17])),
                "\"stop\" there are 17",
            ),
            (
                serde_json::json!({"stop": 5}),
                "\"stop\" `stop` must be a text or a list of texts, not 5",
            ),
            (serde_json::json!({"stop": ["a", 5]}), "\"stop[1]\""),
        ] {
            let told = config(json.clone()).unwrap_err();
            assert!(told.contains(says), "{json}: {told}");
        }
    }
}
