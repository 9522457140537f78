//! What of a checkpoint is trained, and how it is held.

use blip2_core::{
    Blip2Error, CheckpointFolder, CheckpointWeights, LoadReport, ModelKind, Precision,
    PrecisionPlan,
    model::{
        Blip2ForConditionalGeneration, Blip2ForPretraining, BlipForConditionalGeneration,
        BlipForQuestionAnswering,
    },
};
use blip2_kernels::{PackedMatrix, TensorRequest, WeightSource, Weights};
use burn::{
    module::Module,
    tensor::{Device, TensorData},
};

use crate::{
    error::TrainError,
    fresh::{FreshWeights, HEAD, is_head},
    lora::{Lora, LoraConfig, Replaced},
    names::{NamePattern, Selection},
    trained::{TrainPlan, Trained},
};

/// What of a checkpoint is to be trained.
///
/// ```
/// use blip2_core::{CheckpointFolder, Precision};
/// use blip2_train::{LoraConfig, Training};
///
/// let folder = CheckpointFolder::open("../blip2-cli/demo")?;
/// // What stands between the image encoder and the language model, and adapters in the latter.
/// let trained = Training::of(&folder)?
///     .bridge()
///     .lora(LoraConfig::new(16, ["q_proj", "v_proj"]), 0)?
///     .precision(Precision::Int8)
///     .load()?;
/// for parameter in trained.parameters() {
///     println!("{} {:?}", parameter.name, parameter.shape);
/// }
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded before `load`"]
pub struct Training {
    folder: CheckpointFolder,
    device: Device,
    precision: PrecisionPlan,
    parts: Vec<NamePattern>,
    lora: Option<Lora>,
}

impl Training {
    /// Trains a checkpoint of BLIP-2, InstructBLIP or BLIP-1, or one of retrieval. What of it is said by
    /// [`part`](Self::part), [`bridge`](Self::bridge), [`queries`](Self::queries) and
    /// [`lora`](Self::lora).
    ///
    /// # Errors
    ///
    /// For a folder whose configuration cannot be read, or of a model that is not trained.
    pub fn of(folder: &CheckpointFolder) -> Result<Self, TrainError> {
        match folder.kind()? {
            ModelKind::BlipAnswer | ModelKind::BlipCaption => folder.blip_config().map(drop)?,
            _ => folder.config().map(drop)?,
        }
        Ok(Self {
            folder: folder.clone(),
            device: Device::flex(),
            precision: Precision::F32.into(),
            parts: Vec::new(),
            lora: None,
        })
    }

    /// Trains the parameters whose names `part` [matches](NamePattern), such as `qformer`,
    /// `query_tokens`, `language_projection`, `language_model` or `vision_model.encoder.layers.11`.
    pub fn part(mut self, part: impl Into<NamePattern>) -> Self {
        self.parts.push(part.into());
        self
    }

    /// Trains what the paper trains in the second stage: the Q-Former, its queries and the projection,
    /// between an image encoder and a language model that stay as they are.
    pub fn bridge(self) -> Self {
        self.part("qformer")
            .part("query_tokens")
            .part("language_projection")
    }

    /// Trains what the paper trains in the first stage, of a checkpoint of retrieval: everything but the
    /// image encoder.
    pub fn queries(mut self) -> Self {
        self.parts.extend(QUERIES.map(NamePattern::from));
        self
    }

    /// Trains new adapters; see [`Lora::fresh`].
    ///
    /// # Errors
    ///
    /// As [`Lora::fresh`].
    pub fn lora(self, config: LoraConfig, seed: u64) -> Result<Self, TrainError> {
        Ok(self.adapters(Lora::fresh(config, seed)?))
    }

    /// Trains these adapters.
    pub fn adapters(mut self, lora: Lora) -> Self {
        self.lora = Some(lora);
        self
    }

    /// Holds what is not trained in this precision: adapters can be trained over 8 or 4 bits. What
    /// is trained is always held in `f32`. Default `f32`.
    pub fn precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
        self
    }

    /// Computes on this device. Default: `flex`.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Loads a model that answers.
    ///
    /// # Errors
    ///
    /// [`TrainError::UnknownName`] for a part or a layer that the model does not have,
    /// [`TrainError::NothingTrains`] where none was named, and as loading for inference.
    pub fn load(self) -> Result<Trained<Blip2ForConditionalGeneration>, TrainError> {
        let config = self.folder.config()?;
        self.built(&["language_model"], |weights, precision| {
            Ok(Blip2ForConditionalGeneration::load(
                &config, weights, precision,
            )?)
        })
    }

    /// Loads a BLIP-1 that answers questions. Its parts are `vision_model`, `text_encoder` and
    /// `text_decoder`; adapters are usually for its layers `query` and `key`, or `qkv` of the image
    /// encoder.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and for a checkpoint of another kind.
    pub fn load_blip1_answerer(self) -> Result<Trained<BlipForQuestionAnswering>, TrainError> {
        self.check_kind(ModelKind::BlipAnswer)?;
        let config = self.folder.blip_config()?;
        self.built(&["text_encoder", "text_decoder"], |weights, precision| {
            Ok(BlipForQuestionAnswering::load(&config, weights, precision)?)
        })
    }

    /// Loads a BLIP-1 that describes pictures. Its parts are `vision_model` and `text_decoder`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and for a checkpoint of another kind.
    pub fn load_blip1_captioner(self) -> Result<Trained<BlipForConditionalGeneration>, TrainError> {
        self.check_kind(ModelKind::BlipCaption)?;
        let config = self.folder.blip_config()?;
        self.built(&["text_decoder"], |weights, precision| {
            Ok(BlipForConditionalGeneration::load(
                &config, weights, precision,
            )?)
        })
    }

    /// The model that `build` makes of the checkpoint. Gradients pass through the parts in `writing`
    /// whatever of them is trained, unless that is the image encoder's business alone; a packed matrix
    /// would be unpacked at every step.
    fn built<M: Module>(
        self,
        writing: &[&str],
        build: impl FnOnce(&Weights<'_>, PrecisionPlan) -> Result<M, TrainError>,
    ) -> Result<Trained<M>, TrainError> {
        self.precision.check(&self.device)?;
        let checkpoint = self.folder.checkpoint()?;
        let weights = CheckpointWeights::new(&checkpoint);
        let dense = match self.precision.language_model {
            Precision::F32 | Precision::AsStored => Selection::matching(writing.iter().copied()),
            _ => Selection::none(),
        };
        let plan = TrainPlan::new(Selection::Matching(self.parts.clone()))
            .with_dense(dense)
            .with_lora(self.lora.as_ref());
        let source = Replaced::new(&weights, self.lora.as_ref())?;
        let built = Trained::build(&source, &self.device, &plan, |weights| {
            build(weights, self.precision)
        });
        source.check()?;
        // What the checkpoint lacks is told by its own account, before the model's holes are.
        let _: LoadReport = weights.finish(&IGNORABLE)?;
        let built = built?.of_checkpoint(self.folder.path(), &self.parts, self.lora.as_ref())?;
        source.finish(&built.trained)?;
        Ok(built)
    }

    /// Loads a model of retrieval with the head that writes, for the first stage. The head and the
    /// contrast's temperature are the checkpoint's where it holds them, as one does that was trained
    /// here; else they begin anew, by random numbers that follow from `seed`. They always train. Of
    /// the [precision](Self::precision) only the image encoder's counts; all else is held in `f32`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and for a checkpoint of another kind.
    pub fn load_first_stage(self, seed: u64) -> Result<Trained<Blip2ForPretraining>, TrainError> {
        self.precision.check(&self.device)?;
        self.check_kind(ModelKind::Blip2Retrieval)?;
        let config = self.folder.config()?;
        if self.parts.is_empty() && self.lora.is_none() {
            let reason = "neither a part nor an adapter was named".into();
            return Err(TrainError::NothingTrains { reason });
        }
        let checkpoint = self.folder.checkpoint()?;
        let weights = WithHead {
            checkpoint: CheckpointWeights::new(&checkpoint),
            fresh: FreshWeights::new(&config, seed),
        };
        let parts = self.parts.iter().cloned();
        let plan = TrainPlan::new(Selection::matching(
            parts.chain(HEAD.map(NamePattern::from)),
        ))
        // Gradients pass through the Q-Former whatever of it is trained.
        .with_dense(Selection::except(["vision_model"]))
        .with_lora(self.lora.as_ref());
        let source = Replaced::new(&weights, self.lora.as_ref())?;
        let built = Trained::build(&source, &self.device, &plan, |weights| {
            let weights = weights.with_precision(self.precision.vision);
            Ok(Blip2ForPretraining::load(&config, &weights)?)
        });
        source.check()?;
        let _: LoadReport = weights.checkpoint.finish(&IGNORABLE)?;
        let built = built?.of_checkpoint(self.folder.path(), &self.parts, self.lora.as_ref())?;
        source.finish(&built.trained)?;
        Ok(built)
    }

    fn check_kind(&self, wanted: ModelKind) -> Result<(), TrainError> {
        let kind = self.folder.kind()?;
        if kind == wanted {
            return Ok(());
        }
        let (path, found) = (self.folder.path().to_path_buf(), kind);
        Err(Blip2Error::WrongModel {
            path,
            found,
            wanted,
        }
        .into())
    }
}

/// Duplicates of tied weights, and buffers of old versions, as inference passes over them.
const IGNORABLE: [&str; 6] = [
    "EncDecAttention.relative_attention_bias.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
    "position_ids",
    "embed_positions.weights",
];

/// What of a checkpoint of retrieval the first stage trains.
const QUERIES: [&str; 6] = [
    "qformer",
    "query_tokens",
    "embeddings",
    "itm_head",
    "vision_projection",
    "text_projection",
];

/// A checkpoint of retrieval, and the first stage's head where it has none.
struct WithHead<'c> {
    checkpoint: CheckpointWeights<'c>,
    fresh: FreshWeights,
}

impl WithHead<'_> {
    fn source(&self, name: &str) -> &dyn WeightSource {
        match is_head(name) && !self.checkpoint.contains(name) {
            true => &self.fresh,
            false => &self.checkpoint,
        }
    }
}

impl WeightSource for WithHead<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        self.source(request.name).tensor(request)
    }

    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        self.source(request.name).packed(request)
    }

    fn release(&self, request: &TensorRequest<'_>) {
        self.source(request.name).release(request);
    }

    fn contains(&self, name: &str) -> bool {
        self.source(name).contains(name)
    }

    fn differ(&self, name: &str, other: &str) -> bool {
        self.checkpoint.differ(name, other)
    }
}
