//! A batch that several processes see together.

use std::{collections::BTreeMap, ops::Range};

use blip2_core::CancelToken;
use blip2_io::dataset::{BrokenRecord, Dataset, DatasetError, Example, LoadedBatch, Loader};
use blip2_kernels::share::Rows;
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    group::{Group, agreed},
};

/// A batch that several processes see together, as one of them has it: the pictures of its own part, and
/// the texts of all.
#[derive(Clone, Copy)]
pub struct Shared<'s> {
    batch: &'s LoadedBatch,
    examples: &'s [&'s Example],
    first: usize,
    /// The place of the own part's first picture, and how many there are.
    pictures: [usize; 2],
    group: &'s dyn Group,
}

impl<'s> Shared<'s> {
    /// The own part. It may be empty.
    pub fn batch(&self) -> &'s LoadedBatch {
        self.batch
    }

    /// The examples of all processes' parts, in the batch's order.
    pub fn examples(&self) -> &'s [&'s Example] {
        self.examples
    }

    /// The places among [all](Self::examples) of the own part's examples.
    pub fn own(&self) -> Range<usize> {
        self.first..self.first + self.batch.examples.len()
    }

    /// The processes.
    pub fn group(&self) -> &'s dyn Group {
        self.group
    }

    /// What random numbers are drawn for.
    pub(super) fn rows(&self) -> Rows {
        Rows::range(self.first, self.batch.examples.len(), self.examples.len())
    }

    /// The same of pictures, of which several examples may share one.
    pub(super) fn picture_rows(&self) -> Rows {
        let [first, all] = self.pictures;
        Rows::range(first, self.batch.pictures.len(), all)
    }
}

/// A batch's own part, and what the processes told one another of all parts.
pub(super) struct Parts {
    /// `None` where nothing is left of the whole batch, which no others share.
    own: Option<LoadedBatch>,
    /// The examples' numbers in the data set.
    numbers: Vec<usize>,
    first: usize,
    pictures: [usize; 2],
    /// What was left out.
    pub(super) broken: Vec<BrokenRecord>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    numbers: Vec<usize>,
    pictures: usize,
    /// File, place, reason.
    broken: Vec<(String, String, String)>,
}

impl Told {
    fn new(batch: Option<&LoadedBatch>, broken: &[BrokenRecord]) -> Self {
        let examples = batch.iter().flat_map(|batch| &batch.examples);
        Self {
            numbers: examples.map(|loaded| loaded.number).collect(),
            pictures: batch.map_or(0, |batch| batch.pictures.len()),
            broken: broken
                .iter()
                .map(|record| {
                    let file = record.file.to_string_lossy().into_owned();
                    (file, record.place.clone(), record.reason.clone())
                })
                .collect(),
        }
    }
}

impl Parts {
    /// Tells the others of the own part, or that it failed or someone cancelled here, and hears of theirs.
    pub(super) fn exchanged(
        batch: Result<LoadedBatch, DatasetError>,
        loader: &Loader,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Self, TrainError> {
        let own = match batch {
            _ if cancel.is_cancelled() => Err(TrainError::Cancelled),
            Ok(batch) => Ok((Told::new(Some(&batch), &batch.broken), Some(batch))),
            Err(DatasetError::Broken { records }) if loader.leaves_out_broken() => {
                Ok((Told::new(None, &records), None))
            }
            Err(error) => Err(error.into()),
        };
        let (told, own) = match own {
            Ok((told, own)) => (Ok(told), own),
            Err(error) => (Err(error), None),
        };
        let all = agreed(group, told)?;
        let before = &all[..group.rank().min(all.len())];
        let mut parts = Self {
            own,
            first: before.iter().map(|told| told.numbers.len()).sum(),
            pictures: [
                before.iter().map(|told| told.pictures).sum(),
                all.iter().map(|told| told.pictures).sum(),
            ],
            numbers: Vec::new(),
            broken: Vec::new(),
        };
        for told in all {
            parts.numbers.extend(told.numbers);
            let broken = told.broken.into_iter();
            parts.broken.extend(
                broken.map(|(file, place, reason)| BrokenRecord::new(file.into(), place, reason)),
            );
        }
        Ok(parts)
    }

    /// The examples of the whole batch.
    pub(super) fn examples<'d>(&self, data: &'d Dataset) -> Result<Vec<&'d Example>, TrainError> {
        let all = data.examples();
        let examples = self.numbers.iter().map(|&number| {
            all.get(number).ok_or_else(|| TrainError::Group {
                reason: format!("another one has an example {number}, and this one does not"),
            })
        });
        examples.collect()
    }

    /// The batch as this process has it, of all these examples; `None` where nothing is left of it.
    pub(super) fn shared<'s>(
        &'s self,
        examples: &'s [&'s Example],
        group: &'s dyn Group,
    ) -> Option<Shared<'s>> {
        let batch = self.own.as_ref().filter(|_| !self.numbers.is_empty())?;
        Some(Shared {
            batch,
            examples,
            first: self.first,
            pictures: self.pictures,
            group,
        })
    }
}

/// Sums of weighted losses over all processes, in the order of their numbers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    /// As bits: JSON has no number for what is none.
    loss: u64,
    weight: u64,
    parts: BTreeMap<String, u64>,
    pub(super) examples: usize,
    /// Parameters that have a gradient.
    pub(super) names: Vec<String>,
}

impl Sums {
    pub(super) fn new(loss: f64, weight: f64, parts: BTreeMap<String, f64>) -> Self {
        let parts = parts.into_iter();
        Self {
            loss: loss.to_bits(),
            weight: weight.to_bits(),
            parts: parts.map(|(name, part)| (name, part.to_bits())).collect(),
            ..Self::default()
        }
    }

    /// The same of examples, with what has a gradient.
    pub(super) fn of(self, examples: usize, names: Vec<String>) -> Self {
        Self {
            examples,
            names,
            ..self
        }
    }

    pub(super) fn loss(&self) -> f64 {
        f64::from_bits(self.loss)
    }

    pub(super) fn weight(&self) -> f64 {
        f64::from_bits(self.weight)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (&String, f64)> {
        let parts = self.parts.iter();
        parts.map(|(name, part)| (name, f64::from_bits(*part)))
    }

    /// Those of all processes.
    pub(super) fn over(
        group: &dyn Group,
        own: Result<Self, TrainError>,
    ) -> Result<Self, TrainError> {
        let mut all = agreed(group, own)?.into_iter();
        let Some(mut sums) = all.next() else {
            return Ok(Self::default());
        };
        for other in all {
            sums.loss = (sums.loss() + other.loss()).to_bits();
            sums.weight = (sums.weight() + other.weight()).to_bits();
            for (name, part) in other.parts() {
                let own = sums.parts.entry(name.clone()).or_default();
                *own = (f64::from_bits(*own) + part).to_bits();
            }
            sums.examples += other.examples;
            sums.names.extend(other.names);
        }
        Ok(sums)
    }
}
