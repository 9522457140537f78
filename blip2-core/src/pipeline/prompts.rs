//! From a question to token rows, and from generated tokens to text.

use blip2_io::{
    Tokenizer,
    config::{Blip2Config, PromptConfig, TextConfig},
};
use blip2_lm::generate::{BoxError, TokenDecoder};

use super::Template;
use crate::{
    Blip2Error,
    model::{PaddingSide, PromptRows},
};

/// The ids of a prompt's text, special tokens included and image placeholders not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt(pub(super) Vec<u32>);

/// Everything that is particular to a checkpoint's prompts.
#[derive(Debug)]
pub(crate) struct Prompts {
    tokenizer: Tokenizer,
    template: Template,
    caption_prompt: String,
    image_token: Option<u32>,
    num_query_tokens: usize,
    pad_token: u32,
    bos_token: Option<u32>,
    decoder_start: Option<u32>,
    side: PaddingSide,
}

impl Prompts {
    /// The prompts of a checkpoint: `overrides` over what its language model is used to.
    pub(super) fn new(
        config: &Blip2Config,
        tokenizer: Tokenizer,
        overrides: PromptConfig,
        template: Option<Template>,
    ) -> Result<Self, Blip2Error> {
        let text = &config.text_config;
        tokenizer.check_fits(text.vocab_size())?;
        let (usual, side) = match text {
            TextConfig::T5(_) => (Template::FLAN_T5, PaddingSide::Right),
            _ => (Template::OPT, PaddingSide::Left),
        };
        let template = match template {
            Some(template) => template,
            None => overrides
                .answer_template
                .as_deref()
                .unwrap_or(usual)
                .parse()?,
        };
        let pad_token = text
            .pad_token_id()
            .or(tokenizer.pad_token_id())
            .unwrap_or_default();
        Ok(Self {
            template,
            caption_prompt: overrides.caption_prompt.unwrap_or_default(),
            image_token: config.image_token_index,
            num_query_tokens: config.num_query_tokens,
            pad_token,
            bos_token: text.bos_token_id(),
            decoder_start: text.decoder_start_token_id(),
            side,
            tokenizer,
        })
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(crate) fn decoder_start(&self) -> Option<u32> {
        self.decoder_start
    }

    /// A question in its template.
    pub(super) fn question(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<Prompt, Blip2Error> {
        if question.trim().is_empty() {
            return Err(Blip2Error::EmptyQuestion);
        }
        if let Some(token) = self.tokenizer.special_token_in(question) {
            return Err(Blip2Error::SpecialToken { token });
        }
        self.raw(&template.unwrap_or(&self.template).render(question))
    }

    /// A prompt as it is. Without text there is only the token that begins one, as in the
    /// reference's `generate` without `input_ids`.
    pub(super) fn raw(&self, prompt: &str) -> Result<Prompt, Blip2Error> {
        if let (true, Some(bos)) = (prompt.is_empty(), self.bos_token) {
            return Ok(Prompt(vec![bos]));
        }
        self.ids(self.tokenizer.encode(prompt)?)
    }

    /// A prompt of these ids.
    pub(super) fn ids(&self, ids: Vec<u32>) -> Result<Prompt, Blip2Error> {
        match self.image_token {
            Some(image_token) if ids.contains(&image_token) => {
                let token = self.tokenizer.id_to_token(image_token).unwrap_or_default();
                Err(Blip2Error::PlaceholderInPrompt { token })
            }
            _ => Ok(Prompt(ids)),
        }
    }

    /// What a caption continues.
    pub(super) fn caption(&self) -> Result<Prompt, Blip2Error> {
        self.raw(&self.caption_prompt)
    }

    /// A batch of prompts with their image placeholders, padded to one length.
    pub(super) fn lay_out(&self, prompts: &[Prompt]) -> Result<PromptRows, Blip2Error> {
        let texts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.0.clone()).collect();
        PromptRows::lay_out(
            &texts,
            self.image_token,
            self.num_query_tokens,
            self.pad_token,
            self.side,
        )
    }

    /// Raw prompts with their image placeholders, laid out as `Blip2Processor` does. With a length,
    /// texts are cut and padded so that the whole row has it; placeholders are never cut.
    pub(crate) fn reference_rows(
        &self,
        prompts: &[&str],
        max_length: Option<usize>,
    ) -> Result<PromptRows, Blip2Error> {
        let room = max_length.map(|length| length.saturating_sub(self.num_query_tokens));
        let texts = prompts.iter().map(|prompt| match room {
            Some(room) => Ok(Prompt(self.tokenizer.encode_truncated(prompt, room)?)),
            None => self.raw(prompt),
        });
        self.lay_out(&texts.collect::<Result<Vec<_>, Blip2Error>>()?)
    }

    /// Rows without a prompt.
    pub(crate) fn empty_rows(&self, count: usize) -> Result<PromptRows, Blip2Error> {
        self.lay_out(&vec![self.raw("")?; count])
    }

    /// The text of tokens.
    pub(crate) fn text(&self, ids: &[u32]) -> Result<String, Blip2Error> {
        Ok(self.tokenizer.decode(ids, true)?)
    }

    /// The decoder for streams and stop strings.
    pub(super) fn decoder(&self) -> &(dyn TokenDecoder + '_) {
        self
    }
}

impl TokenDecoder for Prompts {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}
