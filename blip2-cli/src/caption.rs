//! `blip2 caption IMAGE…`.

use std::path::{Path, PathBuf};

use blip2_core::{Answer, Options};
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
        let image = Shown::open(path, frames)?;
        let answer = captioner.describe(&[&image], args.prompt.as_deref(), &options)?;
        println!(
            "{}",
            answer.first().map_or("", |answer| answer.text.as_str())
        );
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
            match Shown::open(path, frames) {
                Ok(image) => opened.push((path, image)),
                Err(Failure::Work(error) | Failure::Usage(error) | Failure::Interrupted(error)) => {
                    failed += 1;
                    bar.suspend(|| println!("{}", json!({ "image": path, "error": error })));
                }
            }
        }
        let images: Vec<_> = opened.iter().map(|(_, image)| image).collect();
        if !images.is_empty() {
            let answers = captioner.describe(&images, args.prompt.as_deref(), options)?;
            for ((path, _), answer) in opened.iter().zip(&answers) {
                bar.suspend(|| println!("{}", line(path, answer)));
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(failed)
}

fn line(path: &Path, answer: &Answer) -> serde_json::Value {
    json!({
        "image": path,
        "caption": answer.text,
        "confidence": answer.confidence(),
        "finish_reason": answer.finish_reason,
    })
}
