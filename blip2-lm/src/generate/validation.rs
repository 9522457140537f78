//! Which generation arguments are valid.

use super::GenerateError;
use super::config::{DEFAULT_NEW_TOKENS, GenerationConfig};

/// The most sequences decoded side by side for one prompt: each needs a cache and its logits, so
/// that a slip of the hand would exhaust the memory.
const MAX_SEQUENCES: usize = 1024;
/// The most tokens that are told at each step.
const MAX_TOP: usize = 100;

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
        let top = self.top_logprobs;
        if top > MAX_TOP {
            let reason = format!("must be at most {MAX_TOP}");
            return Err(GenerateError::argument("top_logprobs", top, reason));
        }
        if top > 0 && self.num_beams > 1 {
            let reason = "beams tell of their own tokens alone: set `num_beams` to 1";
            return Err(GenerateError::argument("top_logprobs", top, reason));
        }
        if self.num_beams == 0 {
            return Err(GenerateError::argument(
                "num_beams",
                0,
                "must be at least 1; 1 means no beam search",
            ));
        }
        if self.num_beams > MAX_SEQUENCES {
            let reason = format!("must be at most {MAX_SEQUENCES}");
            return Err(GenerateError::argument("num_beams", self.num_beams, reason));
        }
        let sequences = self.num_return_sequences;
        let reason = if sequences == 0 {
            "must be at least 1".to_owned()
        } else if sequences > MAX_SEQUENCES {
            format!("must be at most {MAX_SEQUENCES}")
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
