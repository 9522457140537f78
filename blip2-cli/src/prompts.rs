//! Prompts of single pictures, from a table.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{Failure, records::read_table, source::url};

/// What a picture's column may be called: as here, or as in a data set's metadata.
pub(crate) const IMAGE: &[&str] = &["image", "file_name", "image_path"];

/// The prompts of a table, and the pictures that it names in its order.
pub(crate) struct Prompts {
    pub(crate) pictures: Vec<PathBuf>,
    by_file: HashMap<PathBuf, String>,
}

impl Prompts {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let mut pictures = Vec::new();
        let mut by_file = HashMap::new();
        for row in read_table(path)? {
            let picture = beside(path, &row.need(IMAGE)?);
            let prompt = row
                .of(&["prompt", "text"])
                .ok_or_else(|| Failure::Work(format!("{}: there is no `prompt`", row.place())))?;
            if !prompt.is_empty() {
                by_file.insert(real(&picture), prompt);
            }
            pictures.push(picture);
        }
        Ok(Self { pictures, by_file })
    }

    /// The prompt of a picture's file, by whatever name.
    pub(crate) fn of(&self, picture: &Path) -> Option<&str> {
        self.by_file.get(&real(picture)).map(String::as_str)
    }
}

/// A picture that a table names, relative to the table's folder unless it is a URL.
pub(crate) fn beside(table: &Path, picture: &str) -> PathBuf {
    if url(Path::new(picture)).is_some() {
        return picture.into();
    }
    table.parent().unwrap_or(Path::new("")).join(picture)
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}
