//! The tokens of an answer.

use blip2_io::Tokenizer;
use blip2_lm::generate::{Generated, StreamToken};
use serde::{Deserialize, Serialize};

/// A token that a model wrote. Displays as its text.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let answer = blip2.answer(&image, "what color is the shape?")?;
/// let text: String = answer.tokens.iter().map(|token| token.text.as_str()).collect();
/// assert_eq!(text.trim(), answer.text);
/// let least = answer.tokens.iter().min_by(|a, b| a.log_prob.total_cmp(&b.log_prob));
/// println!("least sure of {:?}", least.map(|token| &token.text));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text as it follows the token before it, with the space that it brings; nothing for
    /// a special token such as the one that ends an answer. Where a character takes several tokens,
    /// its parts are U+FFFD.
    pub text: String,
    /// Its natural log-probability in the model's own distribution.
    pub log_prob: f32,
    /// The likeliest tokens in its place, the likeliest first, as many as
    /// [`top_logprobs`](crate::GenerationConfig::top_logprobs) of the options asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopToken>,
}

/// A token that might have stood in a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopToken {
    /// Its id.
    pub id: u32,
    /// Its text, as [`Token::text`].
    pub text: String,
    /// Its natural log-probability in the model's own distribution.
    pub log_prob: f32,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

/// Tokens with their texts.
pub(crate) fn tokens(ids: &[u32], logprobs: &[f32], tokenizer: &Tokenizer) -> Vec<Token> {
    let mut before = None;
    let each = ids.iter().zip(logprobs).map(|(&id, &log_prob)| {
        let token = after(tokenizer, before, id, log_prob);
        before = Some(id);
        token
    });
    each.collect()
}

/// A token as it follows the one before it.
pub(super) fn after(tokenizer: &Tokenizer, before: Option<u32>, id: u32, log_prob: f32) -> Token {
    let text = text(tokenizer, before, id);
    Token {
        id,
        text,
        log_prob,
        top: Vec::new(),
    }
}

impl Token {
    /// With the likeliest tokens in its place, after the one before it.
    pub(super) fn among(
        mut self,
        tokenizer: &Tokenizer,
        before: Option<u32>,
        top: &[StreamToken],
    ) -> Self {
        let top = top.iter().map(|other| TopToken {
            id: other.id,
            text: text(tokenizer, before, other.id),
            log_prob: other.logprob,
        });
        self.top = top.collect();
        self
    }
}

/// The tokens of what was generated.
pub(super) fn generated(generated: &Generated, tokenizer: &Tokenizer) -> Vec<Token> {
    let all = tokens(&generated.tokens, &generated.logprobs, tokenizer);
    let before = std::iter::once(None).chain(generated.tokens.iter().copied().map(Some));
    let mut tops = generated.top_logprobs.iter();
    let all = all.into_iter().zip(before);
    let all = all.map(|(token, before)| match tops.next() {
        Some(top) => token.among(tokenizer, before, top),
        None => token,
    });
    all.collect()
}

/// A token's text after the one before it: a decoder drops the space of what comes first.
fn text(tokenizer: &Tokenizer, before: Option<u32>, id: u32) -> String {
    let decode = |ids: &[u32]| tokenizer.decode(ids, true).unwrap_or_default();
    let after = before.and_then(|before| {
        let both = decode(&[before, id]);
        let first = decode(&[before]);
        both.strip_prefix(first.as_str()).map(str::to_string)
    });
    after.unwrap_or_else(|| decode(&[id]))
}
