//! The prediction itself.

use std::fmt;

#[cfg(feature = "speech")]
use blip2_io::config::GraniteSpeechConfig;
use blip2_io::{
    Adapter, Checkpoint, CheckpointFolder,
    checkpoint::{PlannedTensor, WeightPlan},
    config::{Blip2Config, BlipConfig, ModelKind},
};
use blip2_kernels::{Precision, Role, Weights, device as gpu, packs, rows_at_once};
use burn::tensor::{DType, Device};

use super::{
    Workload,
    activations::{By, Products},
    planned::{Planned, Stages},
};
use crate::{
    device::{default_device, is_host},
    error::Blip2Error,
    family::{ANSWERING, BLIP1},
    model::has_tied_head,
    precision::PrecisionPlan,
};

/// What a language model that writes ahead is held in.
pub(crate) const DRAFT: Precision = Precision::Int4;

/// What the program itself takes: its threads and its tokenizer. Its code is not counted, which is its file's.
pub(super) const PROCESS: u64 = 12 << 20;
/// What the image encoder cannot use, at most, of memory that preparing pictures gave back: what
/// the allocator keeps in other pieces than are needed.
const KEPT_FROM_PREPROCESS: u64 = 12 << 20;
/// The same of the language model and the image encoder.
const KEPT_FROM_IMAGE: u64 = 12 << 20;

/// A model's tensors and the precision that they will be held in.
///
/// ```
/// use blip2_core::{Precision, memory::MemoryPlan};
///
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// let wide: &MemoryPlan = blip2.memory(); // or `MemoryPlan::new`, of a configuration alone
/// let narrow = wide.with_precision(Precision::Int8);
/// assert!(narrow.weights(Some("language_model")) < wide.weights(Some("language_model")));
/// assert_eq!(narrow.weights(Some("qformer")), wide.weights(Some("qformer"))); // always in f32
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryPlan {
    model: Planned,
    tensors: Vec<PlannedTensor>,
    device: Device,
    precision: PrecisionPlan,
    /// What adapters take beside them.
    adapters: u64,
    /// The tensors of which an adapter holds another version: the matrices that DoRA is merged into.
    merged: Vec<PlannedTensor>,
    /// Whether the language model is held a second time, to write ahead.
    draft: bool,
}

impl MemoryPlan {
    /// The plan of a model of this configuration on the default CPU device. With
    /// [`Precision::AsStored`], of a file that stores `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn new(
        config: &Blip2Config,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        Self::on(config, None, precision.into(), &default_device()?)
    }

    /// The plan of what `checkpoint` holds, or of the configuration alone.
    pub(crate) fn on(
        config: &Blip2Config,
        checkpoint: Option<&Checkpoint>,
        precision: PrecisionPlan,
        device: &Device,
    ) -> Result<Self, Blip2Error> {
        let plan = match checkpoint {
            Some(checkpoint) => WeightPlan::new(checkpoint),
            None if has_tied_head(config) => {
                WeightPlan::without_checkpoint().without("lm_head.weight")
            }
            None => WeightPlan::without_checkpoint(),
        };
        let model = Planned::Blip2(Box::new(config.clone()));
        Self::of(model, &plan, precision, device)
    }

    /// The plan of a BLIP-1 of this kind and configuration on the default CPU device: one that
    /// [answers](ModelKind::BlipAnswer), [describes](ModelKind::BlipCaption) or
    /// [compares](ModelKind::BlipRetrieval). With [`Precision::AsStored`], of a file that stores `f32`.
    ///
    /// ```
    /// use blip2_core::{ModelKind, Precision, config::BlipConfig, memory::{MemoryPlan, Workload}};
    ///
    /// let config = BlipConfig::default(); // ViT-B/16 at 384 pixels
    /// let plan = MemoryPlan::of_blip1(&config, ModelKind::BlipAnswer, Precision::F32)?;
    /// let one = plan.predict(&Workload::default()).peak();
    /// let many = plan.predict(&Workload::default().with_batch(16)).peak();
    /// assert!(one > 1_400_000_000 && many > one);
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Setting`] for a kind that is no BLIP-1, and for a configuration that makes no sense.
    pub fn of_blip1(
        config: &BlipConfig,
        kind: ModelKind,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        if !BLIP1.contains(&kind) {
            return Err(Blip2Error::Setting {
                setting: "kind",
                member: "MemoryPlan::of_blip1".into(),
                reason: format!("{kind} is no BLIP-1"),
            });
        }
        Self::of_blip1_on(config, kind, None, precision.into(), &default_device()?)
    }

    /// The plan of what `checkpoint` holds of a BLIP-1, or of the configuration alone.
    pub(crate) fn of_blip1_on(
        config: &BlipConfig,
        kind: ModelKind,
        checkpoint: Option<&Checkpoint>,
        precision: PrecisionPlan,
        device: &Device,
    ) -> Result<Self, Blip2Error> {
        let plan = checkpoint.map_or_else(WeightPlan::without_checkpoint, WeightPlan::new);
        let model = Planned::Blip1(Box::new(config.clone()), kind);
        Self::of(model, &plan, precision, device)
    }

    /// The plan of a Granite Speech of this configuration on the default CPU device. With
    /// [`Precision::AsStored`], of a file that stores `f32`. Adapters are not counted.
    ///
    /// ```
    /// use blip2_core::{Precision, config::GraniteSpeechConfig, memory::{MemoryPlan, Workload}};
    ///
    /// let config: GraniteSpeechConfig =
    ///     serde_json::from_str(r#"{ "projector_config": { "encoder_hidden_size": 1024 } }"#)?;
    /// let plan = MemoryPlan::of_speech(&config, Precision::Bf16)?;
    /// let seconds = |seconds: usize| plan.predict(&Workload::default().with_sound_frames(50 * seconds)).peak();
    /// assert!(seconds(600) > seconds(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    #[cfg(feature = "speech")]
    pub fn of_speech(
        config: &GraniteSpeechConfig,
        precision: impl Into<PrecisionPlan>,
    ) -> Result<Self, Blip2Error> {
        Self::of_speech_on(config, None, precision.into(), &default_device()?)
    }

    /// The plan of what `checkpoint` holds of a Granite Speech, or of the configuration alone.
    #[cfg(feature = "speech")]
    pub(crate) fn of_speech_on(
        config: &GraniteSpeechConfig,
        checkpoint: Option<&Checkpoint>,
        precision: PrecisionPlan,
        device: &Device,
    ) -> Result<Self, Blip2Error> {
        let plan = match checkpoint {
            Some(checkpoint) => WeightPlan::new(checkpoint),
            None if config.tie_word_embeddings => {
                WeightPlan::without_checkpoint().without("lm_head.weight")
            }
            None => WeightPlan::without_checkpoint(),
        };
        let model = Planned::Speech(Box::new(config.clone()));
        Self::of(model, &plan, precision, device)
    }

    /// The plan of the folder of a member whose memory is predicted.
    pub(crate) fn of_folder(
        folder: &CheckpointFolder,
        checkpoint: &Checkpoint,
        device: &Device,
    ) -> Result<Option<Self>, Blip2Error> {
        let (kind, stored) = (folder.kind()?, PrecisionPlan::default());
        let checkpoint = Some(checkpoint);
        if ANSWERING.contains(&kind) {
            return Self::on(&folder.config()?, checkpoint, stored, device).map(Some);
        }
        if BLIP1.contains(&kind) {
            let config = folder.blip_config()?;
            return Self::of_blip1_on(&config, kind, checkpoint, stored, device).map(Some);
        }
        #[cfg(feature = "speech")]
        if kind == ModelKind::GraniteSpeech {
            let config = folder.speech_config()?;
            return Self::of_speech_on(&config, checkpoint, stored, device).map(Some);
        }
        Ok(None)
    }

    fn of(
        model: Planned,
        plan: &WeightPlan<'_>,
        precision: PrecisionPlan,
        device: &Device,
    ) -> Result<Self, Blip2Error> {
        model.build(&Weights::new(plan, device))?;
        Ok(Self {
            model,
            tensors: plan.tensors(),
            device: device.clone(),
            precision,
            adapters: 0,
            merged: Vec::new(),
            draft: false,
        })
    }

    /// The same model with adapters, which all stand beside it at the same time.
    #[must_use]
    pub(crate) fn with_adapters<'a>(mut self, adapters: impl Iterator<Item = &'a Adapter>) -> Self {
        for adapter in adapters {
            self.adapters += adapter.size();
            if adapter.config().use_dora {
                let merged = self.tensors.iter().filter(|tensor| adapts(adapter, tensor));
                let merged: Vec<_> = merged.cloned().map(unpacked).collect();
                self.merged.extend(merged);
            }
        }
        self
    }

    /// What adapters take beside the model's own tensors.
    fn adapted(&self) -> u64 {
        let merged = self.merged.iter();
        let merged = merged.map(|tensor| tensor.bytes(self.held(tensor), &self.device));
        self.adapters + merged.sum::<u64>()
    }

    /// The same model with, or without, a draft of its language model.
    #[must_use]
    pub(crate) fn with_draft(self, draft: bool) -> Self {
        Self { draft, ..self }
    }

    /// The bytes of the draft's tensors.
    fn draft(&self) -> u64 {
        let tensors = self.tensors.iter().filter(|_| self.draft);
        tensors
            .filter(|tensor| belongs(tensor, "language_model"))
            .map(|tensor| tensor.bytes(DRAFT, &self.device))
            .sum()
    }

    /// The same model in another precision.
    #[must_use]
    pub fn with_precision(&self, precision: impl Into<PrecisionPlan>) -> Self {
        Self {
            precision: precision.into(),
            ..self.clone()
        }
    }

    /// The precision.
    pub fn precision(&self) -> PrecisionPlan {
        self.precision
    }

    /// The bytes that a part's tensors take as they are held; `None` for all parts.
    pub fn weights(&self, part: Option<&str>) -> u64 {
        self.bytes(|tensor| part.is_none_or(|part| belongs(tensor, part)))
    }

    /// The bytes that the tensors take as they are held whose full names `wanted` picks.
    pub fn weights_named(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.bytes(|tensor| wanted(&tensor.name))
    }

    fn bytes(&self, wanted: impl Fn(&PlannedTensor) -> bool) -> u64 {
        self.tensors
            .iter()
            .filter(|tensor| wanted(tensor))
            .map(|tensor| tensor.bytes(self.held(tensor), &self.device))
            .sum()
    }

    /// Whether the model reads sound, and not pictures.
    pub(super) fn reads_sound(&self) -> bool {
        self.model.reads_sound()
    }

    /// The precision that a tensor is held in, if it follows any.
    fn held(&self, tensor: &PlannedTensor) -> Precision {
        if belongs(tensor, self.model.encoder()) {
            self.precision.vision
        } else if self.model.texts().iter().any(|part| belongs(tensor, part)) {
            self.precision.language_model
        } else {
            Precision::F32
        }
    }

    /// How the products of some parts are computed.
    fn products(&self, parts: &[&str]) -> Products {
        let by = if packs(&self.device) {
            By::Processor
        } else if gpu::is_served(&self.device) {
            let halves = gpu::has_matrix_units(&self.device);
            By::Gpu { halves }
        } else {
            By::Burn
        };
        // Without kernels a narrow matrix is widened to `f32` for its product and dropped after it:
        // one at a time, so that the largest counts. A GPU makes `f16` of integers for matrix units
        // that this crate's kernels do not know.
        let wide = match by {
            By::Processor | By::Gpu { halves: false } => 0,
            By::Gpu { .. } if gpu::multiplies_as_held(&self.device) => 0,
            By::Gpu { halves: true } => 2,
            By::Burn => 4,
        };
        let narrow = |tensor: &&PlannedTensor| {
            let bytes = tensor.bytes(self.held(tensor), &self.device);
            let multiplied = matches!(tensor.role, Role::Matrix | Role::Head);
            multiplied && bytes < wide * tensor.parameters()
        };
        let widened = self
            .tensors
            .iter()
            .filter(|tensor| parts.iter().any(|part| belongs(tensor, part)))
            .filter(narrow)
            .map(|tensor| wide * tensor.parameters())
            .max();
        Products {
            by,
            doubles: self.device.supports_dtype(DType::F64),
            widened: widened.unwrap_or(0),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            at_once: rows_at_once(&self.device),
        }
    }

    /// What a process that runs `work` takes at its peak: within a tenth, but for models of a few
    /// megabytes, where the allocator's habits show. On a GPU, what tensors take of its memory, and
    /// nothing of the machine's own.
    pub fn predict(&self, work: &Workload) -> MemoryPrediction {
        let size = work.image_size.unwrap_or(self.model.size());
        let Stages {
            vision,
            qformer,
            text,
        } = self.model.stages(work, size, |parts| self.products(parts));
        // The draft has caches of its own.
        let drafted = if self.draft { text.caches } else { 0 };
        // Pictures are prepared by the processor.
        let on_gpu = self.is_on_gpu();
        let (process, preprocess) = match on_gpu {
            true => (0, 0),
            false => (PROCESS, self.model.preprocess(work, size)),
        };
        MemoryPrediction {
            process,
            weights: self.weights(None) + self.adapted() + self.draft(),
            preprocess,
            vision,
            qformer,
            prefill: text.prefill + drafted,
            decode: text.decode + drafted,
            caches: text.caches + drafted,
            explained: self.model.explained(work, size, self.widest()),
            on_gpu,
        }
    }

    /// The largest of the weights as they are held: its name and its bytes.
    pub(super) fn largest_weight(&self) -> Option<(&str, u64)> {
        let weights = self.tensors.iter().map(|tensor| {
            let bytes = tensor.bytes(self.held(tensor), &self.device);
            (tensor.name.as_str(), bytes)
        });
        weights.max_by_key(|(_, bytes)| *bytes)
    }

    /// The largest tensor that `work` makes: what it is, and its bytes.
    pub(super) fn largest_piece(&self, work: &Workload) -> Option<(&'static str, u64)> {
        let size = work.image_size.unwrap_or(self.model.size());
        self.model.largest_piece(work, size)
    }

    /// Whether a GPU's memory is what is planned.
    pub(super) fn is_on_gpu(&self) -> bool {
        !is_host(&self.device)
    }

    /// The largest matrix in `f32`.
    fn widest(&self) -> u64 {
        let matrices = self.tensors.iter();
        let matrices = matrices.filter(|tensor| matches!(tensor.role, Role::Matrix | Role::Head));
        let bytes = matrices.map(|tensor| 4 * tensor.parameters());
        bytes.max().unwrap_or(0)
    }
}

impl fmt::Debug for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPlan")
            .field("tensors", &self.tensors.len())
            .field("precision", &self.precision)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Whether an adapter changes a layer's matrix.
fn adapts(adapter: &Adapter, tensor: &PlannedTensor) -> bool {
    let Some(layer) = tensor.name.strip_suffix(".weight") else {
        return false;
    };
    let mut layers = adapter.layers();
    layers.any(|own| Adapter::name_in(own, |name| name == layer).is_some())
}

/// A tensor that was merged with something, and so is in no file's format any more.
fn unpacked(mut tensor: PlannedTensor) -> PlannedTensor {
    tensor.packed = None;
    tensor
}

/// Whether a tensor belongs to a part; the query tokens belong to the Q-Former.
pub(crate) fn belongs(tensor: &PlannedTensor, part: &str) -> bool {
    let name = tensor.name.split('.').next().unwrap_or_default();
    name == part || (name == "query_tokens" && part == "qformer")
}

/// The memory that a process takes, in bytes: its own and the weights' all the time, and what each
/// stage takes beside them while it runs.
///
/// ```
/// use blip2_core::{Precision, Preset, memory::{MemoryPlan, Workload}};
///
/// let plan = MemoryPlan::new(&Preset::Blip2Opt2_7b.config(), Precision::Bf16)?;
/// let greedy = plan.predict(&Workload::default());
/// let beams = plan.predict(&Workload::default().with_beams(5));
/// assert!(beams.caches > greedy.caches); // the positions of five sequences …
/// assert_eq!(beams.image_peak(), greedy.image_peak()); // … of one picture
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPrediction {
    /// What the program itself takes, without its code.
    pub process: u64,
    /// The weights as they are held.
    pub weights: u64,
    /// Preparing pictures or sounds.
    pub preprocess: u64,
    /// The image encoder, or that of sound.
    pub vision: u64,
    /// The Q-Former and the projection.
    pub qformer: u64,
    /// Reading the prompts, the caches included.
    pub prefill: u64,
    /// Decoding, the caches included.
    pub decode: u64,
    /// Of decoding, the keys and values of all positions.
    pub caches: u64,
    /// Explaining a token by gradients ([`Method::Relevance`](crate::explain::Method::Relevance)): what
    /// all layers keep until the backward pass has used it.
    pub explained: u64,
    /// Whether all this is in a GPU's memory, whose allocator gives back what is freed.
    on_gpu: bool,
}

impl MemoryPrediction {
    /// The most that is taken at any time.
    pub fn peak(&self) -> u64 {
        self.image_peak().max(self.text_peak())
    }

    /// The most that is taken while pictures are encoded.
    pub fn image_peak(&self) -> u64 {
        // Stages follow one another, so the largest counts and not the sum; but what a stage freed
        // is not all of use to the next, since the allocator keeps it in pieces.
        let kept = self.preprocess.min(KEPT_FROM_PREPROCESS);
        self.process + self.weights + (kept + self.vision).max(self.preprocess).max(self.qformer)
    }

    /// The most that is taken while a token is explained by gradients.
    pub fn explained_peak(&self) -> u64 {
        let kept = self.preprocess.min(KEPT_FROM_PREPROCESS);
        self.process + self.weights + kept + self.explained
    }

    /// The most that is taken while text is generated.
    pub fn text_peak(&self) -> u64 {
        let kept = match self.on_gpu {
            true => 0,
            false => self.preprocess.max(self.vision).min(KEPT_FROM_IMAGE),
        };
        self.process + self.weights + kept + self.prefill.max(self.decode)
    }
}
