//! From a text to the ids that BLIP-1 reads, and from ids to text.

use blip2_io::{Tokenizer, config::BlipConfig};
use blip2_lm::{
    LmError,
    generate::{BoxError, TokenDecoder},
};

use super::{
    Digits, PaddingSide, PromptRows, Template,
    checks::{check_plain, check_text},
};
use crate::error::Blip2Error;

/// The token that captions and answers begin with, of a configuration's `bos_token_id`.
pub(crate) fn start_token(id: Option<u32>) -> Result<u32, Blip2Error> {
    id.ok_or_else(|| Blip2Error::Incomplete {
        what: "text_config has no bos_token_id".into(),
        remedy: "add the id of the tokenizer's [DEC] token".into(),
    })
}

/// How a BLIP-1 reads and writes texts: as they are, without a template.
#[derive(Debug)]
pub struct BlipTexts {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) digits: Digits,
    context: usize,
    pub(super) pad_token: u32,
}

impl BlipTexts {
    pub(crate) fn new(config: &BlipConfig, tokenizer: Tokenizer) -> Result<Self, Blip2Error> {
        let text = &config.text_config;
        tokenizer.check_fits(text.vocab_size)?;
        let pad_token = tokenizer.pad_token_id().or(text.pad_token_id);
        Ok(Self {
            digits: Digits::default(),
            context: text.max_position_embeddings,
            pad_token: pad_token.unwrap_or_default(),
            tokenizer,
        })
    }

    /// The ids of a text with its special tokens.
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        check_plain(text, &self.tokenizer)?;
        let ids = self.tokenizer.encode(text)?;
        if ids.len() > self.context {
            let (row, tokens, context) = (0, ids.len(), self.context);
            let error = LmError::ContextTooLong {
                row,
                tokens,
                context,
            };
            return Err(error.into());
        }
        Ok(ids)
    }

    /// The error of a template, which nothing has a use for.
    pub(super) fn no_template() -> Blip2Error {
        Blip2Error::Setting {
            setting: "template",
            member: "BLIP-1".into(),
            reason: "it reads questions as they are".into(),
        }
    }

    /// The ids of a question, which no template goes around.
    pub(crate) fn question(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<Vec<u32>, Blip2Error> {
        if template.is_some() {
            return Err(Self::no_template());
        }
        match question.trim() {
            "" => Err(Blip2Error::EmptyQuestion),
            _ => self.ids(question),
        }
    }

    /// What a caption begins with: `start` in the place of the tokenizer's first token, and the
    /// text's tokens without the one that ends it, as the reference's `generate` has them.
    pub(crate) fn beginning(&self, text: &str, start: u32) -> Result<Vec<u32>, Blip2Error> {
        if text.trim().is_empty() {
            return Ok(vec![start]);
        }
        let ids = self.ids(text)?;
        let inner = ids.get(1..ids.len().saturating_sub(1)).unwrap_or_default();
        Ok([&[start], inner].concat())
    }

    /// The tokens of an answer, without an end token.
    pub(crate) fn continuation(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        Ok(self.tokenizer.encode_with(text.trim(), false)?)
    }

    /// Texts to compare, padded on the right to one length, which the encoder does not see.
    pub(crate) fn rows(&self, texts: &[impl AsRef<str>]) -> Result<PromptRows, Blip2Error> {
        let ids = texts.iter().enumerate().map(|(index, text)| {
            let ids =
                check_text(text.as_ref(), &self.tokenizer).and_then(|()| self.ids(text.as_ref()));
            ids.map_err(|error| Blip2Error::item(index, error))
        });
        let ids: Vec<_> = ids.collect::<Result<_, _>>()?;
        PromptRows::lay_out(&ids, None, 0, self.pad_token, PaddingSide::Right)
    }
}

impl TokenDecoder for BlipTexts {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}
