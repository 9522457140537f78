//! A data set in the making.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use image::ImageFormat;

use super::{
    BrokenRecord, Dataset, DatasetError, Example, OnBroken, PictureFile, quote::shortened,
    record::Record,
};

/// The most characters that are shown of a picture's path.
const MOST_OF_A_PATH: usize = 400;

const EMPTY: &str = "the question is empty";

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
        self.broken_in(self.file.clone(), place, reason);
    }

    /// Notes what is wrong in another file than the data set's own.
    pub(super) fn broken_in(&mut self, file: PathBuf, place: String, reason: String) {
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
        let picture = self.checked(&place, pictures, question.as_deref())?;
        let example = Example::new(id, picture, question, answers, place);
        self.examples.push(example);
        self.examples.last_mut()
    }

    /// The picture of an example, if that is not broken.
    fn checked(
        &mut self,
        place: &str,
        pictures: &[PathBuf],
        question: Option<&str>,
    ) -> Option<usize> {
        let Some(picture) = pictures.iter().find_map(|path| self.picture(path)) else {
            let names: Vec<_> = pictures
                .iter()
                .map(|path| shortened(&path.display().to_string(), MOST_OF_A_PATH))
                .collect();
            let reason = format!("there is no picture {}", names.join(" or "));
            self.broken(place.to_string(), reason);
            return None;
        };
        if question.is_some_and(|text| text.trim().is_empty()) {
            self.broken(place.to_string(), EMPTY.into());
            return None;
        }
        Some(picture)
    }

    /// Adds a record, whose picture is below `folder`.
    pub(super) fn add_record(&mut self, place: String, record: Record, folder: &Path) {
        match record.picture(folder) {
            Ok(picture) => self.add_record_of(place, record, &[picture]),
            Err(reason) => self.broken(place, reason),
        }
    }

    /// Adds a record whose picture is in one of these files, the first that there is.
    pub(super) fn add_record_of(&mut self, place: String, record: Record, pictures: &[PathBuf]) {
        self.choices += usize::from(record.is_choice);
        if let Some(picture) = self.checked(&place, pictures, record.question.as_deref()) {
            self.examples
                .extend(record.examples(place.clone(), picture, place));
        }
    }

    /// Adds a record that comes with its own picture; `id` is for one that names none.
    pub(super) fn add_with_picture(
        &mut self,
        place: String,
        id: String,
        record: Record,
        picture: PictureFile,
    ) {
        let question = record.question.as_deref();
        if question.is_some_and(|text| text.trim().is_empty()) {
            return self.broken(place, EMPTY.into());
        }
        self.choices += usize::from(record.is_choice);
        let number = self.pictures.len();
        self.pictures.push(picture);
        self.examples.extend(record.examples(id, number, place));
    }

    /// The number of the picture in a file, if there is such a file.
    fn picture(&mut self, path: &Path) -> Option<usize> {
        if let Some(known) = self.places.get(path) {
            return *known;
        }
        let place = (path.is_file() || is_video(path)).then(|| {
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
            frames: None,
        })
    }
}

/// Whether a folder holds frames.
fn is_video(path: &Path) -> bool {
    let mut names = path.read_dir().into_iter().flatten().flatten();
    names.any(|entry| ImageFormat::from_path(entry.path()).is_ok())
}
