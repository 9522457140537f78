//! What was asked of a checkpoint, and what came of it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
};

use super::{Checkpoint, Entry};
use crate::report::{LoadReport, Misshapen, Missing};

/// The record of a load. A model asks through a shared reference, so it is kept in cells.
#[derive(Debug, Default)]
pub(super) struct Account {
    used: RefCell<BTreeSet<String>>,
    missing: RefCell<BTreeMap<String, Vec<usize>>>,
    misshapen: RefCell<BTreeMap<String, Misshapen>>,
}

impl Account {
    /// The tensor of this name, if there is one of this shape that can hold weights; else the
    /// fault is noted.
    pub(super) fn find<'c>(
        &self,
        checkpoint: &'c Checkpoint,
        name: &str,
        shape: &[usize],
    ) -> Option<&'c Entry> {
        let Some(entry) = checkpoint.tensors.get(name) else {
            self.missing
                .borrow_mut()
                .insert(name.to_string(), shape.to_vec());
            return None;
        };
        self.used.borrow_mut().insert(name.to_string());
        let found = if !entry.fits(shape) {
            format!("{:?}", entry.shape)
        } else if !entry.dtype.is_float() {
            format!("{:?}, which is no format for weights", entry.dtype)
        } else {
            return Some(entry);
        };
        let misshapen = Misshapen {
            name: name.to_string(),
            expected: shape.to_vec(),
            found,
        };
        self.misshapen
            .borrow_mut()
            .insert(name.to_string(), misshapen);
        None
    }

    /// Notes that a tensor is there and cannot be read.
    pub(super) fn unreadable(&self, name: &str, shape: &[usize], error: &io::Error) {
        let misshapen = Misshapen {
            name: name.to_string(),
            expected: shape.to_vec(),
            found: format!("numbers that cannot be read: {error}"),
        };
        self.misshapen
            .borrow_mut()
            .insert(name.to_string(), misshapen);
    }

    /// Everything noted, and what nobody asked for but for names that end in one of `ignorable`.
    pub(super) fn report(&self, checkpoint: &Checkpoint, ignorable: &[&str]) -> LoadReport {
        let used = self.used.borrow();
        let unused: Vec<String> = checkpoint
            .names()
            .filter(|name| !used.contains(*name))
            .filter(|name| !ignorable.iter().any(|suffix| name.ends_with(suffix)))
            .map(str::to_string)
            .collect();
        let missing = self.missing.borrow();
        let prefix = prefix(missing.keys(), checkpoint);
        let guessed = missing.iter().enumerate();
        let missing = guessed.map(|(place, (name, shape))| Missing {
            name: name.clone(),
            shape: shape.clone(),
            suggestion: (place < SUGGESTED && prefix.is_none())
                .then(|| suggest(name, shape, &unused, checkpoint))
                .flatten(),
        });
        LoadReport {
            missing: missing.collect(),
            misshapen: self.misshapen.borrow().values().cloned().collect(),
            unused,
            prefix,
        }
    }
}

/// For how many missing tensors names are looked for that are like theirs: a file may have very many.
const SUGGESTED: usize = 32;

/// What stands before the name of every missing tensor in the names of the checkpoint.
fn prefix<'m>(
    mut missing: impl Iterator<Item = &'m String>,
    checkpoint: &Checkpoint,
) -> Option<String> {
    let first = missing.next()?;
    let prefix = checkpoint
        .names()
        .filter_map(|name| name.strip_suffix(first.as_str()))
        .find(|prefix| prefix.ends_with('.'))?;
    let holds = |name: &String| checkpoint.shape(&format!("{prefix}{name}")).is_some();
    missing.all(holds).then(|| prefix.to_string())
}

/// The unused name most like the missing one: of the same shape, and with the most
/// parts in common at the end and, next, at the start.
fn suggest(
    missing: &str,
    shape: &[usize],
    unused: &[String],
    checkpoint: &Checkpoint,
) -> Option<String> {
    let likeness = |name: &str| {
        let same = |(a, b): &(&str, &str)| a == b;
        let (ours, theirs) = (missing.split('.'), name.split('.'));
        let ending = ours.clone().rev().zip(theirs.clone().rev());
        let start = ours.zip(theirs);
        (
            ending.take_while(same).count(),
            start.take_while(same).count(),
        )
    };
    unused
        .iter()
        .filter(|name| checkpoint.shape(name) == Some(shape))
        .map(|name| (likeness(name), name))
        .filter(|((ending, _), _)| *ending > 0)
        .max_by_key(|(likeness, _)| *likeness)
        .map(|(_, name)| name.clone())
}
