//! The pipeline: pictures and text in, answers out.

mod answer;
mod answer_rows;
mod builder;
mod continuations;
mod encoded;
mod grammar;
mod looked;
mod options;
mod picture;
mod prompts;
mod rank;
mod run;
mod seen;
mod source;
mod stream;
mod template;
mod typed;

use std::sync::OnceLock;

use blip2_io::{
    LoadReport,
    config::Blip2Config,
    preprocessing::{DecodeOptions, ImageProcessor, Size},
    video::{Video, VideoOptions},
};
use blip2_lm::generate::GenerationConfig;
use blip2_vision::VisionOptions;
use burn::tensor::Device;

pub use answer::{Answer, Timings};
pub use answer_rows::{AnswerRows, LabeledRows};
pub use builder::Blip2PipelineBuilder;
pub(crate) use builder::IGNORABLE;
pub(crate) use continuations::{DigitToken, digit_tokens};
pub use encoded::EncodedImage;
pub(crate) use grammar::Constraint;
pub use grammar::Grammar;
pub use options::Options;
pub use picture::Picture;
pub(crate) use picture::pixel_values;
pub(crate) use rank::check_candidates;
pub use rank::{RankOptions, Ranked};
pub(crate) use run::{Timed, decode, stage};
pub use seen::Seen;
pub use stream::AnswerStream;
pub use template::Template;
pub use typed::{Typed, TypedAnswer};

use crate::{
    Blip2Error, PrecisionPlan,
    memory::{MemoryLimit, MemoryPlan},
    model::Blip2ForConditionalGeneration,
};
use looked::Looked;
use prompts::{Prompt, Prompts};
use source::Origin;

/// A loaded BLIP-2 model that answers questions about pictures and describes them.
///
/// InstructBLIP runs in it too, and its version for videos, to which every method that takes a
/// picture gives a [`Video`] instead; what they cannot do is told when it is asked for, by
/// [`Blip2Error::Frames`].
///
/// One pipeline serves many threads: it is `Send + Sync`, and all methods take `&self`.
///
/// ```no_run
/// use blip2_core::{Blip2Pipeline, image};
///
/// let blip2 = Blip2Pipeline::from_pretrained("models/blip2-flan-t5-xl")?;
/// let image = image::open("beach.jpg")?;
///
/// let answer = blip2.answer(&image, "How many dogs are there?")?;
/// println!("{answer}  ({:.0} %)", 100.0 * answer.confidence());
/// println!("{}", blip2.caption(&image)?);
///
/// let seen = blip2.look(&image)?; // encode once …
/// for question in ["What is she wearing?", "What time of day is it?"] {
///     println!("{}", seen.ask(question)?); // … ask many
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Blip2Pipeline {
    model: Blip2ForConditionalGeneration,
    config: Blip2Config,
    prompts: Prompts,
    processor: ImageProcessor,
    vision: VisionOptions,
    decode: DecodeOptions,
    generation: GenerationConfig,
    device: Device,
    precision: PrecisionPlan,
    origin: Origin,
    memory: MemoryLimit,
    report: LoadReport,
    fingerprint: OnceLock<String>,
}

impl Blip2Pipeline {
    /// Loads a Hugging Face checkpoint folder of a `Blip2ForConditionalGeneration`, an
    /// `InstructBlipForConditionalGeneration` or an `InstructBlipVideoForConditionalGeneration`, on
    /// the default CPU device and in the checkpoint's own precision.
    ///
    /// # Errors
    ///
    /// [`Blip2Error`] naming the file, key or tensors at fault: everything that is missing or
    /// misshapen is listed.
    pub fn from_pretrained(folder: impl AsRef<std::path::Path>) -> Result<Self, Blip2Error> {
        Self::builder(folder).load()
    }

    /// Loads a checkpoint folder with other than the default settings.
    pub fn builder(folder: impl AsRef<std::path::Path>) -> Blip2PipelineBuilder {
        Blip2PipelineBuilder::at(folder.as_ref())
    }

    /// Loads a checkpoint that is open already, or that is held in memory.
    pub fn builder_from(folder: blip2_io::CheckpointFolder) -> Blip2PipelineBuilder {
        Blip2PipelineBuilder::of(folder)
    }

    /// Makes a model of random weights in memory: of a [`Preset`](crate::Preset), to measure full
    /// size without a download, or of any other configuration. The same seed makes the same model.
    ///
    /// Its words mean nothing, and its tokens are single bytes.
    ///
    /// ```no_run
    /// use blip2_core::{Blip2Pipeline, Precision, Preset, image};
    ///
    /// let blip2 = Blip2Pipeline::builder_random(Preset::Blip2Opt2_7b, 0)
    ///     .precision(Precision::Bf16)
    ///     .load()?;
    /// let image = image::RgbImage::new(640, 480);
    /// println!("{:?}", blip2.caption(&image)?.timings);
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    pub fn builder_random(config: impl Into<Blip2Config>, seed: u64) -> Blip2PipelineBuilder {
        Blip2PipelineBuilder::random(config.into(), seed)
    }

    /// Decodes a picture file within the pipeline's limits, for the calls below.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Image`] naming the file and what is wrong with it.
    pub fn open(&self, path: impl AsRef<std::path::Path>) -> Result<image::RgbImage, Blip2Error> {
        Ok(blip2_io::preprocessing::decode_file(path, &self.decode)?)
    }

    /// Opens the frames of a video that the model looks at: of a folder of frames or an animated
    /// GIF, PNG or WebP, evenly chosen as [`Video`] says, within the pipeline's limits.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Frames`] if the model looks at single pictures, and [`Blip2Error::Video`]
    /// naming the file or folder and what is wrong with it.
    pub fn open_video(&self, path: impl AsRef<std::path::Path>) -> Result<Video, Blip2Error> {
        let frames = self.model.num_frames();
        let options = VideoOptions::default().with_decode(self.decode);
        let video = Video::open(path, frames, &options)?;
        if frames == 1 {
            let found = Some(video.len());
            return Err(Blip2Error::Frames { found, expected: 1 });
        }
        Ok(video)
    }

    /// Answers a question about a picture, or about a video if that is what the model looks at.
    ///
    /// The question is put into the model's template; the answer is the text that the model adds.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::EmptyQuestion`], and whatever goes wrong with the picture or the generation.
    pub fn answer<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
    ) -> Result<Answer, Blip2Error> {
        self.answer_with(image, question, &Options::default())
    }

    /// [`answer`](Self::answer) with options.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), and for options that make no sense.
    pub fn answer_with<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        one(self.answer_batch([(image, question)], options)?)
    }

    /// Answers many questions about pictures together. Each answer is what the pair alone gets.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with); the first fault fails the batch.
    pub fn answer_batch<'a, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let (pictures, prompts) = unzip(pairs, |question: Q| {
            self.prompts
                .question(question.as_ref(), options.template.as_ref())
        })?;
        self.run(&pictures, &prompts, options)
    }

    /// Describes a picture.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the picture or the generation.
    pub fn caption<'a>(&self, image: impl Into<Picture<'a>>) -> Result<Answer, Blip2Error> {
        self.caption_with(image, &Options::default())
    }

    /// [`caption`](Self::caption) with options.
    ///
    /// # Errors
    ///
    /// As [`caption`](Self::caption), and for options that make no sense.
    pub fn caption_with<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        one(self.caption_batch([image], options)?)
    }

    /// Describes many pictures together. Each caption is what the picture alone gets.
    ///
    /// # Errors
    ///
    /// As [`caption_with`](Self::caption_with); the first fault fails the batch.
    pub fn caption_batch<'a, P: Into<Picture<'a>>>(
        &self,
        images: impl IntoIterator<Item = P>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let caption = || self.prompts.caption();
        let (pictures, prompts) =
            unzip(images.into_iter().map(|image| (image, ())), |()| caption())?;
        self.run(&pictures, &prompts, options)
    }

    /// Continues a raw prompt about a picture; no template is applied.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::PlaceholderInPrompt`], and whatever goes wrong with the picture or the
    /// generation.
    pub fn prompt<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        prompt: &str,
    ) -> Result<Answer, Blip2Error> {
        self.prompt_with(image, prompt, &Options::default())
    }

    /// [`prompt`](Self::prompt) with options.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt), and for options that make no sense.
    pub fn prompt_with<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        prompt: &str,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        one(self.prompt_batch([(image, prompt)], options)?)
    }

    /// Continues many raw prompts together. Each result is what the pair alone gets.
    ///
    /// # Errors
    ///
    /// As [`prompt_with`](Self::prompt_with); the first fault fails the batch.
    pub fn prompt_batch<'a, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let (pictures, prompts) = unzip(pairs, |prompt: Q| self.prompts.raw(prompt.as_ref()))?;
        self.run(&pictures, &prompts, options)
    }

    /// Continues prompts that are token ids already, special tokens included and image placeholders
    /// not: for callers with a tokenizer of their own, and to measure prompts of a given length.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::PlaceholderInPrompt`], [`Blip2Error::Lm`] for ids that the vocabulary does not
    /// have, and as [`prompt_with`](Self::prompt_with).
    pub fn prompt_ids_batch<'a, P: Into<Picture<'a>>, I: Into<Vec<u32>>>(
        &self,
        pairs: impl IntoIterator<Item = (P, I)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let (pictures, prompts) = unzip(pairs, |ids: I| self.prompts.ids(ids.into()))?;
        self.run(&pictures, &prompts, options)
    }

    /// Continues a raw prompt about a picture piece by piece, as the text grows.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt); errors of later steps come out of the stream.
    pub fn stream<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        prompt: &str,
    ) -> Result<AnswerStream<'_>, Blip2Error> {
        self.stream_with(image, prompt, &Options::default())
    }

    /// [`stream`](Self::stream) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream), and for options that make no sense.
    pub fn stream_with<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        prompt: &str,
        options: &Options,
    ) -> Result<AnswerStream<'_>, Blip2Error> {
        let prompt = self.prompts.raw(prompt)?;
        let (looked, timings) = self.encode(&[image.into()])?;
        self.start_stream(&looked, prompt, options, timings)
    }

    /// Encodes a picture or video, to be asked many questions without being encoded again. With
    /// InstructBLIP that is the image encoder's part; its Q-Former reads each question.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the picture.
    pub fn look<'a>(&self, image: impl Into<Picture<'a>>) -> Result<Seen<'_>, Blip2Error> {
        let (looked, timings) = self.encode(&[image.into()])?;
        Ok(Seen::new(self, looked, timings))
    }

    /// Takes up a picture that was encoded before, perhaps by another process.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::ForeignImage`] if a model with other weights or preprocessing made it, and
    /// [`Blip2Error::DamagedImage`] if its numbers do not have the shape they should.
    pub fn recall(&self, encoded: &EncodedImage) -> Result<Seen<'_>, Blip2Error> {
        let (expected, shape) = (self.fingerprint(), self.looked_shape());
        let kept = encoded.tensor(expected, shape, &self.device)?;
        Ok(Seen::new(self, self.looked(kept), Timings::default()))
    }

    /// The model on tensors.
    pub fn model(&self) -> &Blip2ForConditionalGeneration {
        &self.model
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// What the model takes in memory, and what a call takes beside it.
    pub fn memory(&self) -> &MemoryPlan {
        self.memory.plan()
    }

    /// The height and width that pictures are resized to.
    fn image_size(&self) -> [usize; 2] {
        let Size { height, width } = self.processor.config().size;
        [height as usize, width as usize]
    }

    /// The precisions that the model's parts are held in.
    pub fn precision(&self) -> PrecisionPlan {
        self.precision
    }

    /// The device that holds the model.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    pub(crate) fn processor(&self) -> &ImageProcessor {
        &self.processor
    }

    /// The template that questions are put into.
    pub fn template(&self) -> &Template {
        self.prompts.template()
    }

    /// A hash of everything that decides how a picture is encoded: the weights of the image side,
    /// their precision, and the preprocessing. Computed when it is first needed, by reading those weights once.
    pub fn fingerprint(&self) -> &str {
        const IMAGE_SIDE: [&str; 4] = [
            "vision_model.",
            "query_tokens",
            "qformer.",
            "language_projection.",
        ];
        self.fingerprint.get_or_init(|| {
            let Blip2Config {
                vision_config,
                qformer_config,
                ..
            } = &self.config;
            let (precision, processor) = (self.precision.vision, self.processor.config());
            let rest = format!("{precision} {vision_config:?} {qformer_config:?} {processor:?}");
            self.origin.fingerprint(&IMAGE_SIDE, &rest)
        })
    }

    /// What loading found beside the weights that it wanted.
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }
}

/// Splits pairs into pictures and prompts; the first prompt that makes no sense fails.
fn unzip<'a, P: Into<Picture<'a>>, Q>(
    pairs: impl IntoIterator<Item = (P, Q)>,
    prompt: impl Fn(Q) -> Result<Prompt, Blip2Error>,
) -> Result<(Vec<Picture<'a>>, Vec<Prompt>), Blip2Error> {
    let (mut pictures, mut prompts) = (Vec::new(), Vec::new());
    for (picture, text) in pairs {
        pictures.push(picture.into());
        prompts.push(prompt(text)?);
    }
    Ok((pictures, prompts))
}

/// The only answer of a batch of one.
fn one(answers: Vec<Answer>) -> Result<Answer, Blip2Error> {
    answers.into_iter().next().ok_or_else(|| Blip2Error::Rows {
        reason: "no answer".into(),
    })
}
