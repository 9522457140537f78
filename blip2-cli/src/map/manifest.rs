//! What a run was asked to do, kept beside what it makes, so that a run that goes on does the same.

use std::path::Path;

use blip2_core::CheckpointFolder;
use blip2_io::{open_regular, tables::Table, write_file};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Failure,
    args::{
        map::{Delimiter, MapArgs},
        model::ModelArgs,
    },
};

/// The form of the manifest.
const VERSION: u32 = 1;
/// The option that brings pictures from elsewhere.
const URLS: &str = "--allow-urls";
/// The most bytes of a manifest.
const LARGEST: u64 = 1 << 20;

/// What decides each byte of the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    /// The hash of the input, and its rows.
    input: String,
    pub(super) rows: u64,
    pub(super) part_rows: u64,
    /// Options by their names, as they were given.
    settings: Map<String, Value>,
}

impl Manifest {
    pub(super) fn of(args: &MapArgs, table: &Table, format: &str) -> Self {
        Self {
            version: VERSION,
            input: format!("{:016x}", table.fingerprint()),
            rows: table.rows(),
            part_rows: u64::from(args.part_rows),
            settings: settings(args, format),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let foreign = |error: &dyn std::fmt::Display| {
            Failure::Work(format!(
                "{}: says not what the run before did ({error}); delete it with the parts, or give \
                 --output another name",
                path.display()
            ))
        };
        let file = open_regular(path).map_err(|error| foreign(&error))?;
        let file = std::io::Read::take(file, LARGEST);
        serde_json::from_reader(file).map_err(|error| foreign(&error))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::work)?;
        write_file(path, text + "\n")
            .map_err(|error| Failure::Work(format!("{}: {error}", path.display())))
    }

    /// What differs from a run before, in words. Where failed rows are tried again, they may be tried with
    /// URLs: no other row changes by it.
    pub(super) fn difference(&self, before: &Self, is_retry: bool) -> Option<String> {
        if before.version != self.version {
            return Some("another version of the program began it".into());
        }
        if (&before.input, before.rows) != (&self.input, self.rows) {
            return Some(format!(
                "the input has changed since ({} rows then, {} now)",
                before.rows, self.rows
            ));
        }
        if before.part_rows != self.part_rows {
            return Some(format!(
                "--part-rows was {} and is {}",
                before.part_rows, self.part_rows
            ));
        }
        let names = before.settings.keys().chain(self.settings.keys());
        for name in names {
            let (was, is) = (before.settings.get(name), self.settings.get(name));
            if was != is && name == URLS && !is_retry {
                return Some(format!(
                    "{name} was {} and is {} (with --retry, which computes again what failed, it may differ)",
                    shown(was),
                    shown(is)
                ));
            }
            if was != is && name != URLS {
                return Some(format!("{name} was {} and is {}", shown(was), shown(is)));
            }
        }
        None
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "not given".into(),
        Some(value) => value.to_string(),
    }
}

/// What was asked, by the options' names.
fn settings(args: &MapArgs, format: &str) -> Map<String, Value> {
    let mut settings = Map::new();
    let mut set = |name: &str, value: Value| {
        settings.insert(name.to_string(), value);
    };
    set("--format", format.into());
    set("--caption", args.caption.into());
    let texts = [
        ("--prompt", &args.prompt),
        ("--answer", &args.answer),
        ("--question", &args.question),
        ("--rank", &args.rank),
        ("--score", &args.score),
        ("--match", &args.matched),
        ("--image", &args.image),
    ];
    for (name, value) in texts {
        set(name, value.clone().into());
    }
    set("--embed", args.embed.into());
    set(
        "--features",
        args.features
            .map(|name| format!("{name:?}").to_lowercase())
            .into(),
    );
    set("--without", args.without.clone().into());
    set("--prefix", args.prefix.clone().into());
    let template = args.template.as_ref().map(ToString::to_string);
    set("--template", template.into());
    set(
        "--frame",
        args.picture.frame.map(|frame| format!("{frame:?}")).into(),
    );
    set(
        "--ignore-orientation",
        args.picture.ignore_orientation.into(),
    );
    if args.picture.allows_urls() {
        set(URLS, true.into());
    }
    let delimiter = args.delimiter.map(|Delimiter(sign)| char::from(sign));
    if let Some(delimiter) = delimiter {
        set("--delimiter", delimiter.to_string().into());
    }
    let folder = args
        .pictures
        .as_ref()
        .map(|folder| folder.display().to_string());
    set("--pictures", folder.into());
    for (name, value) in of_model(&args.model) {
        set(name, value.into());
    }
    if args.caption || args.answer.is_some() {
        for (name, value) in args.generation.settings() {
            let values = settings
                .entry(format!("--{name}"))
                .or_insert(Value::Array(Vec::new()));
            if let Value::Array(values) = values {
                values.push(value.into());
            }
        }
    }
    // Samples of a batch are drawn from one row of random numbers.
    if args.generation.samples() {
        settings.insert("--batch".into(), args.batch.into());
    }
    settings
}

fn of_model(args: &ModelArgs) -> Vec<(&'static str, Option<String>)> {
    let mut settings = vec![
        ("--model", args.model.as_deref().map(identity)),
        ("--adapter", args.adapter.used().ok().flatten().map(files)),
        ("--image-size", args.image_size.map(|side| side.to_string())),
        ("--resizing", Some(args.loading.resizing.to_string())),
        ("--device", Some(args.device.device.clone())),
    ];
    let names = ["--precision", "--vision-precision", "--lm-precision"];
    let formats = args.device.precision.options();
    settings.extend(names.into_iter().zip(formats.map(|(_, format)| format)));
    settings
}

/// The weights of a model, wherever it lies.
fn identity(folder: &Path) -> String {
    let checkpoint = CheckpointFolder::open(folder).and_then(|folder| folder.checkpoint());
    match checkpoint {
        Ok(checkpoint) => format!("weights {}", checkpoint.fingerprint(&[""], "")),
        // What is wrong with it, loading tells.
        Err(_) => folder.display().to_string(),
    }
}

/// The files of a small folder, with their sizes and when they were written.
fn files(folder: &Path) -> String {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        let since = data.modified().ok();
        let since = since.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let seconds = since.map_or(0, |since| since.as_secs());
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push(format!("{name} {} {seconds}", data.len()));
    }
    found.sort();
    format!("{} ({})", folder.display(), found.join(", "))
}
