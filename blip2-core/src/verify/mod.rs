//! The parity certificate: a checkpoint's every stage against goldens made by `transformers`.
//!
//! A folder to verify holds `golden.json` and mostly `golden.safetensors` beside a checkpoint, a
//! tokenizer, or pictures. Every stage and generation case in them is run and compared;
//! `docs/numerics.md` describes the format and the tolerances.
//!
//! ```no_run
//! use blip2_core::{Device, verify::{VerifyOptions, verify}};
//!
//! for report in verify("fixtures/blip2_opt", &VerifyOptions::new(Device::flex()))? {
//!     println!("{report}");
//!     assert!(report.passed());
//! }
//! # Ok::<(), blip2_core::verify::VerifyError>(())
//! ```

mod blip1;
mod clip;
mod compare;
mod features;
mod generation;
mod golden;
mod images;
mod loss;
mod prompts;
mod report;
mod retrieval;
mod stages;
mod tokenizers;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use blip2_io::{CheckpointFolder, config::ModelKind};
use blip2_kernels::Precision;
use burn::tensor::Device;
use serde_json::Value;

pub use report::{Check, Outcome, Report, Unchecked};

use golden::{Golden, Tolerance};

use crate::{Blip2Error, PrecisionPlan};

/// How to verify.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    device: Device,
    tolerance: f64,
    scores: f64,
    precision: PrecisionPlan,
}

impl VerifyOptions {
    /// Verifies on `device` in `f32`, within 1e-4: see [`tolerance`](Self::tolerance).
    pub fn new(device: Device) -> Self {
        Self {
            device,
            tolerance: 1e-4,
            scores: 1e-3,
            precision: Precision::F32.into(),
        }
    }

    /// Verifies on the device of this name, with the tolerances that it is held to: 1e-4 on CPUs
    /// and 1e-3 on GPUs, whose sums run in another order; and for beam scores 1e-3 on `flex`, the
    /// default device, and 1e-2 on all others.
    ///
    /// # Errors
    ///
    /// As [`device_by_name`](crate::device_by_name).
    pub fn on(device: &str) -> Result<Self, Blip2Error> {
        let options = Self::new(crate::device_by_name(device)?);
        Ok(match device {
            "flex" => options,
            "ndarray" => options.scores(1e-2),
            _ => options.tolerance(1e-3).scores(1e-2),
        })
    }

    /// How far a beam's score may be from the golden, absolutely. Default 1e-3.
    #[must_use]
    pub fn scores(mut self, bound: f64) -> Self {
        self.scores = bound;
        self
    }

    /// A stage passes if its largest absolute difference is at most `base × max(1, largest
    /// absolute value of the golden / 10)`; where the golden's own error against 64-bit floats is
    /// known, the base is at least four times that.
    #[must_use]
    pub fn tolerance(mut self, base: f64) -> Self {
        self.tolerance = base;
        self
    }

    /// Holds the model's matrices in this precision. The goldens are of `f32`: in a precision that
    /// rounds, how far each stage is from them is reported, not judged.
    #[must_use]
    pub fn precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
        self
    }

    fn rounds(&self) -> bool {
        let exact = |precision| matches!(precision, Precision::F32 | Precision::AsStored);
        !exact(self.precision.vision) || !exact(self.precision.language_model)
    }

    fn base(&self) -> Tolerance {
        Tolerance(self.tolerance)
    }
}

/// Why a folder could not be verified at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The folder holds no goldens.
    #[error(
        "{}: holds no golden.json, nor do the folders in it; there is nothing to verify against",
        .0.display()
    )]
    NoGolden(PathBuf),
    /// A file of goldens could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of goldens is damaged.
    #[error("{}: {detail}", .path.display())]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A golden is not what its name says.
    #[error("a golden is damaged: {0}")]
    Content(String),
    /// The checkpoint could not be loaded.
    #[error(transparent)]
    Model(#[from] Blip2Error),
}

impl VerifyError {
    fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    fn golden(detail: impl Into<String>) -> Self {
        Self::Content(detail.into())
    }
}

/// Verifies a folder, or each folder in it that holds goldens.
///
/// # Errors
///
/// [`VerifyError`] if there is nothing to verify or it cannot be read; what diverges is no error
/// but in the [`Report`]s.
pub fn verify(
    folder: impl AsRef<Path>,
    options: &VerifyOptions,
) -> Result<Vec<Report>, VerifyError> {
    let folder = folder.as_ref();
    if Golden::exists(folder) {
        return Ok(vec![verify_one(folder, options)?]);
    }
    let entries = fs::read_dir(folder).map_err(|error| VerifyError::read(folder, error))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|f| Golden::exists(f))
        .collect();
    if folders.is_empty() {
        return Err(VerifyError::NoGolden(folder.to_path_buf()));
    }
    folders.sort();
    folders
        .iter()
        .map(|folder| verify_one(folder, options))
        .collect()
}

fn verify_one(folder: &Path, options: &VerifyOptions) -> Result<Report, VerifyError> {
    let golden = Golden::open(folder)?;
    let mut report = Report::new(folder.display().to_string());
    report.rounds = options.rounds();
    if golden.json("images").is_some() {
        images::verify(folder, &golden, options, &mut report)?;
    } else if golden.json("encode").is_some() {
        tokenizers::verify(folder, &golden, &mut report)?;
    } else {
        model(folder, &golden, options, &mut report)?;
    }
    for key in golden.unseen() {
        report.skip(key, "this version has no check for it");
    }
    Ok(report)
}

/// Verifies the model that the folder holds, whichever member of the family it is.
fn model(
    path: &Path,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    // Goldens of another class of the same checkpoint lie in a folder of their own.
    if let Some(checkpoint) = golden.json("checkpoint").and_then(Value::as_str) {
        return features::verify(path, checkpoint, golden, options, report);
    }
    let folder = CheckpointFolder::open(path).map_err(Blip2Error::from)?;
    match folder.kind().map_err(Blip2Error::from)? {
        kind @ (ModelKind::ClipVision | ModelKind::ClipVisionProjected) => {
            clip::verify(&folder, kind, golden, options, report)
        }
        kind @ (ModelKind::BlipCaption | ModelKind::BlipAnswer | ModelKind::BlipRetrieval) => {
            blip1::verify(&folder, kind, golden, options, report)
        }
        ModelKind::Blip2Retrieval => retrieval::verify(path, golden, options, report),
        _ => stages::verify(path, golden, options, report),
    }
}
