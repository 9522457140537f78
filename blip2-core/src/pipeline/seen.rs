//! A picture that was looked at.

use super::{
    Answer, AnswerStream, Blip2Pipeline, EncodedImage, Looked, Options, Prompt, Timings, one,
};
use crate::{Blip2Error, model::ImageFeatures};

/// A picture, or a video, that was encoded once and can be asked many times: neither the image
/// encoder nor the Q-Former runs again, as the answers' [`timings`](Answer::timings) show.
///
/// With InstructBLIP the image encoder alone ran: the Q-Former reads the question, so it runs for
/// each, and [`features`](Self::features) are not known yet.
///
/// Made by [`Blip2Pipeline::look`] and [`Blip2Pipeline::recall`].
#[derive(Debug, Clone)]
pub struct Seen<'p> {
    pipeline: &'p Blip2Pipeline,
    looked: Looked,
    timings: Timings,
}

impl<'p> Seen<'p> {
    pub(super) fn new(pipeline: &'p Blip2Pipeline, looked: Looked, timings: Timings) -> Self {
        Self {
            pipeline,
            looked,
            timings,
        }
    }

    /// Answers a question about the picture.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::answer`].
    pub fn ask(&self, question: &str) -> Result<Answer, Blip2Error> {
        self.ask_with(question, &Options::default())
    }

    /// [`ask`](Self::ask) with options.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::answer_with`].
    pub fn ask_with(&self, question: &str, options: &Options) -> Result<Answer, Blip2Error> {
        one(self.ask_batch([question], options)?)
    }

    /// Answers many questions about the picture together.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::answer_batch`].
    pub fn ask_batch<Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let template = options.template.as_ref();
        let prompts: Result<Vec<_>, _> = questions
            .into_iter()
            .map(|question| self.pipeline.prompts.question(question.as_ref(), template))
            .collect();
        self.generate(&prompts?, options)
    }

    /// Describes the picture.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::caption_with`].
    pub fn caption(&self, options: &Options) -> Result<Answer, Blip2Error> {
        one(self.generate(&[self.pipeline.prompts.caption()?], options)?)
    }

    /// Continues a raw prompt about the picture.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::prompt_with`].
    pub fn prompt(&self, prompt: &str, options: &Options) -> Result<Answer, Blip2Error> {
        one(self.generate(&[self.pipeline.prompts.raw(prompt)?], options)?)
    }

    /// Continues a raw prompt about the picture piece by piece.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::stream_with`].
    pub fn stream(&self, prompt: &str, options: &Options) -> Result<AnswerStream<'p>, Blip2Error> {
        let prompt = self.pipeline.prompts.raw(prompt)?;
        self.pipeline
            .start_stream(&self.looked, prompt, options, Timings::default())
    }

    /// The picture as the model sees it, to be kept and taken up again by
    /// [`Blip2Pipeline::recall`].
    ///
    /// # Errors
    ///
    /// If the features cannot be read from the device.
    pub fn encoded(&self) -> Result<EncodedImage, Blip2Error> {
        EncodedImage::new(self.pipeline.fingerprint(), &self.looked)
    }

    /// The features that the language model reads in the picture's place; `None` where they
    /// depend on the question, as with InstructBLIP.
    pub fn features(&self) -> Option<&ImageFeatures> {
        match &self.looked {
            Looked::Gathered(features) => Some(features),
            Looked::Encoded { .. } => None,
        }
    }

    /// How long encoding took; nothing of it is in the answers' timings.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    pub(super) fn pipeline(&self) -> &'p Blip2Pipeline {
        self.pipeline
    }

    pub(super) fn looked(&self) -> &Looked {
        &self.looked
    }

    fn generate(&self, prompts: &[Prompt], options: &Options) -> Result<Vec<Answer>, Blip2Error> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let prepared = self.pipeline.prepare(prompts, options)?;
        let looked = self.looked.repeat(prompts.len());
        self.pipeline
            .generate(&looked, prepared, Timings::default())
    }
}
