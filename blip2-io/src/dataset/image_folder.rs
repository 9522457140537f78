//! Hugging Face's folder of pictures with a file of what is said about them.

use std::{fs, path::Path};

use super::{Columns, Dataset, DatasetError, OnBroken};

const LINES: &str = "metadata.jsonl";
const TABLE: &str = "metadata.csv";

impl Dataset {
    /// Reads a folder of pictures as `datasets` has it (`imagefolder`): `metadata.jsonl` or
    /// `metadata.csv` in it names each picture by `file_name`, below the folder, and tells its `text`, or
    /// other columns.
    ///
    /// # Errors
    ///
    /// As [`json_records`](Self::json_records) and [`csv`](Self::csv), and [`DatasetError::Format`] for a
    /// folder that has neither file, or both.
    pub fn image_folder(
        folder: impl AsRef<Path>,
        columns: &Columns,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let folder = folder.as_ref();
        let (lines, table) = (folder.join(LINES), folder.join(TABLE));
        match (lines.is_file(), table.is_file()) {
            (true, false) => Self::json_records(lines, folder, columns, on_broken),
            (false, true) => Self::csv(table, folder, columns, None, on_broken),
            (true, true) => {
                let reason = format!("it has both {LINES} and {TABLE}: which is meant? Remove one");
                Err(DatasetError::format(folder, reason))
            }
            (false, false) => Err(nothing(folder)),
        }
    }
}

fn nothing(folder: &Path) -> DatasetError {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) => {
            return DatasetError::unread(folder.to_path_buf(), source);
        }
    };
    let mut below: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(LINES).is_file() || path.join(TABLE).is_file())
        .map(|path| path.display().to_string())
        .collect();
    below.sort();
    let reason = match below.as_slice() {
        [] => format!(
            "it has neither {LINES} nor {TABLE}, which would name pictures by `file_name` and tell their \
             `text`"
        ),
        _ => format!(
            "{LINES} or {TABLE} is not in it but below: give {}",
            below.join(" or ")
        ),
    };
    DatasetError::format(folder, reason)
}
