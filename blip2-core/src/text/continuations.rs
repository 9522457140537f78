//! The tokens of given answers: what a prompt may be continued with.

use super::prompts::{Prompt, Prompts};
use crate::error::Blip2Error;

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
