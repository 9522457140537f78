//! From texts to token rows.

use blip2_io::{Tokenizer, config::Blip2Config};
use blip2_qformer::QFormerError;

use crate::{
    Blip2Error,
    model::{PaddingSide, PromptRows},
};

/// Everything that is particular to how a checkpoint reads texts.
#[derive(Debug)]
pub(super) struct Texts {
    tokenizer: Tokenizer,
    pad_token: u32,
    max_tokens: usize,
}

impl Texts {
    pub(super) fn new(config: &Blip2Config, tokenizer: Tokenizer) -> Result<Self, Blip2Error> {
        let qformer = &config.qformer_config;
        tokenizer.check_fits(qformer.vocab_size)?;
        let pad = tokenizer.pad_token_id().or(qformer.pad_token_id);
        Ok(Self {
            pad_token: pad.unwrap_or_default(),
            max_tokens: qformer.max_position_embeddings,
            tokenizer,
        })
    }

    /// A batch of texts, padded behind to one length. Positions count from a text's beginning, so
    /// padding there changes nothing.
    pub(super) fn rows<T: AsRef<str>>(&self, texts: &[T]) -> Result<PromptRows, Blip2Error> {
        let ids: Vec<_> = texts
            .iter()
            .map(|text| self.ids(text.as_ref()))
            .collect::<Result<_, _>>()?;
        PromptRows::lay_out(&ids, None, 0, self.pad_token, PaddingSide::Right)
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        if text.trim().is_empty() {
            return Err(Blip2Error::EmptyText);
        }
        if let Some(token) = self.tokenizer.special_token_in(text) {
            return Err(Blip2Error::SpecialTokenInText { token });
        }
        let ids = self.tokenizer.encode(text)?;
        if ids.len() > self.max_tokens {
            let (tokens, positions) = (ids.len(), self.max_tokens);
            return Err(QFormerError::TextTooLong { tokens, positions }.into());
        }
        Ok(ids)
    }
}
