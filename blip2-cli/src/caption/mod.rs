//! `blip2 caption IMAGE…`.

mod reading;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use blip2_core::{Answer, Options};
use serde_json::{Value, json};

use crate::{
    Failure,
    args::caption::CaptionArgs,
    family::Captioner,
    interrupt,
    pictures::expand,
    prompts::Prompts,
    records::{Output, Record, Schema, Sink, beside},
    shown::{self, Shown},
    source::url,
};
use reading::{Reading, locked};

pub(crate) fn run(args: &CaptionArgs) -> Result<(), Failure> {
    let options = args.generation.options(None)?;
    let frames = shown::frames(&args.model);
    let prompts = args.prompts.as_deref().map(Prompts::read).transpose()?;
    let paths = match (&prompts, frames) {
        (Some(prompts), _) if args.images.is_empty() => prompts.pictures.clone(),
        // A folder is one video, but many pictures.
        (_, 1) => expand(&args.images, args.folders.recursive)?,
        _ => args.images.clone(),
    };
    if let ([path], Output::Standard) = (paths.as_slice(), &args.output.to)
        && !args.json
        && args.images == paths
    {
        return describe_one(path, frames, prompts.as_ref(), args, &options);
    }
    if args.output.to == Output::Beside {
        check_apart(&paths)?;
    }
    let inputs = paths.iter().chain(&args.prompts).chain(args.model.read());
    let inputs = inputs.map(PathBuf::as_path);
    let sink = Sink::open(&args.output.to, schema(args), args.output.retry, inputs)?;
    let captioner = Captioner::open(&args.model)?;
    let stop = interrupt::watched("ending after those that are being captioned", || {})?;
    let reading = Reading::new(paths, args, frames, prompts, sink, stop);
    caption_all(&captioner, reading, usize::from(args.batch), &options)
}

/// Prints the caption of one picture alone.
fn describe_one(
    path: &Path,
    frames: usize,
    prompts: Option<&Prompts>,
    args: &CaptionArgs,
    options: &Options,
) -> Result<(), Failure> {
    let prompt = prompt(prompts, path, args);
    let images = Shown::open(path, frames, args.picture, |note| note!("{note}"))?;
    let captioner = Captioner::open(&args.model)?;
    for image in &images {
        for answer in captioner.describe(&[image], prompt, options)? {
            say!("{answer}");
            for other in &answer.alternatives {
                say!("{other}");
            }
        }
    }
    Ok(())
}

fn prompt<'a>(prompts: Option<&'a Prompts>, path: &Path, args: &'a CaptionArgs) -> Option<&'a str> {
    let own = prompts.and_then(|prompts| prompts.of(path));
    own.or(args.prompt.as_deref())
}

/// Refuses pictures whose captions would be in one file, or in none that can be named.
fn check_apart(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut texts = std::collections::HashMap::new();
    for path in paths {
        if let Some(url) = url(path) {
            return Err(Failure::Usage(format!(
                "{url}: no text can stand beside a URL; give --output a .jsonl or .csv file"
            )));
        }
        if let Some(other) = texts.insert(beside(path), path)
            && other != path
        {
            return Err(Failure::Usage(format!(
                "{} and {} would both have their caption in {}; give one of them, or --output a \
                 .jsonl or .csv file",
                other.display(),
                path.display(),
                beside(path).display()
            )));
        }
    }
    Ok(())
}

/// The columns of captions: those of further sequences are as many as are asked for.
fn schema(args: &CaptionArgs) -> Schema {
    let further = (2..=args.generation.sequences()).map(|n| format!("caption_{n}"));
    let columns = ["image", "frame", "caption"]
        .map(str::to_string)
        .into_iter();
    let rest = ["confidence", "finish_reason", "error"].map(str::to_string);
    Schema {
        keys: &["image", "frame"],
        result: "caption",
        columns: columns.chain(further).chain(rest).collect(),
    }
}

/// Captions picture after picture, as many at a time as the batch has places.
fn caption_all(
    captioner: &Captioner,
    reading: Reading,
    places: usize,
    options: &Options,
) -> Result<(), Failure> {
    let (shared, bar, stop) = (
        Arc::clone(&reading.shared),
        reading.bar.clone(),
        reading.stop.clone(),
    );
    let mut failed = 0;
    // The records of a file's frames are written at once.
    let mut records = Vec::new();
    let captioned = captioner.captions(reading, places, options, |result| {
        let Some(one) = locked(&shared.asked).pop_front() else {
            return Ok(());
        };
        failed += usize::from(result.is_err());
        records.push(record(&one.path, one.frame, &result));
        if one.is_last {
            locked(&shared.sink).write(&one.path, &records, &bar)?;
            records.clear();
            bar.inc(1);
        }
        Ok(())
    });
    // A bar that is finished stands at its end.
    let (done, paths) = (bar.position(), bar.length().unwrap_or(0));
    bar.finish_and_clear();
    captioned?;
    let sink = locked(&shared.sink);
    if stop.is_cancelled() {
        return Err(Failure::Interrupted(format!(
            "interrupted: {done} of {paths} pictures are done; {}",
            sink.way_on()
        )));
    }
    match failed + sink.failed_before() {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} of {paths} pictures have no caption"
        ))),
    }
}

fn record(path: &Path, frame: Option<usize>, result: &Result<Answer, String>) -> Record {
    let mut record = Record::new();
    let mut set = |key: &str, value: Value| {
        record.insert(key.to_string(), value);
    };
    set("image", json!(path.to_string_lossy()));
    match result {
        Ok(answer) => {
            set("caption", json!(answer.text));
            for (n, other) in (2..).zip(&answer.alternatives) {
                set(&format!("caption_{n}"), json!(other.text));
            }
            set("confidence", json!(answer.confidence()));
            set("finish_reason", json!(answer.finish_reason));
        }
        Err(error) => set("error", json!(error)),
    }
    if let Some(frame) = frame {
        set("frame", json!(frame));
    }
    record
}
