//! Looking at every example before the first step.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
    time::UNIX_EPOCH,
};

use blip2_core::{CancelToken, CheckpointFolder};
use blip2_io::dataset::{Dataset, Example, OnBroken};
use blip2_train::TrainError;
use serde::{Deserialize, Serialize};

use super::{
    config::{Config, unusable},
    failure,
    together::Together,
};
use crate::{Failure, model::bar};

/// Looks at examples, and remembers what it found: a large data set takes long.
///
/// Of several processes the first looks, for all of them.
pub(super) struct Sieve<'t> {
    /// Where it is remembered.
    file: Option<PathBuf>,
    /// Whether what is found is written there.
    writes: bool,
    /// What judges texts: the files that say how they are read, the template, and this program.
    judge: String,
    together: &'t Together,
    cancel: CancelToken,
}

/// The files of a model that say how texts are read.
const READERS: [&str; 11] = [
    "config.json",
    "blip2.json",
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "qformer_tokenizer/tokenizer.json",
];

/// By which rules examples are judged: others find other faults.
const RULES: &str = concat!(env!("CARGO_PKG_VERSION"), " without blank answers");

/// What is wrong with the examples of data sets, by what the sets are for.
type Memory = BTreeMap<String, Found>;

#[derive(Debug, Serialize, Deserialize)]
struct Found {
    /// Of the data set and the judge.
    stamp: String,
    faults: BTreeMap<usize, String>,
}

impl<'t> Sieve<'t> {
    /// Looks at examples for a model in `folder`; what is found is remembered in `file`.
    pub(super) fn of(
        config: &Config,
        folder: &CheckpointFolder,
        file: Option<PathBuf>,
        together: &'t Together,
        cancel: CancelToken,
    ) -> Self {
        let stamps = READERS.map(|name| stamp(&folder.path().join(name)));
        let template = config.train.template.as_deref().unwrap_or_default();
        let scores = config.validation.as_ref();
        let scores = scores.map_or(String::new(), |own| {
            format!("{:?} {:?}", own.score, own.scores)
        });
        let judge = [RULES, template, &scores, &stamps.join(" ")].join(" ");
        Self {
            file,
            writes: true,
            judge,
            together,
            cancel,
        }
    }

    /// The same, which reads what is remembered and writes nothing.
    pub(super) fn read_only(self) -> Self {
        Self {
            writes: false,
            ..self
        }
    }

    /// The data set without examples that have a fault, where `on_broken` leaves them out; what is left
    /// out is told.
    pub(super) fn sifted(
        &self,
        purpose: &str,
        data: Dataset,
        on_broken: OnBroken,
        fault: impl Fn(&Example) -> Option<String> + Sync,
    ) -> Result<Dataset, Failure> {
        let faults = self
            .together
            .of_first(|| self.faults(purpose, &data, fault))?;
        let sifted = data.without(&faults, on_broken);
        let sifted = sifted.map_err(|error| unusable(error, on_broken))?;
        tell(&sifted);
        Ok(sifted)
    }

    /// What is wrong with examples, by their numbers: as it is remembered, or else is found now.
    fn faults(
        &self,
        purpose: &str,
        data: &Dataset,
        fault: impl Fn(&Example) -> Option<String> + Sync,
    ) -> Result<BTreeMap<usize, String>, Failure> {
        let stamp = format!("{} {}", data.stamp(), self.judge);
        let mut memory = self.remembered();
        let known = memory.remove(purpose).filter(|found| found.stamp == stamp);
        let found = match known {
            Some(found) => found,
            None => Found {
                faults: self.looked_at(data, fault)?,
                stamp,
            },
        };
        let faults = found.faults.clone();
        memory.insert(purpose.to_string(), found);
        self.remember(&memory);
        Ok(faults)
    }

    fn looked_at(
        &self,
        data: &Dataset,
        fault: impl Fn(&Example) -> Option<String> + Sync,
    ) -> Result<BTreeMap<usize, String>, Failure> {
        let bar = bar(data.len());
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let cancel = &self.cancel;
        let faults = data.faults(workers, fault, |done| {
            bar.set_position(done as u64);
            !cancel.is_cancelled()
        });
        bar.finish_and_clear();
        faults.ok_or_else(|| failure(TrainError::Cancelled))
    }

    fn remembered(&self) -> Memory {
        let text = self.file.as_ref().and_then(|file| fs::read(file).ok());
        let memory = text.and_then(|text| serde_json::from_slice(&text).ok());
        memory.unwrap_or_default()
    }

    /// That nothing is remembered costs time alone.
    fn remember(&self, memory: &Memory) {
        let file = self.file.as_ref().filter(|_| self.writes);
        if let (Some(file), Ok(text)) = (file, serde_json::to_vec(memory)) {
            let _ = blip2_train::write_file(file, &text);
        }
    }
}

/// A file's size and time, by which a change is seen without reading it.
fn stamp(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else {
        return "-".into();
    };
    let time = metadata.modified().ok();
    let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{}@{}", metadata.len(), time.unwrap_or_default().as_nanos())
}

/// Says what of a data set was left out.
fn tell(data: &Dataset) {
    const SHOWN: usize = 10;
    for record in data.broken().iter().take(SHOWN) {
        note!("left out: {record}");
    }
    if data.broken().len() > SHOWN {
        note!("left out: {} more", data.broken().len() - SHOWN);
    }
}
