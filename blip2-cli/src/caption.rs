//! `blip2 caption IMAGE…`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use blip2_core::{Answer, Blip2Pipeline, Options, open_image};
use serde_json::json;

use crate::{Failure, args::CaptionArgs, model};

/// What a folder's pictures end in.
const EXTENSIONS: [&str; 10] = [
    "png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm",
];

pub(crate) fn run(args: &CaptionArgs) -> Result<(), Failure> {
    let options = args.generation.options(None)?;
    let paths = expand(&args.images)?;
    let blip2 = model::open(&args.model)?;
    if let [path] = paths.as_slice()
        && !args.json
        && args.images == paths
    {
        let image = open_image(path).map_err(Failure::work)?;
        let answer = describe(&blip2, &[&image], args.prompt.as_deref(), &options)?;
        println!(
            "{}",
            answer.first().map_or("", |answer| answer.text.as_str())
        );
        return Ok(());
    }
    let failed = describe_all(&blip2, &paths, args, &options)?;
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
    args: &CaptionArgs,
    options: &Options,
) -> Result<usize, Failure> {
    let bar = model::bar(paths.len());
    let mut failed = 0;
    for chunk in paths.chunks(usize::from(args.batch)) {
        let mut opened = Vec::new();
        for path in chunk {
            match open_image(path) {
                Ok(image) => opened.push((path, image)),
                Err(error) => {
                    failed += 1;
                    let error = error.to_string();
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
    images: &[&image::RgbImage],
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

/// Files as they are, the pictures of folders, and what glob patterns match.
fn expand(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            paths.extend(pictures_in(argument)?);
        } else if argument.exists() {
            paths.push(argument.clone());
        } else {
            let text = argument.to_string_lossy();
            let matches = glob::glob(&text).map_err(Failure::usage)?;
            let before = paths.len();
            for path in matches {
                let path = path.map_err(Failure::work)?;
                if is_picture(&path) {
                    paths.push(path);
                }
            }
            if paths.len() == before {
                return Err(Failure::Work(format!(
                    "{text}: no such file or folder, and no picture matches it as a pattern"
                )));
            }
        }
    }
    Ok(paths)
}

fn pictures_in(folder: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| Failure::Work(format!("{}: {error}", folder.display())))?;
    let paths: BTreeSet<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_picture(path))
        .collect();
    if paths.is_empty() {
        let endings = EXTENSIONS.join(", ");
        return Err(Failure::Work(format!(
            "{}: holds no picture (file names that end in {endings})",
            folder.display()
        )));
    }
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    }) && path.is_file()
}
