//! A folder, or each folder in it that holds goldens, by what they are goldens of.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use blip2_core::{Blip2Error, CheckpointFolder, ModelKind};
use serde_json::Value;

use crate::{
    blip1, clip,
    error::VerifyError,
    features,
    golden::Golden,
    images,
    options::VerifyOptions,
    report::{Outcome, Report},
    retrieval, stages, tokenizers, training,
};
#[cfg(feature = "speech")]
use crate::{recordings, speech};

/// Verifies a folder, or each folder in it that holds goldens. One of those that cannot be read fails by its
/// report, which has why, and the others are verified all the same.
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
    let entries = fs::read_dir(folder).map_err(|error| {
        let fault = match error.kind() {
            io::ErrorKind::NotADirectory => {
                io::Error::new(error.kind(), "a file, where a folder with goldens is due")
            }
            _ => error,
        };
        VerifyError::read(folder, fault)
    })?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|f| Golden::exists(f))
        .collect();
    if folders.is_empty() {
        return Err(VerifyError::NoGolden(folder.to_path_buf()));
    }
    folders.sort();
    let reports = folders.iter().map(|folder| {
        verify_one(folder, options).unwrap_or_else(|error| {
            let mut report = Report::new(folder.display().to_string());
            report.push("the folder", Outcome::failed(error));
            report
        })
    });
    Ok(reports.collect())
}

fn verify_one(folder: &Path, options: &VerifyOptions) -> Result<Report, VerifyError> {
    let golden = Golden::open(folder)?;
    let mut report = Report::new(folder.display().to_string());
    report.rounds = options.rounds();
    if golden.json("images").is_some() {
        images::verify(folder, &golden, &mut report)?;
    } else if golden.json("encode").is_some() {
        tokenizers::verify(folder, &golden, &mut report)?;
    } else if golden.json("extractor").is_some() {
        sounds(folder, &golden, options, &mut report)?;
    } else {
        model(folder, &golden, options, &mut report)?;
    }
    for key in golden.unseen() {
        report.skip(key, "this version has no check for it");
    }
    Ok(report)
}

#[cfg(feature = "speech")]
use recordings::verify as sounds;

#[cfg(not(feature = "speech"))]
fn sounds(_: &Path, _: &Golden, _: &VerifyOptions, report: &mut Report) -> Result<(), VerifyError> {
    report.skip(
        "sizes",
        "this build does not know sound (its feature `speech`)",
    );
    Ok(())
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
        return match golden.json("losses") {
            Some(_) => training::verify(path, checkpoint, golden, options, report),
            None => features::verify(path, checkpoint, golden, options, report),
        };
    }
    let folder = CheckpointFolder::open(path).map_err(Blip2Error::from)?;
    match folder.kind().map_err(Blip2Error::from)? {
        kind @ (ModelKind::ClipVision | ModelKind::ClipVisionProjected) => {
            clip::verify(&folder, kind, golden, options, report)
        }
        kind @ (ModelKind::BlipCaption | ModelKind::BlipAnswer | ModelKind::BlipRetrieval) => {
            blip1::verify(path, kind, golden, options, report)
        }
        ModelKind::Blip2Retrieval => retrieval::verify(path, golden, options, report),
        #[cfg(feature = "speech")]
        ModelKind::GraniteSpeech => speech::verify(path, golden, options, report),
        _ => stages::verify(path, golden, options, report),
    }
}
