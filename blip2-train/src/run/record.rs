//! What is seen of a training.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::exact;
use crate::{
    error::TrainError,
    files::{read_file, write_file},
};

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Its number, from 0.
    pub step: usize,
    /// How many epochs were complete before.
    pub epoch: u64,
    /// The learning rate.
    #[serde(deserialize_with = "exact::one")]
    pub lr: f64,
    /// The loss.
    #[serde(deserialize_with = "exact::one")]
    pub loss: f64,
    /// The parts of the loss, by name.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "exact::by_name"
    )]
    pub parts: BTreeMap<String, f64>,
    /// The norm of all gradients together, before they are clipped.
    #[serde(deserialize_with = "exact::one")]
    pub grad_norm: f64,
    /// How many examples it saw.
    #[serde(default)]
    pub examples: usize,
    /// How long the training took until then.
    #[serde(deserialize_with = "exact::one")]
    pub seconds: f64,
}

impl Record {
    /// Examples a second since another step; `None` if no time went by.
    pub fn rate_since(&self, other: &Self) -> Option<f64> {
        let seconds = self.seconds - other.seconds;
        (seconds > 0.0).then(|| self.examples as f64 / seconds)
    }
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Score {
    /// After how many steps.
    pub step: usize,
    /// The score, more being better.
    #[serde(deserialize_with = "exact::one")]
    pub value: f64,
    /// The mean loss on [examples that are not trained on](super::Recipe::with_held_out).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "exact::perhaps"
    )]
    pub loss: Option<f64>,
    /// Other scores, by name.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "exact::by_name"
    )]
    pub others: BTreeMap<String, f64>,
}

/// What the loss on examples that are not trained on is called.
pub(super) const HELD_OUT: &str = "validation_loss";

impl Score {
    fn beside(&self, name: &str) -> Option<f64> {
        match name {
            HELD_OUT => self.loss,
            name => self.others.get(name).copied(),
        }
    }
}

/// All that was seen.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Each step.
    pub records: Vec<Record>,
    /// Each evaluation.
    pub scores: Vec<Score>,
}

const STEPS: &str = "metrics.jsonl";
const SCORES: &str = "scores.jsonl";
const TABLE: &str = "metrics.csv";
const CURVE: &str = "curve.svg";

impl Metrics {
    /// Writes `metrics.jsonl` and `metrics.csv` (a row for each step), `scores.jsonl` (for each
    /// evaluation), and `curve.svg`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written; the others are.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), TrainError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
        let files = [
            (STEPS, Some(lines(&self.records, folder)?)),
            (SCORES, Some(lines(&self.scores, folder)?)),
            (TABLE, Some(self.csv())),
            (CURVE, self.curve_svg()),
        ];
        // All of them, whatever one meets.
        let mut first = Ok(());
        for (name, text) in files {
            let Some(text) = text else { continue };
            let written = write_file(&folder.join(name), text.as_bytes());
            first = first.and(written);
        }
        first
    }

    /// Reads what was seen of the first `steps` steps.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or is none of these.
    pub fn load(folder: impl AsRef<Path>, steps: usize) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        let mut records: Vec<Record> = read(&folder.join(STEPS))?;
        let mut scores: Vec<Score> = read(&folder.join(SCORES))?;
        records.retain(|record| record.step < steps);
        scores.retain(|score| score.step <= steps);
        Ok(Self { records, scores })
    }

    /// As [`load`](Self::load), of what can be read; and what cannot be, by file.
    pub(super) fn recover(folder: &Path, steps: usize) -> (Self, Vec<(PathBuf, String)>) {
        let mut faults = Vec::new();
        let mut records: Vec<Record> = recovered(folder.join(STEPS), &mut faults);
        let mut scores: Vec<Score> = recovered(folder.join(SCORES), &mut faults);
        records.retain(|record| record.step < steps);
        scores.retain(|score| score.step <= steps);
        (Self { records, scores }, faults)
    }

    /// Adds what was written in `folder` of the steps before `since`, at which a training went on, and is not among what
    /// was seen: where the rows beside its states are gone or damaged. What cannot be read there is left out, and all
    /// of it where the training began anew: it is of another one then.
    pub fn after_written(&mut self, folder: impl AsRef<Path>, since: usize) {
        if since == 0 {
            return;
        }
        let (earlier, _) = Self::recover(folder.as_ref(), since);
        fill(&mut self.records, earlier.records, |record| record.step);
        fill(&mut self.scores, earlier.scores, |score| score.step);
    }

    pub(super) fn spent(&self) -> Duration {
        let seconds = self.records.last().map_or(0.0, |record| record.seconds);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// A table of the steps, with a column for each part of the loss, for the score where there was one,
    /// and for what was evaluated beside it.
    pub fn csv(&self) -> String {
        let mut parts: Vec<&str> = self
            .records
            .iter()
            .flat_map(|record| record.parts.keys().map(String::as_str))
            .collect();
        parts.sort_unstable();
        parts.dedup();
        let mut text = String::from("step,epoch,lr,loss,grad_norm,seconds");
        for name in &parts {
            text.push(',');
            text.push_str(name);
        }
        let beside = self.beside_scores();
        text.push_str(",score");
        for name in &beside {
            text.push(',');
            text.push_str(name);
        }
        text.push('\n');
        let scores = self.scores.iter().map(|score| (score.step, score));
        let scores: BTreeMap<usize, &Score> = scores.collect();
        for record in &self.records {
            let Record {
                step,
                epoch,
                lr,
                loss,
                grad_norm,
                seconds,
                ..
            } = record;
            text.push_str(&format!(
                "{step},{epoch},{lr:e},{loss},{grad_norm},{seconds:.3}"
            ));
            for name in &parts {
                let part = record.parts.get(*name).map(f64::to_string);
                text.push(',');
                text.push_str(&part.unwrap_or_default());
            }
            let score = scores.get(&(step + 1));
            let value = score.map(|score| score.value.to_string());
            text.push(',');
            text.push_str(&value.unwrap_or_default());
            for name in &beside {
                let value = score.and_then(|score| score.beside(name));
                text.push(',');
                text.push_str(&value.as_ref().map(f64::to_string).unwrap_or_default());
            }
            text.push('\n');
        }
        text
    }

    /// What was evaluated beside the score, if anything was.
    fn beside_scores(&self) -> Vec<&str> {
        let losses = self.scores.iter().any(|score| score.loss.is_some());
        let others = self.scores.iter().flat_map(|score| score.others.keys());
        let others: BTreeSet<&str> = others.map(String::as_str).collect();
        let loss = losses.then_some(HELD_OUT);
        loss.into_iter().chain(others).collect()
    }
}

fn lines<T: Serialize>(rows: &[T], folder: &Path) -> Result<String, TrainError> {
    let mut text = String::new();
    for row in rows {
        let line = serde_json::to_string(row).map_err(|error| TrainError::format(folder, error))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// Adds the rows of steps that are not there.
fn fill<T>(own: &mut Vec<T>, others: Vec<T>, step: impl Fn(&T) -> usize) {
    let known: BTreeSet<usize> = own.iter().map(&step).collect();
    let missing = others.into_iter().filter(|row| !known.contains(&step(row)));
    own.extend(missing);
    own.sort_by_key(step);
}

/// The rows of a file that can be read.
fn recovered<T: DeserializeOwned>(path: PathBuf, faults: &mut Vec<(PathBuf, String)>) -> Vec<T> {
    let text = match read_file(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => {
            faults.push((path, "it cannot be read, and its rows are left out".into()));
            return Vec::new();
        }
    };
    let mut rows = Vec::new();
    let mut damaged = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match serde_json::from_str(&exact::with_digits(line)) {
            Ok(row) => rows.push(row),
            Err(_) => damaged.push(number + 1),
        }
    }
    if let Some(first) = damaged.first() {
        let more = match damaged.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        faults.push((
            path,
            format!("line {first}{more} of it is damaged and left out"),
        ));
    }
    rows
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, TrainError> {
    let text = String::from_utf8(read_file(path)?);
    let text = text.map_err(|error| TrainError::format(path, error))?;
    let text = exact::with_digits(&text);
    let rows = serde_json::Deserializer::from_str(&text).into_iter();
    rows.collect::<Result<_, _>>()
        .map_err(|error| TrainError::format(path, error))
}
