//! `blip2 caption IMAGE…`.

use std::path::{Path, PathBuf};

use blip2_core::{Answer, CancelToken, Options};
use serde_json::{Value, json};

use crate::{
    Failure,
    args::{CaptionArgs, FrameChoice},
    family::Captioner,
    interrupt, model,
    pictures::expand,
    prompts::Prompts,
    records::{Output, Record, Schema, Sink, beside},
    shown::{self, Shown},
    source::url,
};

pub(crate) fn run(args: &CaptionArgs) -> Result<(), Failure> {
    let options = args.generation.options(None)?;
    let frames = shown::frames(&args.model);
    let prompts = args.prompts.as_deref().map(Prompts::read).transpose()?;
    let paths = match (&prompts, frames) {
        (Some(prompts), _) if args.images.is_empty() => prompts.pictures.clone(),
        // A folder is one video, but many pictures.
        (_, 1) => expand(&args.images, args.recursive)?,
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
    let inputs = paths.iter().chain(&args.prompts).map(PathBuf::as_path);
    let sink = Sink::open(&args.output.to, schema(args), args.output.retry, inputs)?;
    let captioner = Captioner::open(&args.model)?;
    let stop = interrupt::watched("ending after this batch", || {})?;
    let work = Work {
        args,
        options,
        frames,
        prompts,
        captioner,
        sink,
        failed: 0,
    };
    work.run(&paths, &stop)
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
        if path.to_str().is_none() {
            return Err(Failure::Work(format!(
                "{}: the name is no UTF-8, and its caption's would not be the same; rename the file",
                path.display()
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

/// A picture, or a frame of one, on its way to its caption.
struct Item<'p> {
    path: &'p Path,
    frame: Option<usize>,
    image: Result<Shown, String>,
    /// It has its caption already.
    is_done: bool,
}

/// Captions batch by batch.
struct Work<'a> {
    args: &'a CaptionArgs,
    options: Options,
    frames: usize,
    prompts: Option<Prompts>,
    captioner: Captioner,
    sink: Sink,
    failed: usize,
}

impl Work<'_> {
    fn run(mut self, paths: &[PathBuf], stop: &CancelToken) -> Result<(), Failure> {
        let bar = model::bar(paths.len());
        for (n, chunk) in paths.chunks(usize::from(self.args.batch)).enumerate() {
            if stop.is_cancelled() {
                bar.finish_and_clear();
                return Err(Failure::Interrupted(format!(
                    "interrupted: {} of {} pictures are done; {}",
                    n * usize::from(self.args.batch),
                    paths.len(),
                    self.sink.way_on()
                )));
            }
            let items = self.open(chunk, &bar)?;
            let records = self.describe(&items)?;
            self.failed += records
                .iter()
                .filter(|record| record.contains_key("error"))
                .count();
            self.sink.write(&records, &bar)?;
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        match self.failed + self.sink.failed_before() {
            0 => Ok(()),
            failed => Err(Failure::Work(format!(
                "{failed} of {} pictures have no caption",
                paths.len()
            ))),
        }
    }

    /// Opens what is left of a batch's pictures.
    fn open<'p>(
        &mut self,
        chunk: &'p [PathBuf],
        bar: &indicatif::ProgressBar,
    ) -> Result<Vec<Item<'p>>, Failure> {
        // How many frames there are is known only of an animation that was opened.
        let by_frame = self.args.picture.frame == Some(FrameChoice::All);
        let mut left: Vec<(&Path, bool)> = Vec::new();
        for path in chunk {
            let is_done = !by_frame && self.is_done(path, None);
            left.push((path, is_done));
        }
        // The numbers that samples are drawn by go on from picture to picture of a batch, so that a
        // batch that was left halfway is written again as it was.
        if !self.args.generation.samples() || left.iter().all(|(_, is_done)| *is_done) {
            left.retain(|(_, is_done)| !is_done);
        }
        let mut items = Vec::new();
        for (path, is_done) in left {
            let note = |note: &str| bar.suspend(|| note!("{note}"));
            let opened = match Shown::open(path, self.frames, self.args.picture, note) {
                Ok(images) => numbered(images),
                Err(Failure::Work(error) | Failure::Usage(error)) => vec![(None, Err(error))],
                Err(closed) => return Err(closed),
            };
            for (frame, image) in opened {
                items.push(Item {
                    path,
                    frame,
                    image,
                    is_done: is_done || (by_frame && self.is_done(path, frame)),
                });
            }
        }
        if items.iter().all(|item| item.is_done) {
            items.clear();
        }
        Ok(items)
    }

    fn is_done(&mut self, path: &Path, frame: Option<usize>) -> bool {
        let frame = frame.map_or(String::new(), |frame| frame.to_string());
        self.sink.take_done(&[&path.to_string_lossy(), &frame])
    }

    /// The records of what has none yet.
    fn describe(&self, items: &[Item<'_>]) -> Result<Vec<Record>, Failure> {
        let is_wanted = |item: &Item<'_>| !item.is_done || self.args.generation.samples();
        let seen = items
            .iter()
            .filter(|item| is_wanted(item))
            .filter_map(|item| {
                let prompt = prompt(self.prompts.as_ref(), item.path, self.args);
                Some((item.image.as_ref().ok()?, prompt))
            });
        let seen: Vec<_> = seen.collect();
        let mut answers = Vec::new();
        // An animation's frames may be more than a batch.
        for batch in seen.chunks(usize::from(self.args.batch)) {
            answers.extend(self.captioner.describe_each(batch, &self.options)?);
        }
        let mut answers = answers.into_iter();
        let mut records = Vec::new();
        for item in items.iter().filter(|item| is_wanted(item)) {
            let result = match &item.image {
                Ok(_) => answers.next(),
                Err(error) => Some(Err(error.clone())),
            };
            let result = result.unwrap_or_else(|| Err("there is no caption".into()));
            if !item.is_done {
                records.push(record(item.path, item.frame, &result));
            }
        }
        Ok(records)
    }
}

/// A file's pictures, numbered from 1 if they are several frames.
fn numbered(images: Vec<Shown>) -> Vec<(Option<usize>, Result<Shown, String>)> {
    let several = images.len() > 1;
    let images = images.into_iter().zip(1..);
    images
        .map(|(image, n)| (several.then_some(n), Ok(image)))
        .collect()
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
