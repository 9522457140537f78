//! What a checkpoint holds and what it would need, without loading it.

mod notes;
mod obstacles;
mod speech;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use blip2_io::{
    Checkpoint, CheckpointFolder, LoadReport,
    checkpoint::{PlannedTensor, WeightPlan},
    config::ModelKind,
};
use blip2_kernels::{Precision, Weights};
use blip2_lm::LanguageModel;
use blip2_vision::{ClipVisionModel, ClipVisionModelWithProjection};
use burn::tensor::Device;

use crate::{
    device::default_device,
    error::Blip2Error,
    family::ANSWERING,
    load::{IGNORABLE, IGNORABLE_BESIDE_RETRIEVAL, IGNORABLE_OF_ANSWERING, IGNORABLE_OF_SPEECH},
    memory::{MemoryPlan, Workload, belongs},
    model::{
        Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval, Blip2TextModelWithProjection,
        Blip2VisionModelWithProjection, BlipForConditionalGeneration, BlipForImageTextRetrieval,
        BlipForQuestionAnswering,
    },
    precision::PrecisionPlan,
};

/// A part of the model and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What its tensors' names begin with: `vision_model`, `qformer`, `language_model`, ….
    pub name: &'static str,
    /// Its parameters; a table that serves twice counts once.
    pub parameters: u64,
}

/// What [`inspect`] found. Displays as a table.
///
/// ```
/// use blip2_core::{Precision, inspect::inspect, memory::Workload};
///
/// let found = inspect("../blip2-cli/demo")?;
/// let held = |wanted| {
///     let bytes = found.memory().into_iter().find(|(precision, _)| *precision == wanted);
///     bytes.map(|(_, bytes)| bytes)
/// };
/// assert!(held(Precision::Int4) < held(Precision::Bf16)); // the weights …
/// let peaks = found.peak_memory(&Workload::default().with_batch(8));
/// assert_eq!(peaks.len(), Precision::ALL.len()); // … and the process at its peak
/// assert!(found.report.missing.is_empty());
/// println!("{found}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The folder.
    pub path: PathBuf,
    /// Which member of the family it holds, and so what it can do.
    pub kind: ModelKind,
    /// `opt`, `t5`, `llama` or `granite`, if the model has a language model.
    pub language_model: Option<&'static str>,
    /// The model's parts.
    pub parts: Vec<Part>,
    /// The bytes of all tensors in the files.
    pub bytes_on_disk: u64,
    /// The bytes of the adapter (LoRA) beside a model of sound, if there is one.
    pub adapter: Option<u64>,
    /// What is missing, misshapen or unused.
    pub report: LoadReport,
    /// What else stands between the folder and an answer: a tokenizer, a processor, or one of them
    /// that does not fit the model.
    pub obstacles: Vec<String>,
    /// What is odd about the folder and stands in nobody's way.
    pub notes: Vec<String>,
    /// The version of `transformers` that wrote the configuration, if it says it.
    pub transformers_version: Option<String>,
    tensors: Vec<PlannedTensor>,
    device: Device,
    /// What predicts the peak, where that is known.
    peak: Option<MemoryPlan>,
}

/// Reads a folder's configuration and the headers of its weights.
///
/// ```
/// use blip2_core::inspect::inspect;
///
/// let found = inspect("../blip2-cli/demo")?;
/// assert_eq!(found.language_model, Some("opt"));
/// for part in &found.parts {
///     println!("{}: {} parameters", part.name, part.parameters);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`Blip2Pipeline::from_pretrained`](crate::Blip2Pipeline::from_pretrained), except that
/// missing and misshapen tensors are not an error but in the [report](Inspection::report).
pub fn inspect(folder: impl AsRef<Path>) -> Result<Inspection, Blip2Error> {
    let folder = CheckpointFolder::open(folder)?;
    let kind = folder.kind()?;
    let checkpoint = folder.checkpoint()?;
    let device = default_device()?;
    let plan = WeightPlan::new(&checkpoint);
    let weights = Weights::new(&plan, &device);
    let language_model = build(&folder, kind, &checkpoint, &weights)?;
    let peak = MemoryPlan::of_folder(&folder, &checkpoint, &device)?;
    let (parts, ignorable) = account(kind);
    let tensors = plan.tensors();
    Ok(Inspection {
        path: folder.path().to_path_buf(),
        kind,
        language_model,
        parts: parts
            .iter()
            .map(|name| Part {
                name,
                parameters: parameters(&tensors, kind, name),
            })
            .collect(),
        bytes_on_disk: checkpoint.size(),
        adapter: speech::adapter(&folder, kind),
        report: plan.report(ignorable),
        obstacles: obstacles::of(&folder, kind),
        notes: notes::of(&folder, kind),
        transformers_version: folder.transformers_version()?,
        tensors,
        device,
        peak,
    })
}

/// Builds the folder's model of what `weights` give; returns the name of its language model.
fn build(
    folder: &CheckpointFolder,
    kind: ModelKind,
    checkpoint: &Checkpoint,
    weights: &Weights<'_>,
) -> Result<Option<&'static str>, Blip2Error> {
    let stored = PrecisionPlan::from(Precision::AsStored);
    match kind {
        ModelKind::ClipVision => {
            ClipVisionModel::load(&folder.clip_vision_config()?, weights)?;
        }
        ModelKind::ClipVisionProjected => {
            ClipVisionModelWithProjection::load(&folder.clip_vision_config()?, weights)?;
        }
        ModelKind::Blip2Retrieval => {
            Blip2ForImageTextRetrieval::build(&folder.config()?, weights)?;
        }
        ModelKind::Blip2Text => {
            Blip2TextModelWithProjection::build(&folder.config()?, weights)?;
        }
        ModelKind::Blip2Vision => {
            Blip2VisionModelWithProjection::build(&folder.config()?, weights)?;
        }
        kind if ANSWERING.contains(&kind) => {
            let config = folder.config()?;
            Blip2ForConditionalGeneration::build(&config, weights, stored)?;
            return Ok(Some(config.text_config.model_type()));
        }
        ModelKind::BlipCaption => {
            BlipForConditionalGeneration::build(&folder.blip_config()?, weights, stored)?;
        }
        ModelKind::BlipAnswer => {
            BlipForQuestionAnswering::build(&folder.blip_config()?, weights, stored)?;
        }
        ModelKind::BlipRetrieval => {
            BlipForImageTextRetrieval::build(&folder.blip_config()?, weights, stored)?;
        }
        ModelKind::GraniteSpeech => return speech::build(folder, checkpoint, weights).map(Some),
        kind if kind.is_language_model() => {
            let config = folder.text_config()?;
            LanguageModel::load(&config, weights)?;
            return Ok(Some(config.model_type()));
        }
        other => {
            return Err(Blip2Error::UnknownModel {
                path: folder.path().to_path_buf(),
                found: other,
            });
        }
    }
    Ok(None)
}

/// A model's parts in the order of the data, and what its checkpoints hold without it being read.
fn account(kind: ModelKind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        ModelKind::ClipVision => (&["vision_model"], &IGNORABLE),
        ModelKind::ClipVisionProjected => (&["vision_model", "visual_projection"], &IGNORABLE),
        ModelKind::Blip2Retrieval => (
            &[
                "vision_model",
                "qformer",
                "vision_projection",
                "embeddings",
                "text_projection",
                "itm_head",
            ],
            &IGNORABLE_BESIDE_RETRIEVAL,
        ),
        ModelKind::Blip2Text => (
            &["embeddings", "qformer", "text_projection"],
            // The reference gives this half queries too, and never reads them.
            &["query_tokens", "position_ids"],
        ),
        ModelKind::Blip2Vision => (
            &["vision_model", "qformer", "vision_projection"],
            &IGNORABLE,
        ),
        ModelKind::BlipCaption => (&["vision_model", "text_decoder"], &IGNORABLE),
        ModelKind::BlipAnswer => (
            &["vision_model", "text_encoder", "text_decoder"],
            &IGNORABLE,
        ),
        ModelKind::BlipRetrieval => (
            &[
                "vision_model",
                "text_encoder",
                "vision_proj",
                "text_proj",
                "itm_head",
            ],
            &IGNORABLE,
        ),
        ModelKind::GraniteSpeech => (
            &["encoder", "projector", "language_model"],
            &IGNORABLE_OF_SPEECH,
        ),
        kind if kind.is_language_model() => (&["language_model"], &IGNORABLE_OF_ANSWERING),
        _ => (
            &[
                "vision_model",
                "qformer",
                "language_projection",
                "language_model",
            ],
            &IGNORABLE_OF_ANSWERING,
        ),
    }
}

/// The parameters of a part; a tower or a language model that was saved alone is all there is.
fn parameters(tensors: &[PlannedTensor], kind: ModelKind, part: &str) -> u64 {
    let alone = kind == ModelKind::ClipVision || kind.is_language_model();
    tensors
        .iter()
        .filter(|tensor| alone || belongs(tensor, part))
        .map(PlannedTensor::parameters)
        .sum()
}

impl Inspection {
    /// Whether nothing that the model needs is missing.
    pub fn is_complete(&self) -> bool {
        self.report.is_complete() && self.obstacles.is_empty()
    }

    /// All parameters together.
    pub fn parameters(&self) -> u64 {
        self.parts.iter().map(|part| part.parameters).sum()
    }

    /// For each precision the bytes that the weights take in memory. Of weights that are held as
    /// they are stored, nothing is copied out of the mapped file.
    pub fn memory(&self) -> Vec<(Precision, u64)> {
        let bytes = |precision| {
            let tensors = self.tensors.iter();
            tensors.map(|t| t.bytes(precision, &self.device)).sum()
        };
        in_every_precision(bytes)
    }

    /// For each precision the bytes that a process takes at its peak which runs `work`; empty for
    /// BLIP-2's models without a language model, whose peak is not predicted.
    pub fn peak_memory(&self, work: &Workload) -> Vec<(Precision, u64)> {
        self.peak.as_ref().map_or_else(Vec::new, |plan| {
            in_every_precision(|precision| plan.with_precision(precision).predict(work).peak())
        })
    }
}

fn in_every_precision(bytes: impl Fn(Precision) -> u64) -> Vec<(Precision, u64)> {
    let all = Precision::ALL.into_iter();
    all.map(|precision| (precision, bytes(precision))).collect()
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        match self.language_model {
            Some(name) if !self.kind.is_language_model() => {
                writeln!(f, "  {} with {name}", self.kind)?;
            }
            _ => writeln!(f, "  {}", self.kind)?,
        }
        writeln!(f, "  can {}", self.kind.describe())?;
        if let Some(version) = &self.transformers_version {
            writeln!(f, "  written by transformers {}", version.escape_debug())?;
        }
        for Part { name, parameters } in &self.parts {
            writeln!(f, "  {name:20} {:>16} parameters", grouped(*parameters))?;
        }
        writeln!(
            f,
            "  {:20} {:>16} parameters",
            "together",
            grouped(self.parameters())
        )?;
        writeln!(
            f,
            "  {:20} {:>16} bytes",
            "on disk",
            grouped(self.bytes_on_disk)
        )?;
        if let Some(bytes) = self.adapter {
            let label = "adapter beside it";
            writeln!(
                f,
                "  {label:20} {:>16} bytes; put on where there is sound",
                grouped(bytes)
            )?;
        }
        let mut peaks = self.peak_memory(&Workload::default()).into_iter();
        for (precision, bytes) in self.memory() {
            let label = format!("in memory, {precision}");
            write!(f, "  {label:20} {:>16} bytes", grouped(bytes))?;
            match peaks.next() {
                Some((_, peak)) => {
                    let of = match self.kind {
                        ModelKind::BlipAnswer => "an answer",
                        ModelKind::BlipRetrieval => "a match",
                        ModelKind::GraniteSpeech => "an answer about ten seconds",
                        _ => "a caption",
                    };
                    writeln!(f, "; {} at the peak of {of}", grouped(peak))?;
                }
                None => writeln!(f)?,
            }
        }
        write!(f, "  {}", self.report)?;
        for obstacle in &self.obstacles {
            write!(f, "\n  in the way: {obstacle}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
