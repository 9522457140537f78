//! What is asked of a batch.

use std::fmt;

use blip2_lm::generate::GenerationConfig;

use crate::{
    error::Blip2Error,
    verbs::{Answers, Describes, Options, Seen, Writer},
};

/// A question, a caption or a prompt about a picture that was looked at, to be answered in an
/// [`AnswerBatch`](super::AnswerBatch) with others: each has its own options.
///
/// Made by [`Seen::request`], [`Seen::request_caption`] and [`Seen::request_prompt`], which refuse what
/// cannot be answered.
#[derive(Clone)]
pub struct AnswerRequest<P: Writer> {
    pub(super) seen: Seen<P>,
    pub(super) prompt: P::Prompt,
    pub(super) options: Options,
}

impl<P: Writer> AnswerRequest<P> {
    fn new(seen: &Seen<P>, prompt: P::Prompt, options: &Options) -> Result<Self, Blip2Error> {
        let options = options.begun();
        // What cannot be done alone cannot be done together, and is told to whoever asked it.
        seen.member()
            .prepare(std::slice::from_ref(&prompt), &options)
            .map_err(Blip2Error::of_item)?;
        Ok(Self {
            seen: seen.clone(),
            prompt,
            options,
        })
    }

    /// The model that looked.
    pub(super) fn member(&self) -> &P {
        self.seen.member()
    }

    pub(super) fn config(&self) -> GenerationConfig {
        self.seen.member().generation(&self.options)
    }
}

impl<P: Answers> Seen<P> {
    /// A question about the picture, for an [`AnswerBatch`](super::AnswerBatch).
    ///
    /// # Errors
    ///
    /// As [`ask_with`](Self::ask_with), before anything runs.
    pub fn request(
        &self,
        question: &str,
        options: &Options,
    ) -> Result<AnswerRequest<P>, Blip2Error> {
        let prompt = self
            .member()
            .question(question, options.template.as_ref())?;
        AnswerRequest::new(self, prompt, options)
    }
}

impl<P: Describes> Seen<P> {
    /// A caption of the picture, for an [`AnswerBatch`](super::AnswerBatch).
    ///
    /// # Errors
    ///
    /// As [`caption_with`](Self::caption_with), before anything runs.
    pub fn request_caption(&self, options: &Options) -> Result<AnswerRequest<P>, Blip2Error> {
        AnswerRequest::new(self, self.member().caption_prompt()?, options)
    }

    /// A raw prompt about the picture, for an [`AnswerBatch`](super::AnswerBatch).
    ///
    /// # Errors
    ///
    /// As [`prompt_with`](Self::prompt_with), before anything runs.
    pub fn request_prompt(
        &self,
        prompt: &str,
        options: &Options,
    ) -> Result<AnswerRequest<P>, Blip2Error> {
        AnswerRequest::new(self, self.member().raw(prompt)?, options)
    }
}

impl<P: Writer> fmt::Debug for AnswerRequest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerRequest")
            .field("of", &self.seen)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
