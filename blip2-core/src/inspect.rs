//! What a checkpoint holds and what it would need, without loading it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use blip2_io::{
    CheckpointFolder, LoadReport,
    checkpoint::{PlannedTensor, WeightPlan},
    config::TextConfig,
};
use blip2_kernels::{Precision, Weights};

use crate::{
    Blip2Error, PrecisionPlan, default_device,
    memory::{MemoryPlan, Workload, belongs},
    model::Blip2ForConditionalGeneration,
};

/// A part of the model and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// `vision_model`, `qformer`, `language_projection` or `language_model`.
    pub name: &'static str,
    /// Its parameters; a table that serves twice counts once.
    pub parameters: u64,
}

/// What [`inspect`] found. Displays as a table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The folder.
    pub path: PathBuf,
    /// The class that the checkpoint was saved from.
    pub architecture: String,
    /// `opt` or `t5`.
    pub language_model: &'static str,
    /// The model's parts.
    pub parts: Vec<Part>,
    /// The bytes of all tensors in the files.
    pub bytes_on_disk: u64,
    /// What is missing, misshapen or unused.
    pub report: LoadReport,
    memory: MemoryPlan,
}

/// Reads a folder's configuration and the headers of its weights.
///
/// # Errors
///
/// As [`Blip2Pipeline::from_pretrained`](crate::Blip2Pipeline::from_pretrained), except that
/// missing and misshapen tensors are not an error but in the [report](Inspection::report).
pub fn inspect(folder: impl AsRef<Path>) -> Result<Inspection, Blip2Error> {
    let folder = CheckpointFolder::open(folder)?;
    let config = folder.config()?;
    let checkpoint = folder.checkpoint()?;
    let device = default_device()?;
    let plan = WeightPlan::new(&checkpoint);
    Blip2ForConditionalGeneration::load(
        &config,
        &Weights::new(&plan, &device),
        Precision::AsStored,
    )?;
    let memory = MemoryPlan::on(
        &config,
        Some(&checkpoint),
        PrecisionPlan::default(),
        &device,
    )?;
    let tensors = plan.tensors();
    let parts = [
        "vision_model",
        "qformer",
        "language_projection",
        "language_model",
    ];
    Ok(Inspection {
        path: folder.path().to_path_buf(),
        architecture: config.architectures.join(", "),
        language_model: match config.text_config {
            TextConfig::T5(_) => "t5",
            _ => "opt",
        },
        parts: parts
            .into_iter()
            .map(|name| Part {
                name,
                parameters: parameters(&tensors, name),
            })
            .collect(),
        bytes_on_disk: checkpoint.size(),
        report: plan.report(&crate::pipeline::IGNORABLE),
        memory,
    })
}

/// The parameters of a part.
fn parameters(tensors: &[PlannedTensor], part: &str) -> u64 {
    tensors
        .iter()
        .filter(|tensor| belongs(tensor, part))
        .map(PlannedTensor::parameters)
        .sum()
}

impl Inspection {
    /// All parameters together.
    pub fn parameters(&self) -> u64 {
        self.parts.iter().map(|part| part.parameters).sum()
    }

    /// For each precision the bytes that the weights take in memory. Of weights that are held as
    /// they are stored, nothing is copied out of the mapped file.
    pub fn memory(&self) -> Vec<(Precision, u64)> {
        self.in_every_precision(|plan| plan.weights(None))
    }

    /// For each precision the bytes that a process takes at its peak which runs `work`.
    pub fn peak_memory(&self, work: &Workload) -> Vec<(Precision, u64)> {
        self.in_every_precision(|plan| plan.predict(work).peak())
    }

    fn in_every_precision(&self, bytes: impl Fn(&MemoryPlan) -> u64) -> Vec<(Precision, u64)> {
        Precision::ALL
            .into_iter()
            .map(|precision| (precision, bytes(&self.memory.with_precision(precision))))
            .collect()
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        writeln!(f, "  {} with {}", self.architecture, self.language_model)?;
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
        let peaks = self.peak_memory(&Workload::default());
        for ((precision, bytes), (_, peak)) in self.memory().into_iter().zip(peaks) {
            let label = format!("in memory, {precision}");
            let (bytes, peak) = (grouped(bytes), grouped(peak));
            writeln!(
                f,
                "  {label:20} {bytes:>16} bytes; {peak} at the peak of a caption"
            )?;
        }
        write!(f, "  {}", self.report)
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
