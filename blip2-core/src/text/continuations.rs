//! The tokens of given answers: what a prompt may be continued with.

use std::sync::OnceLock;

use blip2_io::Tokenizer;

use super::prompts::{Prompt, Prompts};
use crate::Blip2Error;

/// A token whose text is nothing but digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitToken {
    pub(crate) id: u32,
    pub(crate) digits: String,
    /// Whether it goes on with a number, rather than beginning a new one.
    pub(crate) continues: bool,
}

/// A vocabulary's tokens of digits alone, found when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Digits(OnceLock<Vec<DigitToken>>);

impl Digits {
    pub(crate) fn of(&self, tokenizer: &Tokenizer) -> &[DigitToken] {
        self.0.get_or_init(|| digit_tokens(tokenizer))
    }
}

impl Prompts {
    /// The tokens of `answer` as they follow a prompt, without an end token.
    ///
    /// An encoder-decoder's answer stands alone. A decoder's continues the prompt, after a
    /// space if neither brings one: its tokens are those that the prompt's lack in both together.
    /// Where a token would reach across the boundary, the answer is tokenised alone.
    pub(crate) fn continuation(
        &self,
        prompt: &Prompt,
        answer: &str,
    ) -> Result<Vec<u32>, Blip2Error> {
        let answer = answer.trim();
        if self.decoder_start().is_some() {
            return Ok(self.tokenizer.encode_with(answer, false)?);
        }
        let written = prompt.written();
        let spaced = written.is_empty() || written.ends_with(char::is_whitespace);
        let answer = match spaced {
            true => answer.to_string(),
            false => format!(" {answer}"),
        };
        let whole = self.tokenizer.encode(&format!("{written}{answer}"))?;
        Ok(match whole.strip_prefix(prompt.encoded()) {
            Some(rest) => rest.to_vec(),
            None => self.tokenizer.encode_with(&answer, false)?,
        })
    }
}

/// A vocabulary's tokens of digits alone.
fn digit_tokens(tokenizer: &Tokenizer) -> Vec<DigitToken> {
    let text = |ids: &[u32]| {
        let text = tokenizer.decode(ids, true).unwrap_or_default();
        text.trim().to_string()
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let of_digits = (0..tokenizer.vocab_size() as u32).filter_map(|id| {
        // Decoding all of a vocabulary would take a while; its entries tell most of it.
        let entry = tokenizer.id_to_token(id)?;
        entry.bytes().any(|b| b.is_ascii_digit()).then_some(())?;
        let digits = text(&[id]);
        is_digits(&digits).then_some((id, digits))
    });
    let tokens: Vec<(u32, String)> = of_digits.collect();
    let Some((first, before)) = tokens.iter().find(|(_, digits)| digits.len() == 1).cloned() else {
        return Vec::new();
    };
    let token = |(id, digits): (u32, String)| DigitToken {
        continues: text(&[first, id]) == format!("{before}{digits}"),
        id,
        digits,
    };
    tokens.into_iter().map(token).collect()
}
