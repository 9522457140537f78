//! `blip2 embed IMAGE…`: feature vectors of pictures and texts.

pub(crate) mod features;
mod vectors;

use std::path::{Path, PathBuf};

use blip2_core::preprocessing::PixelValues;

use crate::{
    Failure,
    args::embed::EmbedArgs,
    asked, interrupt, model,
    pictures::{self, expand},
};
use features::Embedder;
pub(crate) use vectors::VectorFile;
use vectors::Vectors;

const ENDING: &str = "ending after this batch";

pub(crate) fn run(args: &EmbedArgs) -> Result<(), Failure> {
    let texts = match &args.texts {
        Some(file) => asked::lines(file)?,
        None => args.text.clone(),
    };
    if args.images.is_empty() {
        return of_texts(args, &texts);
    }
    let paths = expand(&args.images, args.folders.recursive)?;
    let inputs = paths.iter().chain(args.model.read());
    args.output.check_no_input(inputs.map(PathBuf::as_path))?;
    let embedder = Embedder::open(&args.model, "embed")?;
    let feature = embedder.feature(args.features)?;
    let stop = interrupt::watched(ENDING, || {})?;
    let mut vectors = Vectors::begin(&args.output, "image")?;
    let bar = model::bar(paths.len());
    let (mut failed, mut done) = (0, 0);
    for chunk in paths.chunks(usize::from(args.batch)) {
        if stop.is_cancelled() {
            break;
        }
        let mut batch = Vec::new();
        for path in chunk {
            let note = |note: &str| bar.suspend(|| note!("{note}"));
            match prepared(path, args, &embedder, note) {
                Ok(pictures) => batch.extend(pictures),
                Err(Failure::Work(error) | Failure::Usage(error)) => {
                    failed += 1;
                    note(&error);
                }
                Err(closed) => return Err(closed),
            }
        }
        // An animation's frames may be more than a batch.
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(usize::from(args.batch)));
            let (names, pixels): (Vec<String>, Vec<PixelValues>) = batch.into_iter().unzip();
            vectors.add(&names, &embedder.of_pictures(pixels, feature)?, &bar)?;
            batch = rest;
        }
        done += chunk.len();
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    if done < paths.len() {
        return vectors.interrupted(&format!("{done} of {} pictures", paths.len()));
    }
    vectors.finish()?;
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} of {} pictures have no features",
            paths.len()
        ))),
    }
}

fn of_texts(args: &EmbedArgs, texts: &[String]) -> Result<(), Failure> {
    let inputs = args.texts.iter().chain(args.model.read());
    args.output.check_no_input(inputs.map(PathBuf::as_path))?;
    let embedder = Embedder::open(&args.model, "embed")?;
    let stop = interrupt::watched(ENDING, || {})?;
    let mut vectors = Vectors::begin(&args.output, "text")?;
    let bar = model::bar(texts.len());
    let mut done = 0;
    for batch in texts.chunks(usize::from(args.batch)) {
        if stop.is_cancelled() {
            break;
        }
        vectors.add(batch, &embedder.of_texts(batch)?, &bar)?;
        done += batch.len();
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    match done < texts.len() {
        true => vectors.interrupted(&format!("{done} of {} texts", texts.len())),
        false => vectors.finish(),
    }
}

/// A file's pictures as the image encoder reads them, with their names: the file's, and of several
/// frames their numbers.
fn prepared(
    path: &Path,
    args: &EmbedArgs,
    embedder: &Embedder,
    note: impl Fn(&str),
) -> Result<Vec<(String, PixelValues)>, Failure> {
    let name = path.display().to_string();
    let images = pictures::open_named(path, &name, args.picture, note)?;
    let prepared = images.into_iter().map(|(name, image)| {
        let pixels = embedder.processor().process(&image);
        Ok((name, pixels.map_err(|error| named(path, error))?))
    });
    prepared.collect()
}

fn named(path: &Path, error: blip2_core::preprocessing::ImageError) -> Failure {
    let error = crate::words::words(&error);
    Failure::Work(format!("{}: {error}", path.display()))
}
