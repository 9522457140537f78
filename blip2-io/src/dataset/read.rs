//! What all readers share.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::regular;

use super::{BrokenRecord, Dataset, DatasetError, Example, OnBroken, PictureFile};

/// The most bytes of a file of records; Visual Genome's has 1.2 GB.
const MAX_BYTES: u64 = 8 << 30;

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, DatasetError> {
    regular::read(path, MAX_BYTES).map_err(|source| DatasetError::Read {
        path: path.to_path_buf(),
        source,
    })
}

pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, DatasetError> {
    parsed(path, &bytes(path)?)
}

pub(super) fn parsed<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, DatasetError> {
    serde_json::from_slice(text).map_err(|error| DatasetError::format(path, error))
}

/// What is said of a picture that [`inside`] does not give.
pub(super) const OUTSIDE: &str = "its picture is outside of the pictures' folder";

/// A path below a folder, and nowhere else: a data set is a file of strangers, and must not open what
/// lies beside its pictures.
pub(super) fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let stays = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    stays.then(|| folder.join(path))
}

/// A data set in the making.
pub(super) struct Collector {
    file: PathBuf,
    pub(super) examples: Vec<Example>,
    pub(super) pictures: Vec<PictureFile>,
    places: HashMap<PathBuf, Option<usize>>,
    broken: Vec<BrokenRecord>,
    /// How many records ask for one of given choices.
    pub(super) choices: usize,
}

impl Collector {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            examples: Vec::new(),
            pictures: Vec::new(),
            places: HashMap::new(),
            broken: Vec::new(),
            choices: 0,
        }
    }

    pub(super) fn broken(&mut self, place: String, reason: String) {
        let file = self.file.clone();
        self.broken.push(BrokenRecord {
            file,
            place,
            reason,
        });
    }

    /// Adds an example whose picture is in one of these files, the first that there is; `None` if it is
    /// broken.
    pub(super) fn add(
        &mut self,
        place: String,
        id: String,
        pictures: &[PathBuf],
        question: Option<String>,
        answers: Vec<String>,
    ) -> Option<&mut Example> {
        let Some(picture) = pictures.iter().find_map(|path| self.picture(path)) else {
            let names: Vec<_> = pictures
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let reason = format!("there is no picture {}", names.join(" or "));
            self.broken(place, reason);
            return None;
        };
        if question
            .as_deref()
            .is_some_and(|text| text.trim().is_empty())
        {
            self.broken(place, "the question is empty".into());
            return None;
        }
        let example = Example::new(id, picture, question, answers, place);
        self.examples.push(example);
        self.examples.last_mut()
    }

    /// The number of the picture in a file, if there is such a file.
    fn picture(&mut self, path: &Path) -> Option<usize> {
        if let Some(known) = self.places.get(path) {
            return *known;
        }
        let place = path.is_file().then(|| {
            self.pictures.push(path.to_path_buf().into());
            self.pictures.len() - 1
        });
        self.places.insert(path.to_path_buf(), place);
        place
    }

    pub(super) fn finish(self, on_broken: OnBroken) -> Result<Dataset, DatasetError> {
        if on_broken == OnBroken::Fail && !self.broken.is_empty() {
            let records = self.broken;
            return Err(DatasetError::Broken { records });
        }
        if self.examples.is_empty() {
            return Err(match self.broken.is_empty() {
                true => DatasetError::Empty { path: self.file },
                false => DatasetError::Broken {
                    records: self.broken,
                },
            });
        }
        Ok(Dataset {
            examples: self.examples,
            pictures: self.pictures,
            broken: self.broken,
            file: self.file,
            choices: self.choices,
        })
    }
}
