//! `blip2 caption IMAGE…`.

use std::path::{Path, PathBuf};

use blip2_core::{Answer, Blip2Pipeline, Options};
use serde_json::json;

use crate::{
    Failure,
    args::CaptionArgs,
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
    let blip2 = model::open(&args.model)?;
    if let [path] = paths.as_slice()
        && !args.json
        && args.images == paths
    {
        let image = Shown::open(path, frames)?;
        let answer = describe(&blip2, &[&image], args.prompt.as_deref(), &options)?;
        println!(
            "{}",
            answer.first().map_or("", |answer| answer.text.as_str())
        );
        return Ok(());
    }
    let failed = describe_all(&blip2, &paths, frames, args, &options)?;
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
    blip2: &Blip2Pipeline,
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
                Err(Failure::Work(error) | Failure::Usage(error)) => {
                    failed += 1;
                    bar.suspend(|| println!("{}", json!({ "image": path, "error": error })));
                }
            }
        }
        let images: Vec<_> = opened.iter().map(|(_, image)| image).collect();
        if !images.is_empty() {
            let answers = describe(blip2, &images, args.prompt.as_deref(), options)?;
            for ((path, _), answer) in opened.iter().zip(&answers) {
                bar.suspend(|| println!("{}", line(path, answer)));
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(failed)
}

fn describe(
    blip2: &Blip2Pipeline,
    images: &[&Shown],
    prompt: Option<&str>,
    options: &Options,
) -> Result<Vec<Answer>, Failure> {
    match prompt {
        None => blip2.caption_batch(images.iter().copied(), options),
        Some(prompt) => blip2.prompt_batch(images.iter().map(|image| (*image, prompt)), options),
    }
    .map_err(Failure::work)
}

fn line(path: &Path, answer: &Answer) -> serde_json::Value {
    json!({
        "image": path,
        "caption": answer.text,
        "confidence": answer.confidence(),
        "finish_reason": answer.finish_reason,
    })
}
