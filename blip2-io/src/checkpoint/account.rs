//! What was asked of a checkpoint, and what came of it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{Checkpoint, Entry, LoadReport, Misshapen, Missing};

/// The account of a load. A model asks through a shared reference, so it is kept in cells.
#[derive(Debug, Default)]
pub(super) struct Account {
    used: RefCell<BTreeSet<String>>,
    missing: RefCell<BTreeMap<String, Vec<usize>>>,
    misshapen: RefCell<Vec<Misshapen>>,
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
        let found = if entry.shape != shape {
            format!("{:?}", entry.shape)
        } else if !entry.dtype.is_float() {
            format!("integers ({:?})", entry.dtype)
        } else {
            return Some(entry);
        };
        let (name, expected) = (name.to_string(), shape.to_vec());
        self.misshapen.borrow_mut().push(Misshapen {
            name,
            expected,
            found,
        });
        None
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
        let missing = missing.iter().map(|(name, shape)| Missing {
            name: name.clone(),
            shape: shape.clone(),
            suggestion: suggest(name, shape, &unused, checkpoint),
        });
        LoadReport {
            missing: missing.collect(),
            misshapen: self.misshapen.borrow().clone(),
            unused,
        }
    }
}

/// The unused name that most looks like the missing one: same shape, longest common ending.
fn suggest(
    missing: &str,
    shape: &[usize],
    unused: &[String],
    checkpoint: &Checkpoint,
) -> Option<String> {
    let common_ending = |name: &str| {
        name.rsplit('.')
            .zip(missing.rsplit('.'))
            .take_while(|(a, b)| a == b)
            .count()
    };
    unused
        .iter()
        .filter(|name| checkpoint.shape(name) == Some(shape))
        .map(|name| (common_ending(name), name))
        .filter(|(common, _)| *common > 0)
        .max_by_key(|(common, _)| *common)
        .map(|(_, name)| name.clone())
}
