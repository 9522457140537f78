//! Settings of a model, and loading it.

use std::{fmt, path::Path, sync::Arc};

use blip2_io::{
    CheckpointFolder, LoadReport,
    preprocessing::{DecodeOptions, Resizing},
};
use blip2_lm::generate::{CancelToken, GenerationConfig};
use burn::tensor::Device;

use super::{
    Load, LoadProgress, Loaded, Member, Settings,
    progress::Listener,
    source::Source,
    versions::{Version, Versions},
};
use crate::{
    device::default_device, error::Blip2Error, precision::PrecisionPlan, text::Template,
    whole::whole,
};

/// Settings of a model of any member of the family, and loading it; made by its type's `builder`.
///
/// Every member has the same settings. What one cannot do is refused by name when it is loaded, by
/// [`Blip2Error::Setting`]:
///
/// | setting | taken by |
/// |---|---|
/// | `device`, `model`, `adapter`, `named_adapter`, `copy_weights`, `progress`, `cancel` | all |
/// | `precision` | all; parts that a member lacks or always holds in `f32` must not be named |
/// | `decode_options`, `resizing` | all that read pictures |
/// | `generation` | [`Blip2Pipeline`](crate::Blip2Pipeline), [`BlipAnswerer`](crate::BlipAnswerer), [`BlipCaptioner`](crate::BlipCaptioner) |
/// | `image_size` | the same, and [`BlipRetrieval`](crate::BlipRetrieval) |
/// | `memory_limit` | [`Blip2Pipeline`](crate::Blip2Pipeline) and all of BLIP-1 |
/// | `template`, `speculative` | [`Blip2Pipeline`](crate::Blip2Pipeline) |
///
/// `SpeechPipeline` (feature `speech`) takes all but those of pictures.
///
/// ```no_run
/// use blip2_core::{Blip2Pipeline, Device, Precision};
///
/// let blip2 = Blip2Pipeline::builder("models/blip2-opt-2.7b")
///     .device(Device::flex())
///     .precision(Precision::F32)
///     .template("Question: {} Answer:".parse()?)
///     .progress(|progress| eprintln!("{progress}"))
///     .load()?;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[must_use = "nothing is loaded before `load`"]
pub struct Builder<P: Member> {
    source: Source<P::Config>,
    settings: Settings,
    model: Option<Box<P::Model>>,
}

impl<P: Member> Builder<P> {
    pub(crate) fn at(folder: &Path) -> Self {
        Self::with(Source::Path(folder.to_path_buf()))
    }

    pub(crate) fn of(folder: CheckpointFolder) -> Self {
        Self::with(Source::Folder(folder))
    }

    pub(crate) fn random(config: P::Config, seed: u64) -> Self {
        Self::with(Source::Random(Box::new(config), seed))
    }

    fn with(source: Source<P::Config>) -> Self {
        Self {
            source,
            settings: Settings::default(),
            model: None,
        }
    }

    /// Computes on this device. Default: the first CPU backend of this build, `flex` if it is
    /// enabled.
    pub fn device(mut self, device: Device) -> Self {
        self.settings.device = Some(device);
        self
    }

    /// Holds the vision tower's and the language model's matrices in this precision, or by a
    /// [`PrecisionPlan`] each in its own. Default: the checkpoint's own, where the device can
    /// compute with it. The Q-Former is always `f32`, and so is all of retrieval but its vision
    /// tower.
    pub fn precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.settings.precision = precision.into();
        self
    }

    /// Puts questions into this template. Default: the folder's `blip2.json`, or what the language
    /// model is used to.
    pub fn template(mut self, template: Template) -> Self {
        self.settings.template = Some(template);
        self
    }

    /// Generates with these arguments where a call has none of its own. Default: greedy, 20 new
    /// tokens.
    pub fn generation(mut self, generation: GenerationConfig) -> Self {
        self.settings.generation = Some(generation);
        self
    }

    /// The limits within which `open` and `decode` read files, and what becomes of transparency and
    /// animations. Default: see [`DecodeOptions`].
    pub fn decode_options(mut self, decode: DecodeOptions) -> Self {
        self.settings.decode = Some(decode);
        self
    }

    /// Refuses to load a model, or later to run a call, for which the program with this pipeline
    /// would take more than `bytes` of memory by the prediction of [`memory`](crate::memory).
    /// Default: what the machine has left when the model is loaded, and the control groups that the
    /// process runs in; none where that is not known, and none on a GPU, whose own memory is another
    /// matter.
    ///
    /// Each call is judged alone: what other pipelines or calls at the same time take is not
    /// counted. Whoever knows better gives `u64::MAX`.
    ///
    /// ```
    /// use blip2_core::{Blip2Error, Blip2Pipeline, Preset};
    ///
    /// let small = Blip2Pipeline::builder_random(Preset::Blip2FlanT5Xxl, 0).memory_limit(1 << 30);
    /// match small.load() {
    ///     Err(Blip2Error::Memory(error)) => assert!(error.predicted > error.allowed),
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// Looks at pictures at this height and width, in pixels, in place of the size that the
    /// checkpoint was trained at; the positions of patches are interpolated, as the reference does
    /// with `interpolate_pos_encoding`. Larger pictures show more and cost more.
    pub fn image_size(mut self, side: u32) -> Self {
        self.settings.image_size = Some(side);
        self
    }

    /// Resizes pictures by this arithmetic. Default: Pillow's, which the models were trained with;
    /// [`Resizing::Torchvision`] gives what `transformers` 5 does where torchvision is installed, and
    /// [`Resizing::Folder`] what the folder's own processor class names.
    pub fn resizing(mut self, resizing: Resizing) -> Self {
        self.settings.resizing = Some(resizing);
        self
    }

    /// Copies the weights into memory in place of mapping their files: for files that another
    /// program may change or cut while they are in use, as on shared storage. A mapped file that is
    /// cut ends the process that reads it. Default false.
    pub fn copy_weights(mut self, copied: bool) -> Self {
        self.settings.copied = copied;
        self
    }

    /// Puts the adapter (LoRA) on the model that PEFT, or training with this project, saved in this
    /// folder. Its small matrices stand beside the model's own, which are held in the precision asked
    /// for; DoRA's are merged. Opening the adapter's folder itself finds the model by the
    /// `base_model_name_or_path` that it names.
    ///
    /// ```
    /// use blip2_core::Blip2Pipeline;
    ///
    /// let blip2 = Blip2Pipeline::builder("../fixtures/blip2_opt") // "models/blip2-opt-2.7b"
    ///     .adapter("../fixtures/peft/opt_list") // "adapters/mine"
    ///     .load()?;
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    pub fn adapter(mut self, folder: impl AsRef<Path>) -> Self {
        self.settings.adapter = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Holds the adapter in this folder by a name, beside the model and others: any number of them share the
    /// model's own weights, and [`with_adapter`](crate::Blip2Pipeline::with_adapter) chooses one at the cost
    /// of a handle. Until then the model runs with none, or with the one whose name is `default`, as that of
    /// [`adapter`](Self::adapter) is.
    ///
    /// ```
    /// use blip2_core::Blip2Pipeline;
    ///
    /// let blip2 = Blip2Pipeline::builder("../fixtures/blip2_opt") // "models/blip2-opt-2.7b"
    ///     .named_adapter("cats", "../fixtures/peft/opt_list") // "adapters/cats"
    ///     .named_adapter("signs", "../fixtures/peft/opt_patterns")
    ///     .load()?;
    /// let (cats, signs) = (blip2.with_adapter("cats")?, blip2.with_adapter("signs")?);
    /// assert_eq!(cats.active_adapter(), Some("cats"));
    /// assert_eq!(signs.adapters().collect::<Vec<_>>(), ["cats", "signs"]);
    /// assert_eq!(signs.without_adapter().active_adapter(), None);
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    pub fn named_adapter(mut self, name: impl Into<String>, folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_path_buf();
        self.settings.named_adapters.push((name.into(), folder));
        self
    }

    /// Decodes speculatively: the same language model in `int4` writes a few tokens ahead, which the model
    /// itself checks in one pass ([`Speculative`](crate::generate::Speculative)). Answers are those of the
    /// model alone; where a step is bound by reading weights, in `f32`, `f16` and `bf16`, they come sooner,
    /// for the memory that a language model in `int4` takes. Default: no.
    ///
    /// It holds for single answers; batches and beam searches decode as ever.
    ///
    /// ```
    /// use blip2_core::Blip2Pipeline;
    ///
    /// let blip2 = Blip2Pipeline::builder("../blip2-cli/demo").speculative(true).load()?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// let answer = blip2.answer(&image, "what color is the shape?")?;
    /// assert_eq!(answer.text, "red");
    /// let (drafted, held) = (answer.timings.drafted, answer.timings.accepted);
    /// assert!(drafted >= held && drafted > Some(0));
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    pub fn speculative(mut self, speculative: bool) -> Self {
        self.settings.speculative = speculative;
        self
    }

    /// Runs this model, such as one that is being trained, in place of the folder's weights; of the
    /// folder the configuration, the tokenizer and the processor are read. The precision is then
    /// the model's own.
    pub fn model(mut self, model: P::Model) -> Self {
        self.model = Some(Box::new(model));
        self
    }

    /// Tells `listener` how far loading has come: once at the beginning, and after each tensor. It
    /// is called by the thread that loads.
    pub fn progress(mut self, listener: impl Fn(LoadProgress) + Send + Sync + 'static) -> Self {
        self.settings.listener = Some(Listener::new(listener));
        self
    }

    /// Stops loading when `cancel`, or a clone of it, is cancelled; checked before each tensor.
    /// [`load`](Self::load) then fails with [`Blip2Error::Cancelled`].
    ///
    /// ```
    /// use blip2_core::{Blip2Error, Blip2Pipeline, CancelToken, Preset};
    ///
    /// let cancel = CancelToken::new();
    /// cancel.cancel(); // from any thread
    /// let blip2 = Blip2Pipeline::builder_random(Preset::Blip2Opt2_7b, 0).cancel(cancel).load();
    /// assert!(matches!(blip2, Err(Blip2Error::Cancelled)));
    /// ```
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.settings.cancel = cancel;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Setting`] for a setting that the member does not take;
    /// [`Blip2Error::Memory`] before anything is allocated, if the model and one picture with a
    /// short prompt would not fit; [`Blip2Error::Cancelled`]; else [`Blip2Error`] naming the file,
    /// key or tensors at fault, an unsupported precision, or generation arguments that make no
    /// sense.
    pub fn load(self) -> Result<P, Blip2Error> {
        let _span = tracing::info_span!("stage", name = "load").entered();
        let Self {
            source,
            settings,
            model,
        } = self;
        if settings.cancel.is_cancelled() {
            return Err(Blip2Error::Cancelled);
        }
        let member = P::KINDS.first().map_or(P::NAME.into(), ToString::to_string);
        settings.check(P::TAKES, &member)?;
        let adapted = settings.adapter.is_some() || !settings.named_adapters.is_empty();
        if model.is_some() && adapted {
            return Err(Blip2Error::Setting {
                setting: "adapter",
                member,
                reason: "the model is given, with what it was adapted by".into(),
            });
        }
        if model.is_some() && settings.speculative {
            return Err(Blip2Error::Setting {
                setting: "speculative",
                member,
                reason: "the model is given, and nothing narrower of it".into(),
            });
        }
        let generation = settings.generation.clone();
        let mut generation = generation.unwrap_or_else(P::usual_generation);
        generation.validate()?;
        let device = match &settings.device {
            Some(device) => device.clone(),
            None => default_device()?,
        };
        settings.precision.check(&device)?;

        let opened = source.open::<P>(device, &settings)?;
        let adapters = opened.adapters.iter().map(|named| &*named.adapter);
        let settings = settings.in_template_of(adapters, P::TAKES, P::NAME)?;
        let texts = P::read_texts(&opened.folder, &opened.config, &settings)?;
        let pictures = P::read_pictures(&opened.folder, &opened.config, &settings)?;
        P::complete(&opened.folder, &opened.config, &mut generation)?;
        let memory = P::memory(&opened, &settings, &pictures, model.is_some())?;
        let (versions, report) = match model {
            Some(model) => {
                let plain = Version::plain(whole(*model)?, None);
                (Versions::of(plain), LoadReport::default())
            }
            None => opened.load::<P>(&settings)?,
        };
        if !report.unused.is_empty() {
            tracing::warn!(unused = ?report.unused, "the checkpoint holds tensors that the model does not read");
        }
        let Version {
            name,
            model,
            draft,
            adapter,
            fingerprint,
        } = versions.first().clone();
        Ok(P::of(Loaded {
            model,
            draft,
            config: opened.config,
            texts: Arc::new(texts),
            pictures: Arc::new(pictures),
            generation,
            device: opened.device,
            precision: settings.precision,
            memory: Arc::new(memory),
            origin: Arc::new(opened.origin),
            name,
            adapter,
            report,
            fingerprint,
            versions: Arc::new(versions),
        }))
    }
}

impl<P: Member> Clone for Builder<P> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            settings: self.settings.clone(),
            model: self.model.clone(),
        }
    }
}

impl<P: Member> fmt::Debug for Builder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("of", &<P as Load>::NAME)
            .field("source", &self.source)
            .field("settings", &self.settings)
            .field("model", &self.model.is_some())
            .finish()
    }
}
