//! From a question to token rows with places for sound.

use std::path::PathBuf;

use blip2_io::{
    CheckpointFolder, IoError, Tokenizer,
    config::{ConfigError, GraniteSpeechConfig},
};
use blip2_lm::{
    LmError,
    generate::{BoxError, GenerationConfig, TokenDecoder},
};

use crate::{
    error::Blip2Error,
    load::Settings,
    model::{PaddingSide, PromptRows},
    text::Template,
};

/// What the processor calls the placeholder where its tokenizer does not say.
const PLACEHOLDER: &str = "<|audio|>";
/// What chat templates have in them that mark roles by tokens of their own.
const ROLES: [&str; 2] = ["<|start_of_role|>", "<|end_of_role|>"];
/// What those have in them that mark roles by words.
const WORDS: [&str; 2] = ["USER:", "ASSISTANT:"];
/// The new tokens of a call that asks for no other number, at least: the published models' cards generate
/// so many, since what is said takes more than a caption.
const NEW_TOKENS: usize = 200;
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
    /// None where the folder's chat template is of no form that is known.
    template: Option<Template>,
    folder: PathBuf,
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
        check_placeholder(folder, &tokenizer, audio_token)?;
        let template = match &settings.template {
            Some(template) => Some(template.clone()),
            None => match folder.prompts()?.answer_template {
                Some(template) => Some(template.parse()?),
                None => usual_template(folder, &placeholder)?,
            },
        };
        let there = |id: &u32| (*id as usize) < vocabulary;
        let pad_token = text.pad_token_id().filter(there);
        let pad_token = pad_token.or(tokenizer.pad_token_id().filter(there));
        Ok(Self {
            template,
            folder: folder.path().to_path_buf(),
            audio_token,
            placeholder,
            pad_token: pad_token.unwrap_or_default(),
            bos_token: text.bos_token_id().filter(there),
            context: text.context(),
            tokenizer,
        })
    }

    pub(super) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
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
        let Some(template) = template.or(self.template.as_ref()) else {
            let path = self.folder.clone();
            return Err(Blip2Error::ChatTemplate { path });
        };
        self.about_sound(&template.render(question))
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

    /// Arguments that name no number of new tokens, with one that follows the longest sound: nobody says as
    /// many tokens as it has vectors, of which there are ten a second.
    ///
    /// What the context does not leave is not asked for, but for a token more: a text that ends there then
    /// says of itself that the context was full.
    pub(super) fn with_new_tokens(
        &self,
        config: GenerationConfig,
        lengths: &[usize],
        histories: &[Vec<u32>],
    ) -> GenerationConfig {
        if config.max_new_tokens.is_some() || config.max_length.is_some() {
            return config;
        }
        let usual = lengths.iter().copied().max().unwrap_or(0).max(NEW_TOKENS);
        let shortest = histories.iter().map(Vec::len).min().unwrap_or(0);
        let left = self.context.map_or(usize::MAX, |context| {
            context.saturating_sub(shortest).saturating_add(2)
        });
        config.with_max_new_tokens(usual.min(left))
    }

    /// The tokens of the longest prompt, its sound not counted.
    pub(super) fn longest(prompts: &[SpeechPrompt]) -> usize {
        let lengths = prompts.iter().map(|prompt| prompt.ids.len());
        lengths.max().unwrap_or(0)
    }
}

/// A question as the folder's chat template would have it, as far as that shows without being run: by
/// tokens for roles, or by words, as also without any. Of another form nothing is guessed: a model answers
/// a prompt that it was not trained on, and worse.
fn usual_template(
    folder: &CheckpointFolder,
    placeholder: &str,
) -> Result<Option<Template>, Blip2Error> {
    let written = folder.chat_template()?.unwrap_or_default();
    let has = |marks: [&str; 2]| marks.iter().all(|mark| written.contains(mark));
    let [before, after] = if has(ROLES) {
        BY_ROLES
    } else if written.trim().is_empty() || has(WORDS) {
        BY_WORDS
    } else {
        return Ok(None);
    };
    format!("{before}{placeholder}{after}").parse().map(Some)
}

/// Refuses an id of the placeholder that the tokenizer has for another token than the processor writes.
fn check_placeholder(
    folder: &CheckpointFolder,
    tokenizer: &Tokenizer,
    audio_token: u32,
) -> Result<(), Blip2Error> {
    // What is wrong with the file itself is told where sounds are prepared by it.
    let Ok(processor) = folder.sound_processor() else {
        return Ok(());
    };
    let token = processor.audio_token;
    let id = tokenizer.token_to_id(&token);
    if id == Some(audio_token) {
        return Ok(());
    }
    let id = id.map_or("not there".into(), |id| id.to_string());
    let reason = format!(
        "the processor's audio_token is `{token}`, whose id in the tokenizer is {id}; both must name one \
         token: copy the files anew from the model's repository"
    );
    Err(Blip2Error::Io(IoError::Config {
        path: folder.path().join("config.json"),
        source: ConfigError::value("config", "audio_token_index", audio_token, reason),
    }))
}

impl TokenDecoder for SpeechTexts {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(self.tokenizer.decode(ids, true)?)
    }
}
