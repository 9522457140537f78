//! `blip2 caption IMAGE…`.

use std::path::{Path, PathBuf};

use blip2_core::{Answer, Options};
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    Failure,
    args::CaptionArgs,
    family::Captioner,
    model,
    pictures::expand,
    shown::{self, Shown},
};

pub(crate) fn run(args: &CaptionArgs) -> Result<(), Failure> {
    let options = args.generation.options(None)?;
    let frames = shown::frames(&args.model);
    // A folder is one video, but many pictures.
    let paths = match frames {
        1 => expand(&args.images)?,
        _ => args.images.clone(),
    };
    let captioner = Captioner::open(&args.model)?;
    if let [path] = paths.as_slice()
        && !args.json
        && args.images == paths
    {
        let images = Shown::open(path, frames, args.picture, |note| note!("{note}"))?;
        for image in &images {
            let answer = captioner.describe(&[image], args.prompt.as_deref(), &options)?;
            say!(
                "{}",
                answer.first().map_or("", |answer| answer.text.as_str())
            );
        }
        return Ok(());
    }
    let failed = describe_all(&captioner, &paths, frames, args, &options)?;
    if failed > 0 {
        return Err(Failure::Work(format!(
            "{failed} of {} pictures have no caption",
            paths.len()
        )));
    }
    Ok(())
}

/// Captions batch by batch, a JSON line for each picture; returns how many failed.
fn describe_all(
    captioner: &Captioner,
    paths: &[PathBuf],
    frames: usize,
    args: &CaptionArgs,
    options: &Options,
) -> Result<usize, Failure> {
    let bar = model::bar(paths.len());
    let mut failed = 0;
    for chunk in paths.chunks(usize::from(args.batch)) {
        let mut opened = Vec::new();
        for path in chunk {
            let note = |note: &str| bar.suspend(|| note!("{note}"));
            match Shown::open(path, frames, args.picture, note) {
                Ok(images) => opened.extend(numbered(path, images)),
                Err(Failure::Work(error) | Failure::Usage(error)) => {
                    failed += 1;
                    let path = path.to_string_lossy();
                    print(&bar, &json!({ "image": path, "error": error }))?;
                }
                Err(closed) => return Err(closed),
            }
        }
        // An animation's frames may be more than a batch.
        for batch in opened.chunks(usize::from(args.batch)) {
            let images: Vec<_> = batch.iter().map(|(_, _, image)| image).collect();
            let answers = captioner.describe(&images, args.prompt.as_deref(), options)?;
            for ((path, frame, _), answer) in batch.iter().zip(&answers) {
                print(&bar, &line(path, *frame, answer))?;
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(failed)
}

/// Prints a line above the bar.
fn print(bar: &ProgressBar, line: &serde_json::Value) -> Result<(), Failure> {
    bar.suspend(|| {
        say!("{line}");
        Ok(())
    })
}

/// A file's pictures, numbered from 1 if they are several frames.
fn numbered(path: &Path, images: Vec<Shown>) -> Vec<(&Path, Option<usize>, Shown)> {
    let several = images.len() > 1;
    let images = images.into_iter().zip(1..);
    images
        .map(|(image, n)| (path, several.then_some(n), image))
        .collect()
}

fn line(path: &Path, frame: Option<usize>, answer: &Answer) -> serde_json::Value {
    let mut line = json!({
        "image": path.to_string_lossy(),
        "caption": answer.text,
        "confidence": answer.confidence(),
        "finish_reason": answer.finish_reason,
    });
    if let Some(frame) = frame {
        line["frame"] = json!(frame);
    }
    line
}
