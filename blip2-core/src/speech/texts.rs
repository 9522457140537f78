//! From a question to token rows with places for sound.

use blip2_io::{CheckpointFolder, Tokenizer, config::GraniteSpeechConfig};
use blip2_lm::{
    LmError,
    generate::{BoxError, TokenDecoder},
};

use crate::{
    error::Blip2Error,
    load::Settings,
    model::{PaddingSide, PromptRows},
    text::Template,
};

/// What the processor calls the placeholder where its tokenizer does not say.
const PLACEHOLDER: &str = "<|audio|>";
/// A token of the chat templates that mark roles by tokens of their own.
const ROLE: &str = "<|start_of_role|>";
/// A question by such a template, without a system prompt, which the published ones date.
const BY_ROLES: [&str; 2] = [
    "<|start_of_role|>user<|end_of_role|>",
    "{}<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
];
/// A question by the templates that mark roles by words.
const BY_WORDS: [&str; 2] = ["USER: ", "{}\n ASSISTANT:"];

/// A prompt that was read: its ids, with one placeholder where its sound goes, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpeechPrompt {
    ids: Vec<u32>,
}

/// Everything that is particular to a checkpoint's prompts.
#[derive(Debug)]
pub struct SpeechTexts {
    pub(crate) tokenizer: Tokenizer,
    template: Template,
    audio_token: u32,
    placeholder: String,
    pad_token: u32,
    bos_token: Option<u32>,
    context: Option<usize>,
}

impl SpeechTexts {
    /// The prompts of a checkpoint.
    pub(super) fn new(
        folder: &CheckpointFolder,
        config: &GraniteSpeechConfig,
        settings: &Settings,
    ) -> Result<Self, Blip2Error> {
        let tokenizer = folder.tokenizer()?;
        let (text, audio_token) = (&config.text_config, config.audio_token_index);
        // The placeholder needs no embedding.
        let vocabulary = text.vocab_size();
        tokenizer.check_fits(vocabulary.max(audio_token as usize + 1))?;
        let placeholder =
            tokenizer
                .id_to_token(audio_token)
                .ok_or_else(|| Blip2Error::Incomplete {
                    what: format!(
                        "{}: the tokenizer has no token {audio_token}, which config.json names as \
                     audio_token_index",
                        folder.path().display()
                    ),
                    remedy: format!(
                        "copy the tokenizer's files from the model's repository; its {PLACEHOLDER} \
                     stands for sound"
                    ),
                })?;
        let template = match &settings.template {
            Some(template) => template.clone(),
            None => match folder.prompts()?.answer_template {
                Some(template) => template.parse()?,
                None => usual_template(folder, &placeholder)?,
            },
        };
        let there = |id: &u32| (*id as usize) < vocabulary;
        let pad_token = text.pad_token_id().filter(there);
        let pad_token = pad_token.or(tokenizer.pad_token_id().filter(there));
        Ok(Self {
            template,
            audio_token,
            placeholder,
            pad_token: pad_token.unwrap_or_default(),
            bos_token: text.bos_token_id().filter(there),
            context: text.context(),
            tokenizer,
        })
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    /// The text of the placeholder.
    pub(super) fn placeholder(&self) -> &str {
        &self.placeholder
    }

    /// A question about a sound in its template.
    pub(super) fn question(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<SpeechPrompt, Blip2Error> {
        if question.trim().is_empty() {
            return Err(Blip2Error::EmptyQuestion);
        }
        if let Some(token) = self.tokenizer.special_token_in(question) {
            return Err(Blip2Error::SpecialToken { token });
        }
        self.about_sound(&template.unwrap_or(&self.template).render(question))
    }

    /// A raw prompt about a sound, in which the placeholder stands once.
    pub(super) fn about_sound(&self, prompt: &str) -> Result<SpeechPrompt, Blip2Error> {
        self.holding(prompt, 1)
    }

    /// A raw prompt without sound. Without text there is only the token that begins one.
    pub(super) fn alone(&self, prompt: &str) -> Result<SpeechPrompt, Blip2Error> {
        let mut prompt = self.holding(prompt, 0)?;
        if prompt.ids.is_empty() {
            prompt.ids.extend(self.bos_token);
        }
        Ok(prompt)
    }

    /// A prompt in which the placeholder stands this often.
    fn holding(&self, prompt: &str, expected: usize) -> Result<SpeechPrompt, Blip2Error> {
        let ids = self.tokenizer.encode(prompt)?;
        let found = ids.iter().filter(|id| **id == self.audio_token).count();
        if found != expected {
            let token = self.placeholder.clone();
            return Err(Blip2Error::SoundPlaces {
                found,
                expected,
                token,
            });
        }
        Ok(SpeechPrompt { ids })
    }

    /// Prompts padded to one length before their text, each with as many placeholders as its sound has
    /// vectors; `lengths` has one number for each prompt.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Item`] with a [`Blip2Error::ContextTooLong`] for a prompt that the context has no
    /// room for.
    pub(super) fn lay_out(
        &self,
        prompts: &[SpeechPrompt],
        lengths: &[usize],
    ) -> Result<PromptRows, Blip2Error> {
        let mut rows = Vec::new();
        for (index, (prompt, &length)) in prompts.iter().zip(lengths).enumerate() {
            let tokens = prompt.ids.len().saturating_add(length);
            // The placeholder itself gives its place to the first vector.
            let tokens = tokens - usize::from(prompt.ids.contains(&self.audio_token));
            if let Some(context) = self.context.filter(|context| tokens > *context) {
                let error = Blip2Error::ContextTooLong { tokens, context };
                return Err(Blip2Error::item(index, error));
            }
            let spread = prompt.ids.iter().flat_map(|&id| {
                let count = if id == self.audio_token { length } else { 1 };
                std::iter::repeat_n(id, count)
            });
            rows.push(spread.collect());
        }
        if rows.iter().any(Vec::is_empty) {
            return Err(LmError::NothingToRead { row: 0 }.into());
        }
        PromptRows::lay_out(&rows, None, 0, self.pad_token, PaddingSide::Left)
    }

    /// The tokens of the longest prompt, its sound not counted.
    pub(super) fn longest(prompts: &[SpeechPrompt]) -> usize {
        let lengths = prompts.iter().map(|prompt| prompt.ids.len());
        lengths.max().unwrap_or(0)
    }
}

/// A question as the folder's chat template would have it, as far as that shows without being run: by
/// tokens for roles, or by words.
fn usual_template(folder: &CheckpointFolder, placeholder: &str) -> Result<Template, Blip2Error> {
    let written = folder.chat_template()?.unwrap_or_default();
    let [before, after] = match written.contains(ROLE) {
        true => BY_ROLES,
        false => BY_WORDS,
    };
    format!("{before}{placeholder}{after}").parse()
}

impl TokenDecoder for SpeechTexts {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}
