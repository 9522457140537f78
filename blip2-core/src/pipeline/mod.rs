//! The pipeline: pictures and text in, answers out.

mod encoded;
mod load;
mod looked;
mod run;
mod seen;

use std::{path::Path, sync::Arc};

use blip2_io::{config::Blip2Config, video::Video};

pub use encoded::EncodedImage;

use crate::{
    error::Blip2Error,
    load::{Builder, Loaded, member},
    memory::{MemoryPlan, MemoryPrediction, Workload},
    model::Blip2ForConditionalGeneration,
    picture::Picture,
    text::{Prompt, PromptRows, Template},
    verbs::{Answer, Options, Seen, Timings, answering, describing, looking, run_made},
};
use looked::Looked;

/// A loaded BLIP-2 model that answers questions about pictures and describes them.
///
/// InstructBLIP runs in it too, and its version for videos, to which every method that takes a
/// picture gives a [`Video`] instead; what they cannot do is told when it is asked for, by
/// [`Blip2Error::Frames`].
///
/// It is a handle: cheap to clone, `Send + Sync`, and all methods take `&self`, so that one model
/// serves many threads and lives as long as anything that was made of it.
///
/// ```no_run
/// use blip2_core::Blip2Pipeline;
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
#[derive(Clone)]
pub struct Blip2Pipeline {
    inner: Arc<Loaded<Self>>,
}

member!(Blip2Pipeline, Blip2Config, Blip2ForConditionalGeneration);
member!(pictures Blip2Pipeline);
member!(texts Blip2Pipeline, tokenizer);
answering!(Blip2Pipeline, "../blip2-cli/demo");
describing!(Blip2Pipeline, "../blip2-cli/demo");
looking!(Blip2Pipeline, "../blip2-cli/demo");

impl Blip2Pipeline {
    /// Makes a model of random weights in memory: of a [`Preset`](crate::Preset), to measure full
    /// size without a download, or of any other configuration. The same seed makes the same model.
    ///
    /// Its words mean nothing, and its tokens are single bytes.
    ///
    /// ```no_run
    /// use blip2_core::{Blip2Pipeline, Precision, Preset};
    ///
    /// let blip2 = Blip2Pipeline::builder_random(Preset::Blip2Opt2_7b, 0)
    ///     .precision(Precision::Bf16)
    ///     .load()?;
    /// let image = image::RgbImage::new(640, 480);
    /// println!("{:?}", blip2.caption(&image)?.timings);
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    pub fn builder_random(config: impl Into<Blip2Config>, seed: u64) -> Builder<Self> {
        Builder::random(config.into(), seed)
    }

    /// Opens the frames of a video that the model looks at: of a folder of frames or an animated
    /// GIF, PNG or WebP, evenly chosen as [`Video`] says, within the pipeline's limits.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Frames`] if the model looks at single pictures, and [`Blip2Error::Video`]
    /// naming the file or folder and what is wrong with it.
    pub fn open_video(&self, path: impl AsRef<Path>) -> Result<Video, Blip2Error> {
        self.inner.pictures.open_video(path.as_ref())
    }

    /// Continues prompts that are token ids already, special tokens included and image placeholders
    /// not: for callers with a tokenizer of their own, and to measure prompts of a given length.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// use blip2_core::Options;
    ///
    /// let prompt = "Question: what color is the shape? Answer:";
    /// let ids = blip2.tokenizer().encode(prompt)?;
    /// let answers = blip2.prompt_ids_batch([(&image, ids)], &Options::default())?;
    /// assert_eq!(answers[0].text, blip2.prompt(&image, prompt)?.text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        let prompt = |ids: I| self.inner.texts.ids(ids.into());
        run_made(self, pairs, prompt, options)
    }

    /// Takes up a picture that was encoded before, perhaps by another process.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::ForeignImage`] if a model with other weights or preprocessing made it, and
    /// [`Blip2Error::DamagedImage`] if its numbers do not have the shape they should.
    pub fn recall(&self, encoded: &EncodedImage) -> Result<Seen<Self>, Blip2Error> {
        let (expected, shape) = (self.fingerprint(), self.looked_shape());
        let kept = encoded.tensor(expected, shape, &self.inner.device)?;
        let looked = self.taken_up(kept);
        Ok(Seen::new(self.clone(), looked, Timings::default()))
    }

    /// What the model takes in memory, and what a call takes beside it.
    pub fn memory(&self) -> &MemoryPlan {
        self.inner.memory.plan()
    }

    /// Refuses work that would take more memory than the pipeline may, as each call does by itself:
    /// for a program that lays out large inputs before it calls.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// use blip2_core::{Blip2Error, memory::Workload};
    ///
    /// assert!(blip2.check_memory(&Workload::default()).is_ok());
    /// let endless = Workload::default().with_batch(1 << 40);
    /// assert!(matches!(blip2.check_memory(&endless), Err(Blip2Error::Memory(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Memory`], saying what would fit.
    pub fn check_memory(&self, work: &Workload) -> Result<(), Blip2Error> {
        self.inner.memory.check(work, MemoryPrediction::peak)
    }

    /// The rows of raw prompts as the language model reads them, for calls of
    /// [`model`](Self::model): image placeholders, special tokens, padding to one length, as
    /// `Blip2Processor` lays them out. Without text a row has only the token that begins one.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// let rows = blip2.prompt_rows(&["a photo of", "it"])?;
    /// assert_eq!(rows.ids()[0].len(), rows.ids()[1].len());
    /// let image = blip2.model().image_token();
    /// let placeholders = rows.ids()[0].iter().filter(|&&id| Some(id) == image);
    /// assert_eq!(placeholders.count(), 8); // one for each query
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::PlaceholderInPrompt`], [`Blip2Error::PromptTooLong`] for a Q-Former that reads
    /// prompts, and [`Blip2Error::Rows`] for no prompts.
    pub fn prompt_rows<T: AsRef<str>>(&self, prompts: &[T]) -> Result<PromptRows, Blip2Error> {
        self.inner.texts.lay_out(&self.raw_prompts(prompts)?)
    }

    /// The rows of raw prompts as the Q-Former reads them, `None` if it reads none: for
    /// [`query_with`](Blip2ForConditionalGeneration::query_with). They are padded behind the text.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../fixtures/instructblip_t5")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// let model = blip2.model();
    /// let pixel_values = blip2.processor().process(&image)?.tensor(blip2.device());
    /// let image_embeds = model.encode_image(pixel_values)?;
    /// let features = match blip2.instruction_rows(&["what is it?"])? {
    ///     Some(instructions) => model.query_with(image_embeds, &instructions)?, // an InstructBLIP
    ///     None => model.query(image_embeds)?,
    /// };
    /// assert_eq!(features.tensor().dims()[1], model.num_placeholders());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`prompt_rows`](Self::prompt_rows).
    pub fn instruction_rows<T: AsRef<str>>(
        &self,
        prompts: &[T],
    ) -> Result<Option<PromptRows>, Blip2Error> {
        self.inner.texts.instructions(&self.raw_prompts(prompts)?)
    }

    fn raw_prompts<T: AsRef<str>>(&self, prompts: &[T]) -> Result<Vec<Prompt>, Blip2Error> {
        let texts = &self.inner.texts;
        prompts
            .iter()
            .map(|prompt| texts.raw(prompt.as_ref()))
            .collect()
    }

    /// The template that questions are put into.
    pub fn template(&self) -> &Template {
        self.inner.texts.template()
    }

    /// A hash of everything that decides how a picture is encoded: the weights of the image side,
    /// their precision, and the preprocessing. Computed when it is first needed, by reading those
    /// weights once.
    pub fn fingerprint(&self) -> &str {
        const IMAGE_SIDE: [&str; 4] = [
            "vision_model.",
            "query_tokens",
            "qformer.",
            "language_projection.",
        ];
        self.inner.fingerprint.get_or_init(|| {
            let Blip2Config {
                vision_config,
                qformer_config,
                ..
            } = &self.inner.config;
            let (precision, processor) = (self.inner.precision.vision, self.processor().config());
            let rest = format!("{precision} {vision_config:?} {qformer_config:?} {processor:?}");
            self.inner.hash(&IMAGE_SIDE, &rest)
        })
    }
}
