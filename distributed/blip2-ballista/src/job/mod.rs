//! A query over a table's files, each by itself: what is done stays done.
//!
//! A split is a file of the table. The query is run over each split alone, as if it were the table, and its
//! rows go into a file of the same name in the output, which appears when it is whole. So nothing has to be
//! repaired after a kill: started again, the same job computes the splits whose files are not there.
//!
//! A query that looks at rows of several files together (`GROUP BY`, `ORDER BY`, `LIMIT`) does so within
//! each file only.

mod manifest;
mod place;
mod split;

use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt, stream};

use crate::{error::ClusterError, session::Session};
use manifest::Manifest;
use place::Place;

pub use split::{Split, splits};

/// A query over a table's files.
#[derive(Debug, Clone)]
pub struct Job {
    /// The query.
    pub sql: String,
    /// The name by which the query calls the table.
    pub table: String,
    /// The table: a Parquet file, or a folder of them.
    pub input: PathBuf,
    /// The folder of the results.
    pub output: PathBuf,
    /// The model, as those who run the job again must name it.
    pub model: String,
    /// How many splits are computed at a time. A cluster needs as many as its executors have places.
    pub at_once: usize,
    /// How often a split is tried. What an executor computed is lost where it dies before the result was
    /// fetched.
    pub attempts: usize,
    /// Whether what another job left in the output is thrown away.
    pub restart: bool,
}

/// What a job did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many splits there are.
    pub splits: usize,
    /// How many of them were done before.
    pub found: usize,
    /// How many were computed now.
    pub computed: usize,
    /// How many rows were written now.
    pub rows: u64,
    /// How many attempts failed and were made again.
    pub again: usize,
}

impl Job {
    /// Computes the splits that are not done, and tells of each that is, with the number of its rows.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Asked`] where the output is another job's or is being written by another process,
    /// [`ClusterError::Split`] for a split that fails; those that were done before stay done.
    pub async fn run(
        &self,
        session: &Session,
        mut told: impl FnMut(&Split, u64),
    ) -> Result<Summary, ClusterError> {
        let splits = splits(&self.input)?;
        let place = Place::open(&self.output, &self.input)?;
        place.agree(&Manifest::of(self, &splits), self.restart)?;
        let missing: Vec<&Split> = splits.iter().filter(|split| !place.has(split)).collect();
        let mut summary = Summary {
            splits: splits.len(),
            found: splits.len() - missing.len(),
            ..Summary::default()
        };
        let place = &place;
        let computing = missing.into_iter().map(|split| async move {
            let done = self.compute(session, place, split).await;
            done.map(|(rows, attempts)| (split, rows, attempts))
                .map_err(|source| ClusterError::Split {
                    split: split.path.display().to_string(),
                    source: Box::new(source),
                })
        });
        let mut computing = stream::iter(computing).buffer_unordered(self.at_once.max(1));
        while let Some((split, rows, attempts)) = computing.try_next().await? {
            summary.computed += 1;
            summary.rows += rows;
            summary.again += attempts - 1;
            told(split, rows);
        }
        Ok(summary)
    }

    /// Computes a split: how many rows it gave, at which attempt.
    async fn compute(
        &self,
        session: &Session,
        place: &Place,
        split: &Split,
    ) -> Result<(u64, usize), ClusterError> {
        let most = if session.is_remote() {
            self.attempts.max(1)
        } else {
            1
        };
        let mut attempt = 1;
        loop {
            match split.compute(session, self, &place.of(split)).await {
                Ok(rows) => return Ok((rows, attempt)),
                // A query that cannot be planned will not be at the next attempt.
                Err(error) if attempt == most || split::is_of_the_query(&error) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(split = %split.path.display(), %error, "a split is tried again");
                    attempt += 1;
                }
            }
        }
    }
}
