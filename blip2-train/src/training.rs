//! What of a checkpoint is trained, and how it is held.

use blip2_core::{
    Blip2Config, Blip2Error, CheckpointFolder, CheckpointWeights, LoadReport, ModelKind, Precision,
    PrecisionPlan,
    model::{Blip2ForConditionalGeneration, Blip2ForPretraining},
};
use blip2_kernels::{PackedMatrix, TensorRequest, WeightSource};
use burn::tensor::{Device, TensorData};

use crate::{
    error::TrainError,
    fresh::FreshWeights,
    lora::{Lora, LoraConfig},
    names::{NamePattern, Selection, within},
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
    config: Blip2Config,
    device: Device,
    precision: PrecisionPlan,
    parts: Vec<NamePattern>,
    lora: Option<Lora>,
}

impl Training {
    /// Trains a checkpoint of BLIP-2 or InstructBLIP, or one of retrieval. What of it is said by
    /// [`part`](Self::part), [`bridge`](Self::bridge), [`queries`](Self::queries) and
    /// [`lora`](Self::lora).
    ///
    /// # Errors
    ///
    /// For a folder that cannot be read, or of another model.
    pub fn of(folder: &CheckpointFolder) -> Result<Self, TrainError> {
        Ok(Self {
            folder: folder.clone(),
            config: folder.config()?,
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

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// Loads a model that answers.
    ///
    /// # Errors
    ///
    /// [`TrainError::UnknownName`] for a part or a layer that the model does not have,
    /// [`TrainError::NothingTrains`] where none was named, and as loading for inference.
    pub fn load(self) -> Result<Trained<Blip2ForConditionalGeneration>, TrainError> {
        self.precision.check(&self.device)?;
        let checkpoint = self.folder.checkpoint()?;
        let weights = CheckpointWeights::new(&checkpoint);
        // Gradients pass through the language model whatever of it is trained, unless that is the
        // image encoder's business alone; a packed matrix would be unpacked at every step.
        let dense = match self.precision.language_model {
            Precision::F32 | Precision::AsStored => Selection::matching(["language_model"]),
            _ => Selection::none(),
        };
        let plan = TrainPlan::new(Selection::Matching(self.parts.clone()))
            .with_dense(dense)
            .with_lora(self.lora.as_ref());
        let built = Trained::build(&weights, &self.device, &plan, |weights| {
            let model = Blip2ForConditionalGeneration::load(&self.config, weights, self.precision);
            model.map_err(TrainError::from)
        });
        // What the checkpoint lacks is told by its own account, before the model's holes are.
        let _: LoadReport = weights.finish(&IGNORABLE)?;
        built?.of_checkpoint(self.folder.path(), &self.parts, self.lora.as_ref())
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
        self.check_retrieval()?;
        if self.parts.is_empty() && self.lora.is_none() {
            let reason = "neither a part nor an adapter was named".into();
            return Err(TrainError::NothingTrains { reason });
        }
        let checkpoint = self.folder.checkpoint()?;
        let weights = WithHead {
            checkpoint: CheckpointWeights::new(&checkpoint),
            fresh: FreshWeights::new(&self.config, seed),
        };
        let parts = self.parts.iter().cloned();
        let plan = TrainPlan::new(Selection::matching(
            parts.chain(HEAD.map(NamePattern::from)),
        ))
        // Gradients pass through the Q-Former whatever of it is trained.
        .with_dense(Selection::except(["vision_model"]))
        .with_lora(self.lora.as_ref());
        let built = Trained::build(&weights, &self.device, &plan, |weights| {
            let weights = weights.with_precision(self.precision.vision);
            Ok(Blip2ForPretraining::load(&self.config, &weights)?)
        });
        let _: LoadReport = weights.checkpoint.finish(&IGNORABLE)?;
        built?.of_checkpoint(self.folder.path(), &self.parts, self.lora.as_ref())
    }

    fn check_retrieval(&self) -> Result<(), TrainError> {
        let (kind, wanted) = (self.folder.kind()?, ModelKind::Blip2Retrieval);
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

/// What the first stage has beside a model of retrieval: the contrast's temperature, and the head that
/// writes.
const HEAD: [&str; 2] = ["temp", "cls.predictions"];

fn is_head(name: &str) -> bool {
    HEAD.iter()
        .any(|part| name == *part || within(part, name).is_some())
}

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
}
