//! A recording that was heard.

use std::fmt;

use super::{SoundFeatures, SpeechPipeline, TRANSCRIBE, texts::SpeechPrompt};
use crate::{
    error::Blip2Error,
    verbs::{Answer, AnswerStream, Options, Timings, alone},
};

/// A recording that was encoded once and can be asked many times: neither the encoder of sound nor the
/// Q-Former runs again, as the answers' [`timings`](Answer::timings) show.
///
/// It is owned and holds a handle of its model, so that it can be kept, sent to another thread and outlive
/// the variable that made it. Made by [`SpeechPipeline::hear`].
///
/// ```
/// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
/// # let sound = speech.open("../fixtures/granite_speech/noise_713ms.wav")?;
/// let heard = speech.hear(&sound)?;
/// assert!(heard.timings().audio.is_some());
/// let answer = heard.ask("what is said?")?;
/// assert!(answer.timings.audio.is_none()); // nothing encodes the recording again
/// assert_eq!(answer.text, speech.ask(&sound, "what is said?")?.text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Heard {
    speech: SpeechPipeline,
    features: SoundFeatures,
    timings: Timings,
}

impl Heard {
    pub(super) fn new(speech: SpeechPipeline, features: SoundFeatures, timings: Timings) -> Self {
        Self {
            speech,
            features,
            timings,
        }
    }

    /// The model that heard.
    pub fn member(&self) -> &SpeechPipeline {
        &self.speech
    }

    /// What the language model is given of the recording.
    pub fn features(&self) -> &SoundFeatures {
        &self.features
    }

    /// How long encoding took; nothing of it is in the answers' timings.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// How many bytes of memory its features take, where it is kept: they are held in 32 bits.
    pub fn size_in_bytes(&self) -> usize {
        self.features.tensor().shape().num_elements() * size_of::<f32>()
    }

    /// Writes down what is said: asks [`TRANSCRIBE`].
    ///
    /// # Errors
    ///
    /// [`Blip2Error::ContextTooLong`] for a recording that the language model has no room for,
    /// [`Blip2Error::Memory`], and whatever goes wrong with the generation.
    pub fn transcribe(&self) -> Result<Answer, Blip2Error> {
        self.transcribe_with(&Options::default())
    }

    /// [`transcribe`](Self::transcribe) with options.
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe), and for options that make no sense.
    pub fn transcribe_with(&self, options: &Options) -> Result<Answer, Blip2Error> {
        self.ask_with(TRANSCRIBE, options)
    }

    /// Answers a question about the recording.
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe), and for a question that is empty or spells out a special token.
    pub fn ask(&self, question: &str) -> Result<Answer, Blip2Error> {
        self.ask_with(question, &Options::default())
    }

    /// [`ask`](Self::ask) with options.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask), and for options that make no sense.
    pub fn ask_with(&self, question: &str, options: &Options) -> Result<Answer, Blip2Error> {
        alone(self.ask_batch([question], options))
    }

    /// Answers many questions about the recording together. Each answer is what the question alone gets.
    ///
    /// # Errors
    ///
    /// As [`ask_with`](Self::ask_with); the first fault fails the batch, and [`Item`](Blip2Error::Item) says
    /// whose it is.
    pub fn ask_batch<Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let (texts, template) = (&self.speech.inner.texts, options.template.as_ref());
        self.run_made(questions, options, |question| {
            texts.question(question, template)
        })
    }

    /// Answers a question about the recording piece by piece, as the text grows.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask); errors of later steps come out of the stream.
    pub fn ask_stream(&self, question: &str) -> Result<AnswerStream, Blip2Error> {
        self.ask_stream_with(question, &Options::default())
    }

    /// [`ask_stream`](Self::ask_stream) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As [`ask_stream`](Self::ask_stream), and for options that make no sense.
    pub fn ask_stream_with(
        &self,
        question: &str,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        let (texts, template) = (&self.speech.inner.texts, options.template.as_ref());
        let prompt = texts.question(question, template)?;
        self.speech.grow_heard(&self.features, prompt, options)
    }

    /// Continues a raw prompt about the recording, which stands where `<|audio|>` is.
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe), and [`Blip2Error::SoundPlaces`] for a prompt without exactly one
    /// `<|audio|>`.
    pub fn prompt(&self, prompt: &str) -> Result<Answer, Blip2Error> {
        self.prompt_with(prompt, &Options::default())
    }

    /// [`prompt`](Self::prompt) with options.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt), and for options that make no sense.
    pub fn prompt_with(&self, prompt: &str, options: &Options) -> Result<Answer, Blip2Error> {
        alone(self.prompt_batch([prompt], options))
    }

    /// Continues many raw prompts about the recording together. Each result is what the prompt alone gets.
    ///
    /// # Errors
    ///
    /// As [`prompt_with`](Self::prompt_with); the first fault fails the batch, and
    /// [`Item`](Blip2Error::Item) says whose it is.
    pub fn prompt_batch<Q: AsRef<str>>(
        &self,
        prompts: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let texts = &self.speech.inner.texts;
        self.run_made(prompts, options, |prompt| texts.about_sound(prompt))
    }

    fn run_made<Q: AsRef<str>>(
        &self,
        made: impl IntoIterator<Item = Q>,
        options: &Options,
        prompt: impl Fn(&str) -> Result<SpeechPrompt, Blip2Error>,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let made = made.into_iter().enumerate().map(|(index, text)| {
            prompt(text.as_ref()).map_err(|error| Blip2Error::item(index, error))
        });
        let prompts = made.collect::<Result<Vec<_>, _>>()?;
        self.speech.run_heard(&self.features, &prompts, options)
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard")
            .field("vectors", &self.features.len())
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}
