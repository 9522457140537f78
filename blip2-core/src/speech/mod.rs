//! Questions about sound: Granite Speech.
//!
//! [`SpeechPipeline`] loads a Hugging Face checkpoint folder of Granite Speech and writes down what is
//! said in a recording, or answers questions about it.
//!
//! ```no_run
//! use blip2_core::speech::SpeechPipeline;
//!
//! let speech = SpeechPipeline::from_pretrained("models/granite-speech-3.3-2b")?;
//! let sound = speech.open("meeting.wav")?;
//! println!("{}", speech.transcribe(&sound)?);
//! println!("{}", speech.ask(&sound, "translate the speech to French")?);
//! let heard = speech.hear(&sound)?; // encoded once, for many questions
//! println!("{}", heard.ask("how many people speak?")?);
//! println!("{}", speech.continue_text("The capital of France is")?); // without sound
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The journey
//!
//! A [`Waveform`] is resampled to the rate that the folder's processor says, and made mel features of; a
//! conformer encodes their frames; the [projector](SpeechProjector) gathers each window of frames by a
//! Q-Former in a few vectors at the language model's width; these take the places of `<|audio|>` in the
//! prompt; the language model writes. Each arrow is a call of
//! [`GraniteSpeechForConditionalGeneration`].
//!
//! # The adapter
//!
//! The language model is a plain one, and the adapter (LoRA) beside the checkpoint makes it understand
//! sound. It is loaded with the model under the name `default` and on wherever there is sound;
//! [`continue_text`](SpeechPipeline::continue_text), which has none, runs without it. Both share the
//! model's own weights, so that nothing is loaded or merged when a call follows one of the other kind.
//!
//! # Probabilities
//!
//! `transformers` 5.23 does not divide the logits of a Granite Speech by the language model's
//! `logits_scaling`, as earlier versions did. Probabilities here are those of 5.23: greedy answers are the
//! same either way, and with sampling a temperature of `logits_scaling` gives those of before.
//!
//! # The prompt
//!
//! The published models are trained on prompts of a chat template. That is a Jinja program, which this
//! library does not run. Where the template marks roles by tokens (granite-speech 3.3), a question is put
//! into
//!
//! ```text
//! <|start_of_role|>user<|end_of_role|><|audio|>QUESTION<|end_of_text|>
//! <|start_of_role|>assistant<|end_of_role|>
//! ```
//!
//! and where it marks them by words, or where there is none, into
//!
//! ```text
//! USER: <|audio|>QUESTION
//!  ASSISTANT:
//! ```
//!
//! without a system prompt. Where the template is of another form, a question is refused
//! ([`ChatTemplate`](Blip2Error::ChatTemplate)). For another, give a [`Template`] with `<|audio|>` and `{}` in it to the
//! [builder](crate::Builder::template) or to a [call](Options::with_template), or the whole text to
//! [`prompt`](SpeechPipeline::prompt), in which `<|audio|>` stands once.

mod heard;
mod load;
mod run;
mod sounds;
mod texts;

use std::{path::Path, sync::Arc};

use blip2_io::{
    config::GraniteSpeechConfig,
    sound::{SoundProcessor, Waveform},
};
use burn::tensor::Tensor;

pub use crate::model::{GraniteSpeechForConditionalGeneration, SoundFeatures, SpeechProjector};
pub use heard::Heard;
pub use sounds::Sounds;
pub use texts::SpeechTexts;

use crate::{
    error::Blip2Error,
    load::{Loaded, member},
    memory::{MemoryPlan, MemoryPrediction, Workload},
    model::PromptRows,
    text::Template,
    verbs::{Answer, AnswerStream, Options, alone},
};
use texts::SpeechPrompt;

/// What [`transcribe`](SpeechPipeline::transcribe) asks, as the published models' cards do.
pub const TRANSCRIBE: &str = "can you transcribe the speech into a written format?";

/// A loaded Granite Speech model that transcribes recordings and answers questions about them.
///
/// It is a handle: cheap to clone, `Send + Sync`, and all methods take `&self`, so that one model serves
/// many threads. See the [module](self) for the adapter and the prompt.
///
/// Where neither a call nor the builder names a number of new tokens, there may be as many as the recording
/// has vectors, ten a second, which is more than anybody says; at least 200, and no more than the context
/// leaves. Of a batch the longest recording counts. Of a text that was cut there, or by a number that was
/// named, the [`finish_reason`](Answer::finish_reason) says so.
///
/// ```
/// use blip2_core::speech::SpeechPipeline;
///
/// let speech = SpeechPipeline::from_pretrained("../fixtures/granite_speech_lora")?;
/// let sound = speech.open("../fixtures/granite_speech_lora/noise_713ms.wav")?;
/// let answer = speech.ask(&sound, "what is said?")?;
/// println!("{answer}  ({:.0} %)", 100.0 * answer.confidence());
/// assert_eq!(speech.active_adapter(), Some("default")); // the one beside the checkpoint
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SpeechPipeline {
    inner: Arc<Loaded<Self>>,
}

member!(
    SpeechPipeline,
    GraniteSpeechConfig,
    GraniteSpeechForConditionalGeneration
);
member!(texts SpeechPipeline, tokenizer);

impl SpeechPipeline {
    /// Reads a WAV file, for the calls below. They take sound at any rate, and resample it to the
    /// model's.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Sound`] naming the file and what is wrong with it.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Waveform, Blip2Error> {
        Ok(Waveform::open(path)?)
    }

    /// Reads a WAV file's bytes, such as an upload.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Sound`] saying what is wrong with them.
    pub fn decode(&self, bytes: &[u8]) -> Result<Waveform, Blip2Error> {
        Ok(Waveform::from_bytes(bytes)?)
    }

    /// What makes mel features of sound, as the checkpoint's configuration says.
    pub fn processor(&self) -> &SoundProcessor {
        &self.inner.pictures.processor
    }

    /// What the encoder reads of a sound, which may be at any rate, for [`encode`](GraniteSpeechForConditionalGeneration::encode):
    /// `[1, frames, input_dim]`.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Sound`] for a sound that is too short to be one frame, or too long.
    pub fn input_features(&self, sound: &Waveform) -> Result<Tensor<3>, Blip2Error> {
        let reading = &self.inner.pictures;
        let sound = reading.at_rate(sound)?;
        reading.input_features(&sound, &self.inner.device)
    }

    /// The rows of raw prompts as the language model reads them, for calls of [`model`](Self::model),
    /// each with the number of vectors of its sound: placeholders, special tokens, padding before the
    /// text.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
    /// let rows = speech.prompt_rows(&[("<|audio|> it is", 4), ("<|audio|> it is", 6)])?;
    /// let audio = speech.model().audio_token();
    /// let places = |row: usize| rows.ids()[row].iter().filter(|&&id| id == audio).count();
    /// assert_eq!([places(0), places(1)], [4, 6]);
    /// assert_eq!(rows.mask()[0][..2], [false; 2]);
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::SoundPlaces`] for a prompt without exactly one `<|audio|>`,
    /// [`Blip2Error::ContextTooLong`], and [`Blip2Error::Rows`] for no prompts.
    pub fn prompt_rows<T: AsRef<str>>(
        &self,
        prompts: &[(T, usize)],
    ) -> Result<PromptRows, Blip2Error> {
        let texts = &self.inner.texts;
        let read = prompts.iter().enumerate().map(|(index, (prompt, _))| {
            let read = texts.about_sound(prompt.as_ref());
            read.map_err(|error| Blip2Error::item(index, error))
        });
        let lengths: Vec<usize> = prompts.iter().map(|(_, length)| *length).collect();
        texts.lay_out(&read.collect::<Result<Vec<_>, _>>()?, &lengths)
    }

    /// The template that questions are put into; `None` where the folder has a chat template of no known
    /// form, so that each call must give one, or a raw prompt.
    pub fn template(&self) -> Option<&Template> {
        self.inner.texts.template()
    }

    /// Refuses a question that cannot be asked about any sound, as each call does by itself: for a program
    /// that asks it about many.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
    /// use blip2_core::Options;
    ///
    /// assert!(speech.check_question("what is said?", &Options::default()).is_ok());
    /// assert!(speech.check_question("  ", &Options::default()).is_err());
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::EmptyQuestion`], [`Blip2Error::SpecialToken`], [`Blip2Error::ChatTemplate`] where there
    /// is no template, and [`Blip2Error::SoundPlaces`] for one without exactly one `<|audio|>`.
    pub fn check_question(&self, question: &str, options: &Options) -> Result<(), Blip2Error> {
        let read = self
            .inner
            .texts
            .question(question, options.template.as_ref());
        read.map(drop)
    }

    /// [`check_question`](Self::check_question) of a raw prompt.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::SoundPlaces`] for a prompt without exactly one `<|audio|>`.
    pub fn check_prompt(&self, prompt: &str) -> Result<(), Blip2Error> {
        self.inner.texts.about_sound(prompt).map(drop)
    }

    /// The text that stands for sound in a prompt, `<|audio|>`.
    pub fn placeholder(&self) -> &str {
        self.inner.texts.placeholder()
    }

    /// What the model takes in memory, and what a call takes beside it.
    pub fn memory(&self) -> &MemoryPlan {
        self.inner.memory.plan()
    }

    /// Refuses work that would take more memory than the model may, as each call does by itself: for a
    /// program that lays out large inputs before it calls.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Memory`], saying what would fit.
    pub fn check_memory(&self, work: &Workload) -> Result<(), Blip2Error> {
        self.inner.memory.check(work, MemoryPrediction::peak)
    }

    /// Writes down what is said in a recording: asks [`TRANSCRIBE`].
    ///
    /// # Errors
    ///
    /// [`Blip2Error::ContextTooLong`] for a recording that the language model has no room for and
    /// [`Blip2Error::Memory`] for one that would take too much memory, both before anything is computed;
    /// [`Blip2Error::Sound`] for one that is too short; and whatever goes wrong with the generation.
    pub fn transcribe(&self, sound: &Waveform) -> Result<Answer, Blip2Error> {
        self.transcribe_with(sound, &Options::default())
    }

    /// [`transcribe`](Self::transcribe) with options.
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe), and for options that make no sense.
    pub fn transcribe_with(
        &self,
        sound: &Waveform,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        alone(self.transcribe_batch([sound], options))
    }

    /// Writes down many recordings together. Each is encoded alone, and each answer is what the
    /// recording alone gets.
    ///
    /// # Errors
    ///
    /// As [`transcribe_with`](Self::transcribe_with); the first fault fails the batch, and
    /// [`Item`](Blip2Error::Item) says whose it is.
    pub fn transcribe_batch<'a>(
        &self,
        sounds: impl IntoIterator<Item = &'a Waveform>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let pairs = sounds.into_iter().map(|sound| (sound, TRANSCRIBE));
        self.ask_batch(pairs, options)
    }

    /// Writes down a recording piece by piece, as the text grows.
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe); errors of later steps come out of the stream.
    pub fn stream_transcription(&self, sound: &Waveform) -> Result<AnswerStream, Blip2Error> {
        self.stream_transcription_with(sound, &Options::default())
    }

    /// [`stream_transcription`](Self::stream_transcription) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As [`stream_transcription`](Self::stream_transcription), and for options that make no sense.
    pub fn stream_transcription_with(
        &self,
        sound: &Waveform,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        self.stream_answer_with(sound, TRANSCRIBE, options)
    }

    /// Answers a question about a recording, or does what is asked of it.
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe), and for a question that is empty or spells out a special
    /// token.
    pub fn ask(&self, sound: &Waveform, question: &str) -> Result<Answer, Blip2Error> {
        self.ask_with(sound, question, &Options::default())
    }

    /// [`ask`](Self::ask) with options.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask), and for options that make no sense.
    pub fn ask_with(
        &self,
        sound: &Waveform,
        question: &str,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        alone(self.ask_batch([(sound, question)], options))
    }

    /// Answers many questions, each about its own recording, together. Each answer is what the pair
    /// alone gets.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
    /// # let sound = speech.open("../fixtures/granite_speech/noise_713ms.wav")?;
    /// # let other = speech.open("../fixtures/granite_speech/chirp_1300ms.wav")?;
    /// use blip2_core::Options;
    ///
    /// let pairs = [(&sound, "what is said?"), (&other, "who is it?")];
    /// let answers = speech.ask_batch(pairs, &Options::default())?;
    /// assert_eq!(answers.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ask_with`](Self::ask_with); the first fault fails the batch, and
    /// [`Item`](Blip2Error::Item) says whose it is.
    pub fn ask_batch<'a, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (&'a Waveform, Q)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let template = options.template.as_ref();
        let texts = &self.inner.texts;
        self.run_made(pairs, options, |question| {
            texts.question(question, template)
        })
    }

    /// Answers a question about a recording piece by piece, as the text grows.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
    /// # let sound = speech.open("../fixtures/granite_speech/noise_713ms.wav")?;
    /// for piece in speech.stream_answer(&sound, "what is said?")? {
    ///     print!("{}", piece?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask); errors of later steps come out of the stream.
    pub fn stream_answer(
        &self,
        sound: &Waveform,
        question: &str,
    ) -> Result<AnswerStream, Blip2Error> {
        self.stream_answer_with(sound, question, &Options::default())
    }

    /// [`stream_answer`](Self::stream_answer) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As [`stream_answer`](Self::stream_answer), and for options that make no sense.
    pub fn stream_answer_with(
        &self,
        sound: &Waveform,
        question: &str,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        let template = options.template.as_ref();
        let prompt = self.inner.texts.question(question, template)?;
        self.grow(sound, prompt, options)
    }

    /// Continues a raw prompt about a recording; no template is applied. `<|audio|>` stands once in it,
    /// where the recording goes.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
    /// # let sound = speech.open("../fixtures/granite_speech/noise_713ms.wav")?;
    /// use blip2_core::Blip2Error;
    ///
    /// let answer = speech.prompt(&sound, "USER: <|audio|> what is said? ASSISTANT:")?;
    /// println!("{answer}");
    /// let nowhere = speech.prompt(&sound, "USER: what is said? ASSISTANT:");
    /// assert!(matches!(nowhere, Err(Blip2Error::SoundPlaces { found: 0, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`transcribe`](Self::transcribe), and [`Blip2Error::SoundPlaces`] for a prompt without
    /// exactly one `<|audio|>`.
    pub fn prompt(&self, sound: &Waveform, prompt: &str) -> Result<Answer, Blip2Error> {
        self.prompt_with(sound, prompt, &Options::default())
    }

    /// [`prompt`](Self::prompt) with options.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt), and for options that make no sense.
    pub fn prompt_with(
        &self,
        sound: &Waveform,
        prompt: &str,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        alone(self.prompt_batch([(sound, prompt)], options))
    }

    /// Continues many raw prompts, each about its own recording, together. Each result is what the pair
    /// alone gets.
    ///
    /// # Errors
    ///
    /// As [`prompt_with`](Self::prompt_with); the first fault fails the batch, and
    /// [`Item`](Blip2Error::Item) says whose it is.
    pub fn prompt_batch<'a, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (&'a Waveform, Q)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let texts = &self.inner.texts;
        self.run_made(pairs, options, |prompt| texts.about_sound(prompt))
    }

    /// Continues a raw prompt about a recording piece by piece, as the text grows.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt); errors of later steps come out of the stream.
    pub fn stream(&self, sound: &Waveform, prompt: &str) -> Result<AnswerStream, Blip2Error> {
        self.stream_with(sound, prompt, &Options::default())
    }

    /// [`stream`](Self::stream) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream), and for options that make no sense.
    pub fn stream_with(
        &self,
        sound: &Waveform,
        prompt: &str,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        let prompt = self.inner.texts.about_sound(prompt)?;
        self.grow(sound, prompt, options)
    }

    /// Encodes a recording, to be asked many questions without being encoded again.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech")?;
    /// # let sound = speech.open("../fixtures/granite_speech/noise_713ms.wav")?;
    /// let heard = speech.hear(&sound)?;
    /// println!("{}", heard.transcribe()?);
    /// println!("{}", heard.ask("how many people speak?")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Sound`] for a recording that is too short, and [`Blip2Error::Memory`] for one that would
    /// take too much memory.
    pub fn hear(&self, sound: &Waveform) -> Result<Heard, Blip2Error> {
        self.hear_with(sound, &Options::default())
    }

    /// [`hear`](Self::hear) with options, of which a way to cancel and a deadline matter.
    ///
    /// # Errors
    ///
    /// As [`hear`](Self::hear); [`Blip2Error::Cancelled`] and [`Blip2Error::Deadline`] of a call that was
    /// stopped.
    pub fn hear_with(&self, sound: &Waveform, options: &Options) -> Result<Heard, Blip2Error> {
        let (features, timings) = self.hear_one(sound, options)?;
        Ok(Heard::new(self.clone(), features, timings))
    }

    /// Continues a text without sound, by the language model without any adapter.
    ///
    /// ```
    /// # let speech = blip2_core::speech::SpeechPipeline::from_pretrained("../fixtures/granite_speech_lora")?;
    /// let answer = speech.continue_text("a photo of two")?;
    /// println!("{answer}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::SoundPlaces`] for a prompt with `<|audio|>` in it,
    /// [`Blip2Error::ContextTooLong`], [`Blip2Error::Memory`], and whatever goes wrong with the
    /// generation.
    pub fn continue_text(&self, prompt: &str) -> Result<Answer, Blip2Error> {
        self.continue_text_with(prompt, &Options::default())
    }

    /// [`continue_text`](Self::continue_text) with options.
    ///
    /// # Errors
    ///
    /// As [`continue_text`](Self::continue_text), and for options that make no sense.
    pub fn continue_text_with(
        &self,
        prompt: &str,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        let prompt = self.inner.texts.alone(prompt)?;
        alone(self.write(&[prompt], options))
    }

    /// [`run`](Self::run) of prompts that are made of texts, each of which may be at fault.
    fn run_made<'a, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (&'a Waveform, Q)>,
        options: &Options,
        prompt: impl Fn(&str) -> Result<SpeechPrompt, Blip2Error>,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let (mut sounds, mut prompts) = (Vec::new(), Vec::new());
        for (index, (sound, text)) in pairs.into_iter().enumerate() {
            sounds.push(sound);
            let read = prompt(text.as_ref());
            prompts.push(read.map_err(|error| Blip2Error::item(index, error))?);
        }
        self.run(&sounds, &prompts, options)
    }
}
