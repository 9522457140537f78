//! How a text is to be written, as requests say it.

use blip2_core::{Blip2Error, GenerationConfig, Options};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{app::Client, error::ApiError, settings::Limits};

/// One stop string, or several.
#[derive(Debug, Clone, Deserialize, ToSchema)]
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

/// How a text is to be written. Without any of it: greedily, up to 20 tokens.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
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
    /// Sample from this number of the most probable tokens; 0 for all.
    pub(crate) top_k: Option<usize>,
    /// The random seed: the same one gives the same text. Without one each request has its own.
    pub(crate) seed: Option<u64>,
    /// Where the text ends, at the latest.
    pub(crate) stop: Option<Stop>,
    /// Of beams: above 0 favours long texts, below 0 short ones.
    pub(crate) length_penalty: Option<f64>,
    /// Above 1 discourages tokens that occurred before.
    pub(crate) repetition_penalty: Option<f64>,
    /// How many of the likeliest tokens are told at each step; OpenAI's shape alone has room for them.
    #[serde(skip)]
    pub(crate) top_logprobs: usize,
}

/// The most stop strings; each is looked for in every piece.
const STOPS: usize = 16;
/// The most tokens that are told at each step, as OpenAI has it.
const TOP: usize = 20;
/// How many tokens are written where a request does not say.
const USUAL_TOKENS: usize = 20;

impl Generation {
    /// The options of a call for a client, within limits.
    pub(crate) fn options(self, limits: &Limits, client: &Client) -> Result<Options, ApiError> {
        let config = self.config(limits)?;
        Ok(Options::default()
            .with_generation(config)
            .with_cancel(client.cancel.clone()))
    }

    fn config(self, limits: &Limits) -> Result<GenerationConfig, ApiError> {
        let usual = USUAL_TOKENS.min(limits.max_tokens);
        let tokens = at_most(
            "max_tokens",
            self.max_tokens.unwrap_or(usual),
            limits.max_tokens,
        )?;
        let beams = at_most("beams", self.beams.unwrap_or(1), limits.sequences)?;
        let sequences = at_most("n", self.n.unwrap_or(1), limits.sequences)?;
        let stops = self.stop.map(Stop::into_strings).unwrap_or_default();
        at_most("stop", stops.len(), STOPS)?;
        // Several texts without beams are samples: as OpenAI has it, of temperature 1.
        let usual = if sequences > 1 && beams == 1 {
            1.0
        } else {
            0.0
        };
        let temperature = self.temperature.unwrap_or(usual);
        if temperature == 0.0 && sequences > beams.max(1) {
            return Err(ApiError::invalid(
                "without a temperature above 0 all texts would be the same: raise it, or ask for one",
            )
            .with_param("n"));
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
            config = config
                .with_do_sample(true)
                .with_temperature(temperature)
                .with_top_k(self.top_k.unwrap_or(0))
                .with_top_p(self.top_p.unwrap_or(1.0))
                .with_seed(self.seed.unwrap_or_else(any_seed));
        }
        config
            .validate()
            .map_err(|error| ApiError::from(Blip2Error::from(error)))?;
        Ok(config)
    }
}

/// A number within its limit.
pub(crate) fn at_most(name: &str, value: usize, limit: usize) -> Result<usize, ApiError> {
    if value > limit {
        let text = format!("{name} is {value}, and this server allows {limit}");
        return Err(ApiError::invalid(text).with_param(name));
    }
    Ok(value)
}

/// A seed that is another one each time.
fn any_seed() -> u64 {
    use std::hash::BuildHasher as _;
    std::collections::hash_map::RandomState::new().hash_one(0)
}

/// Refuses texts that together are longer than is allowed.
pub(crate) fn check_texts<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    limits: &Limits,
) -> Result<(), ApiError> {
    let bytes: usize = texts.into_iter().map(str::len).sum();
    if bytes > limits.text_bytes {
        return Err(ApiError::invalid(format!(
            "the texts of the request have {bytes} bytes, and this server allows {}",
            limits.text_bytes
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> Result<GenerationConfig, String> {
        let generation: Generation = serde_json::from_value(json).unwrap();
        let config = generation.config(&Limits::default());
        config.map_err(|error| error.message().to_string())
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
    fn what_is_too_much_or_makes_no_sense_is_refused_by_its_name() {
        for (json, name) in [
            (serde_json::json!({"max_tokens": 257}), "max_tokens"),
            (serde_json::json!({"max_tokens": 0}), "max_tokens"),
            (serde_json::json!({"n": 9}), "n"),
            (serde_json::json!({"beams": 9}), "beams"),
            (serde_json::json!({"beams": 0}), "beams"),
            (serde_json::json!({"temperature": -1.0}), "temperature"),
            (
                serde_json::json!({"temperature": 1.0, "top_p": 0.0}),
                "top_p",
            ),
            (serde_json::json!({"n": 2, "temperature": 0}), "temperature"),
            (serde_json::json!({"stop": vec!["x"; 17]}), "stop"),
        ] {
            let told = config(json.clone()).unwrap_err();
            assert!(told.contains(name), "{json}: {told}");
        }
    }
}
