//! What comes back: text, and how it came about.

use std::{fmt, time::Duration};

use blip2_io::Tokenizer;
use blip2_lm::generate::{FinishReason, Generated};
use serde::{Deserialize, Serialize};

use super::token::{self, Token};

/// An answer, caption or continuation.
///
/// Displays as its [`text`](Answer::text).
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let answer = blip2.answer(&image, "what color is the shape?")?;
/// assert_eq!(answer.text, "red");
/// for token in &answer.tokens {
///     println!("{:?} {:.3}", token.text, token.log_prob.exp());
/// }
/// println!("{:?}, in {:?}", answer.finish_reason, answer.timings.total());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// The generated text, without the prompt, special tokens or surrounding white space.
    pub text: String,
    /// The generated tokens; the end token that finished the answer, if one did, is the last.
    pub tokens: Vec<Token>,
    /// Of a beam search: the length-normalised score that the beams are ranked by.
    pub score: Option<f32>,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
    /// The next-best sequences, if `num_return_sequences` asked for more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Answer>,
    /// How long each stage took. Of a batch: the whole batch's times.
    pub timings: Timings,
}

impl Answer {
    pub(super) fn new(
        text: String,
        generated: &Generated,
        tokenizer: &Tokenizer,
        timings: Timings,
    ) -> Self {
        Self {
            text,
            tokens: token::generated(generated, tokenizer),
            score: generated.score,
            finish_reason: generated.finish_reason,
            alternatives: Vec::new(),
            timings,
        }
    }

    /// An answer that was stopped before its first token.
    pub(super) fn stopped(finish_reason: FinishReason) -> Self {
        Self {
            text: String::new(),
            tokens: Vec::new(),
            score: None,
            finish_reason,
            alternatives: Vec::new(),
            timings: Timings::default(),
        }
    }

    /// The ids of the tokens.
    pub fn token_ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }

    /// The natural log-probability of each token, in the model's own distribution.
    pub fn log_probs(&self) -> Vec<f32> {
        self.tokens.iter().map(|token| token.log_prob).collect()
    }

    /// The probability, in [0, 1], that the model gives to exactly this sequence of tokens: the
    /// product over its tokens. It falls with every token, so compare answers of like length.
    pub fn probability(&self) -> f32 {
        self.log_prob().exp()
    }

    /// How sure the model was of a token of this answer, in [0, 1]: the geometric mean of its
    /// tokens' probabilities, which unlike [`probability`](Answer::probability) does not fall with
    /// the length. Zero for an empty answer. A model's confidence is no proof of being right.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// let answer = blip2.answer(&image, "what color is the shape?")?;
    /// assert!(answer.confidence() > 0.5 && answer.confidence() <= 1.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn confidence(&self) -> f32 {
        if self.tokens.is_empty() {
            return 0.0;
        }
        (self.log_prob() / self.tokens.len() as f32).exp()
    }

    fn log_prob(&self) -> f32 {
        self.tokens.iter().map(|token| token.log_prob).sum()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// How long each stage took; `None` for a stage that did not run, as the image stages do not when
/// a picture is asked a second question.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let seen = blip2.look(&image)?;
/// assert!(seen.timings().vision.is_some());
/// let again = seen.ask("what color is the shape?")?.timings;
/// assert!(again.vision.is_none() && again.prefill.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timings {
    /// Colour conversion, resizing and normalisation; of sound, resampling and mel features.
    pub preprocess: Option<Duration>,
    /// The image encoder.
    pub vision: Option<Duration>,
    /// The encoder of sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Duration>,
    /// The Q-Former and the projection into the language model.
    pub qformer: Option<Duration>,
    /// Reading the prompt: the language model's first step, and T5's encoder.
    pub prefill: Option<Duration>,
    /// All later steps.
    pub decode: Option<Duration>,
    /// How many tokens were written ahead, with [`speculative`](crate::Builder::speculative) decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafted: Option<usize>,
    /// How many of those the answer went on from, which it never does from its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<usize>,
}

impl Timings {
    /// The sum of all stages that ran.
    pub fn total(&self) -> Duration {
        [
            self.preprocess,
            self.vision,
            self.audio,
            self.qformer,
            self.prefill,
            self.decode,
        ]
        .into_iter()
        .flatten()
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(log_probs: Vec<f32>) -> Answer {
        let token = |log_prob| Token {
            id: 5,
            text: "two".into(),
            log_prob,
            top: Vec::new(),
        };
        Answer {
            text: "two".into(),
            tokens: log_probs.into_iter().map(token).collect(),
            ..Answer::stopped(FinishReason::Eos)
        }
    }

    #[test]
    fn confidence_is_the_geometric_mean_and_probability_the_product() {
        let answer = answer(vec![0.5f32.ln(), 0.125f32.ln()]);
        assert!((answer.probability() - 0.0625).abs() < 1e-6);
        assert!((answer.confidence() - 0.25).abs() < 1e-6);
        assert_eq!(format!("{answer:>5}"), "  two");
        assert_eq!(self::answer(vec![]).confidence(), 0.0);
    }

    #[test]
    fn timings_add_up_what_ran() {
        let timings = Timings {
            prefill: Some(Duration::from_millis(2)),
            decode: Some(Duration::from_millis(3)),
            ..Timings::default()
        };
        assert_eq!(timings.total(), Duration::from_millis(5));
    }
}
