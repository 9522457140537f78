//! What a job was asked to do, kept beside its results, so that a job that goes on does the same.

use std::{collections::BTreeMap, io::Read, path::Path};

use blip2_io::{open_regular, write_file};
use serde::{Deserialize, Serialize};

use super::{Job, split::Split};
use crate::error::ClusterError;

/// The form of the manifest.
const VERSION: u32 = 1;
/// The most bytes of a manifest: the names of a million splits.
const LARGEST: u64 = 1 << 28;

/// What decides the rows of each split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    sql: String,
    table: String,
    model: String,
    /// The bytes of each split.
    splits: BTreeMap<String, u64>,
}

impl Manifest {
    pub(super) fn of(job: &Job, splits: &[Split]) -> Self {
        let splits = splits.iter().map(|split| (split.name.clone(), split.bytes));
        Self {
            version: VERSION,
            sql: job.sql.clone(),
            table: job.table.clone(),
            model: job.model.clone(),
            splits: splits.collect(),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, ClusterError> {
        let file = open_regular(path).map_err(ClusterError::file(path))?;
        serde_json::from_reader(file.take(LARGEST)).map_err(|error| {
            ClusterError::Asked(format!(
                "{}: says not what the job before did ({error}); give --restart to begin anew, or --output \
                 another folder",
                path.display()
            ))
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), ClusterError> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| ClusterError::Asked(error.to_string()))?;
        write_file(path, text + "\n").map_err(ClusterError::file(path))
    }

    /// What differs from a job before, in words. Splits may have been added since.
    pub(super) fn difference(&self, before: &Self) -> Option<String> {
        if self.version != before.version {
            return Some("another version of the program began it".into());
        }
        let asked = [
            ("the query", &before.sql, &self.sql),
            ("the table's name", &before.table, &self.table),
            ("--model", &before.model, &self.model),
        ];
        for (what, was, is) in asked {
            if was != is {
                return Some(format!("{what} was `{was}` and is `{is}`"));
            }
        }
        let changed = before.splits.iter().find(|(name, bytes)| {
            let now = self.splits.get(*name);
            now.is_some_and(|now| now != *bytes)
        });
        changed.map(|(name, _)| format!("the table's file {name} has changed since"))
    }
}
