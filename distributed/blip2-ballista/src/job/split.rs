//! A file of the table.

use std::path::{Path, PathBuf};

use blip2_io::tables::{TableFormat, TableWriter};
use datafusion::{
    arrow::array::RecordBatch, error::DataFusionError, physical_plan::execute_stream,
    prelude::ParquetReadOptions,
};
use futures::TryStreamExt;

use super::Job;
use crate::{error::ClusterError, session::Session};

/// A file of the table, computed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// Where it is.
    pub path: PathBuf,
    /// Its name, and that of its result.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// The splits of a table, in the order of their names: a Parquet file, or the files of a folder that end in
/// `.parquet`.
///
/// # Errors
///
/// [`ClusterError::File`] for what cannot be read, and [`ClusterError::Asked`] if there is no file.
pub fn splits(input: &Path) -> Result<Vec<Split>, ClusterError> {
    let found = std::fs::metadata(input).map_err(ClusterError::file(input))?;
    let mut paths = Vec::new();
    if found.is_dir() {
        for file in std::fs::read_dir(input).map_err(ClusterError::file(input))? {
            paths.push(file.map_err(ClusterError::file(input))?.path());
        }
        // Half files of whoever writes the table begin with a dot, and those of marks with a low line.
        paths.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".parquet") && !name.starts_with(['.', '_'])
        });
    } else {
        paths.push(input.to_path_buf());
    }
    paths.sort();
    if paths.is_empty() {
        let reason = "the folder has no files that end in .parquet";
        return Err(ClusterError::Asked(format!(
            "{}: {reason}",
            input.display()
        )));
    }
    let splits = paths
        .into_iter()
        .map(|path| -> Result<Split, ClusterError> {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            let bytes = std::fs::metadata(&path)
                .map_err(ClusterError::file(&path))?
                .len();
            Ok(Split { path, name, bytes })
        });
    splits.collect()
}

impl Split {
    /// Runs the query over this split alone, and writes its rows.
    pub(super) async fn compute(
        &self,
        session: &Session,
        job: &Job,
        output: &Path,
    ) -> Result<u64, ClusterError> {
        // One partition: one task, whose rows come in the file's order.
        let ctx = session.context(1).await?;
        let path = std::path::absolute(&self.path).map_err(ClusterError::file(&self.path))?;
        let path = path.to_string_lossy();
        ctx.register_parquet(&job.table, path.as_ref(), ParquetReadOptions::default())
            .await?;
        let query = ctx.sql(&job.sql).await?;
        let schema = query.schema().inner().clone();
        let plan = query.create_physical_plan().await?;
        let mut rows = execute_stream(plan, ctx.task_ctx())?;
        let mut writer = TableWriter::create(output, TableFormat::Parquet, &schema)?;
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            // What travels may be nullable where the plan said that it is not, or the other way round.
            let columns = batch.columns().to_vec();
            let batch =
                RecordBatch::try_new(schema.clone(), columns).map_err(DataFusionError::from)?;
            count += batch.num_rows() as u64;
            writer.write(&batch)?;
        }
        writer.finish()?;
        Ok(count)
    }
}

/// Whether an error is that of a query that was not planned.
pub(super) fn is_of_the_query(error: &ClusterError) -> bool {
    let ClusterError::Query(error) = error else {
        return !matches!(error, ClusterError::Cluster(_));
    };
    matches!(
        error.find_root(),
        DataFusionError::Plan(_) | DataFusionError::SQL(..) | DataFusionError::SchemaError(..)
    )
}
