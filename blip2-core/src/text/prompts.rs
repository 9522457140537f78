//! From a question to token rows, and from generated tokens to text.

use blip2_io::{
    Tokenizer,
    config::{Blip2Config, Blip2QFormerConfig, Blip2Variant, PromptConfig, TextConfig},
};
use blip2_lm::generate::{BoxError, TokenDecoder};

use super::{Digits, PaddingSide, PromptRows, Template};
use crate::error::Blip2Error;

/// A prompt, as each of its readers reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    written: String,
    /// The ids of the text as the tokenizer gives them: what an answer that is given continues.
    encoded: Vec<u32>,
    /// The language model's ids, special tokens included and image placeholders not.
    text: Vec<u32>,
    /// The Q-Former's ids, if it reads prompts; else nothing.
    instruction: Vec<u32>,
}

impl Prompt {
    /// The prompt followed by tokens, which the Q-Former does not read.
    pub(crate) fn followed_by(mut self, tokens: &[u32]) -> Self {
        self.text.extend(tokens);
        self
    }

    /// The text.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// The ids of the text.
    pub(super) fn encoded(&self) -> &[u32] {
        &self.encoded
    }
}

/// How the Q-Former reads prompts (InstructBLIP).
#[derive(Debug)]
struct Reader {
    tokenizer: Tokenizer,
    pad_token: u32,
    max_tokens: usize,
}

/// Everything that is particular to a checkpoint's prompts.
#[derive(Debug)]
pub struct Prompts {
    pub(crate) tokenizer: Tokenizer,
    reader: Option<Reader>,
    template: Template,
    caption_prompt: String,
    image_token: Option<u32>,
    num_placeholders: usize,
    pad_token: u32,
    bos_token: Option<u32>,
    decoder_start: Option<u32>,
    side: PaddingSide,
    pub(crate) digits: Digits,
}

impl Prompts {
    /// The prompts of a checkpoint: `overrides` over what its language model is used to. `reader`
    /// is the Q-Former's tokenizer, if it reads prompts.
    pub(crate) fn new(
        config: &Blip2Config,
        tokenizer: Tokenizer,
        reader: Option<Tokenizer>,
        overrides: PromptConfig,
        template: Option<Template>,
    ) -> Result<Self, Blip2Error> {
        let text = &config.text_config;
        tokenizer.check_fits(text.vocab_size())?;
        let (usual, side) = match text {
            TextConfig::T5(_) => (Template::FLAN_T5, PaddingSide::Right),
            _ => (Template::OPT, PaddingSide::Left),
        };
        let (usual, usual_caption) = match config.model_type {
            Blip2Variant::InstructBlip => (Template::INSTRUCTION, "A short image description:"),
            Blip2Variant::InstructBlipVideo => {
                (Template::INSTRUCTION, "A short video description:")
            }
            _ => (usual, ""),
        };
        let reader = reader
            .map(|tokenizer| Reader::new(&config.qformer_config, tokenizer))
            .transpose()?;
        let template = match template {
            Some(template) => template,
            None => overrides
                .answer_template
                .as_deref()
                .unwrap_or(usual)
                .parse()?,
        };
        // A token that the vocabulary has not is none.
        let there = |id: &u32| (*id as usize) < text.vocab_size();
        let pad_token = text
            .pad_token_id()
            .filter(there)
            .or(tokenizer.pad_token_id())
            .unwrap_or_default();
        Ok(Self {
            template,
            caption_prompt: overrides
                .caption_prompt
                .unwrap_or_else(|| usual_caption.into()),
            image_token: config.image_token_index,
            num_placeholders: config.num_placeholders(),
            pad_token,
            bos_token: text.bos_token_id().filter(there),
            decoder_start: text.decoder_start_token_id(),
            side,
            reader,
            tokenizer,
            digits: Digits::default(),
        })
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    pub(crate) fn decoder_start(&self) -> Option<u32> {
        self.decoder_start
    }

    /// A question in its template.
    pub(crate) fn question(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<Prompt, Blip2Error> {
        self.raw(&self.rendered(question, template)?)
    }

    /// The text of a question in its template.
    pub(crate) fn rendered(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<String, Blip2Error> {
        if question.trim().is_empty() {
            return Err(Blip2Error::EmptyQuestion);
        }
        let own = self.tokenizer.special_token_in(question);
        let readers = || self.reader.as_ref()?.tokenizer.special_token_in(question);
        if let Some(token) = own.or_else(readers) {
            return Err(Blip2Error::SpecialToken { token });
        }
        Ok(template.unwrap_or(&self.template).render(question))
    }

    /// A prompt as it is. Without text there is only the token that begins one, as in the
    /// reference's `generate` without `input_ids`.
    pub(crate) fn raw(&self, prompt: &str) -> Result<Prompt, Blip2Error> {
        let encoded = self.tokenizer.encode(prompt)?;
        let text = match (prompt.is_empty(), self.bos_token) {
            (true, Some(bos)) => vec![bos],
            _ => encoded.clone(),
        };
        self.checked(prompt.to_string(), encoded, text)
    }

    /// A prompt of these ids; a Q-Former that reads prompts reads their text.
    pub(crate) fn ids(&self, ids: Vec<u32>) -> Result<Prompt, Blip2Error> {
        self.checked(self.text(&ids)?, ids.clone(), ids)
    }

    fn checked(
        &self,
        written: String,
        encoded: Vec<u32>,
        text: Vec<u32>,
    ) -> Result<Prompt, Blip2Error> {
        if let Some(image_token) = self.image_token
            && text.contains(&image_token)
        {
            let token = self.tokenizer.id_to_token(image_token).unwrap_or_default();
            return Err(Blip2Error::PlaceholderInPrompt { token });
        }
        let instruction = self.instruction(&written)?;
        Ok(Prompt {
            written,
            encoded,
            text,
            instruction,
        })
    }

    /// The ids that the Q-Former reads of a prompt; none if it reads none.
    fn instruction(&self, prompt: &str) -> Result<Vec<u32>, Blip2Error> {
        match &self.reader {
            Some(reader) => reader.encode(prompt),
            None => Ok(Vec::new()),
        }
    }

    /// The text that a caption continues.
    pub(super) fn caption_prompt(&self) -> &str {
        &self.caption_prompt
    }

    /// What a caption continues.
    pub(crate) fn caption(&self) -> Result<Prompt, Blip2Error> {
        self.raw(&self.caption_prompt)
    }

    /// The tokens of the longest prompt, image placeholders not counted.
    pub(crate) fn longest(prompts: &[Prompt]) -> usize {
        let lengths = prompts.iter().map(|prompt| prompt.text.len());
        lengths.max().unwrap_or(0)
    }

    /// A batch of prompts with their image placeholders, padded to one length.
    pub(crate) fn lay_out(&self, prompts: &[Prompt]) -> Result<PromptRows, Blip2Error> {
        self.padded(prompts, self.side)
    }

    /// As [`lay_out`](Self::lay_out), with padding on a side of one's choice.
    pub(super) fn padded(
        &self,
        prompts: &[Prompt],
        side: PaddingSide,
    ) -> Result<PromptRows, Blip2Error> {
        let texts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.text.clone()).collect();
        PromptRows::lay_out(
            &texts,
            self.image_token,
            self.num_placeholders,
            self.pad_token,
            side,
        )
    }

    /// What the Q-Former reads of a batch of prompts, padded to one length; `None` if it reads
    /// none.
    pub(crate) fn instructions(
        &self,
        prompts: &[Prompt],
    ) -> Result<Option<PromptRows>, Blip2Error> {
        let Some(reader) = &self.reader else {
            return Ok(None);
        };
        let texts = prompts.iter().map(|prompt| prompt.instruction.clone());
        let texts: Vec<_> = texts.collect();
        // Padding before a prompt would shift its positions, and so what it means.
        PromptRows::lay_out(&texts, None, 0, reader.pad_token, PaddingSide::Right).map(Some)
    }

    /// The text of tokens.
    pub(crate) fn text(&self, ids: &[u32]) -> Result<String, Blip2Error> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}

impl Reader {
    fn new(config: &Blip2QFormerConfig, tokenizer: Tokenizer) -> Result<Self, Blip2Error> {
        tokenizer.check_fits(config.vocab_size)?;
        let pad_token = config.pad_token_id.or(tokenizer.pad_token_id());
        Ok(Self {
            tokenizer,
            pad_token: pad_token.unwrap_or_default(),
            max_tokens: config.max_position_embeddings,
        })
    }

    fn encode(&self, prompt: &str) -> Result<Vec<u32>, Blip2Error> {
        let ids = self.tokenizer.encode(prompt)?;
        let (tokens, positions) = (ids.len(), self.max_tokens);
        if tokens > positions {
            return Err(Blip2Error::PromptTooLong { tokens, positions });
        }
        Ok(ids)
    }
}

impl TokenDecoder for Prompts {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}
