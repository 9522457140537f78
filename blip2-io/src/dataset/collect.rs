//! A data set in the making.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use image::ImageFormat;

use super::{
    BrokenRecord, Dataset, DatasetError, Example, OnBroken, PictureFile,
    choice::{Doubt, Telling, Told, Way},
    quote::{quoted, shortened},
    record::Record,
    same::Embedded,
};

/// The most characters that are shown of a picture's path.
const MOST_OF_A_PATH: usize = 400;

/// In how many places at the most a picture is said not to be.
const PLACES: usize = 3;

const EMPTY: &str = "the question is empty";

/// A data set in the making.
pub(super) struct Collector {
    file: PathBuf,
    pub(super) examples: Vec<Example>,
    pub(super) pictures: Vec<PictureFile>,
    /// The pictures that came with their records.
    pub(super) embedded: Vec<Embedded>,
    /// Those of them that another one is the same as.
    pub(super) copies: Vec<PictureFile>,
    places: HashMap<PathBuf, Option<usize>>,
    broken: Vec<BrokenRecord>,
    /// How many records ask for one of given choices.
    pub(super) choices: usize,
    /// How the right ones are told.
    pub(super) telling: Telling,
    /// The examples whose right choice may be one or the other.
    doubts: Vec<(usize, Doubt)>,
}

impl Collector {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            examples: Vec::new(),
            pictures: Vec::new(),
            embedded: Vec::new(),
            copies: Vec::new(),
            places: HashMap::new(),
            broken: Vec::new(),
            choices: 0,
            telling: Telling::default(),
            doubts: Vec::new(),
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

    /// The place among the broken records of the one that was noted last.
    pub(super) fn last_broken(&self) -> Option<usize> {
        self.broken.len().checked_sub(1)
    }

    /// Tells another reason for a broken record, of which more was learnt.
    pub(super) fn broken_otherwise(&mut self, record: usize, reason: String) {
        if let Some(record) = self.broken.get_mut(record) {
            record.reason = reason;
        }
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
            let reason = missing(pictures);
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
        self.telling.note(&record.told);
        if let Some(picture) = self.checked(&place, pictures, record.question.as_deref()) {
            self.add_examples(place.clone(), place, record, picture);
        }
    }

    /// Adds the examples of a record about a picture.
    fn add_examples(&mut self, place: String, id: String, mut record: Record, picture: usize) {
        if let Told::Either(doubt) = std::mem::take(&mut record.told) {
            self.doubts.push((self.examples.len(), doubt));
        }
        self.examples.extend(record.examples(id, picture, place));
    }

    /// Adds a record that comes with its own picture, which it may call by a name; `id` is for one that
    /// names none.
    pub(super) fn add_with_picture(
        &mut self,
        place: String,
        id: String,
        record: Record,
        picture: PictureFile,
        name: Option<&str>,
    ) {
        let question = record.question.as_deref();
        if question.is_some_and(|text| text.trim().is_empty()) {
            return self.broken(place, EMPTY.into());
        }
        self.choices += usize::from(record.is_choice);
        self.telling.note(&record.told);
        let number = self.pictures.len();
        let called = record.image_id.as_deref().or(name);
        self.embedded.push(Embedded::new(number, called));
        self.pictures.push(picture);
        self.add_examples(place, id, record, number);
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

    /// Decides what right choices are that may be a place or the words, by how the others are told: a
    /// data set tells all of them in one way. Where that is not seen, they are broken.
    fn settle(&mut self) {
        let doubts = std::mem::take(&mut self.doubts);
        match self.telling.way() {
            Some(Way::Words) => {}
            Some(Way::Places) => {
                for (number, doubt) in doubts {
                    if let Some(example) = self.examples.get_mut(number) {
                        example.answers = vec![doubt.at_place];
                    }
                }
            }
            None => self.leave_out(doubts),
        }
    }

    /// Takes the examples of these numbers, which rise, out of the others.
    fn leave_out(&mut self, doubts: Vec<(usize, Doubt)>) {
        self.choices -= doubts.len();
        let mut doubts = doubts.into_iter().peekable();
        let mut number = 0;
        let (broken, file) = (&mut self.broken, &self.file);
        self.examples.retain(|example| {
            let doubt = doubts.next_if(|(own, _)| *own == number);
            number += 1;
            if let Some((_, doubt)) = &doubt {
                let place = example.place.clone();
                broken.push(BrokenRecord::new(file.clone(), place, doubt.reason()));
            }
            doubt.is_none()
        });
    }

    pub(super) fn finish(mut self, on_broken: OnBroken) -> Result<Dataset, DatasetError> {
        self.settle();
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
            records: self.examples.len() + self.broken.len(),
            taken: None,
            examples: self.examples,
            pictures: self.pictures,
            copies: self.copies,
            broken: self.broken,
            file: self.file,
            choices: self.choices,
            frames: None,
        })
    }
}

/// Why none of these is a picture: that there is none, or what there is in its place.
fn missing(pictures: &[PathBuf]) -> String {
    let in_place = pictures.iter().find_map(|path| {
        let what = in_place(path)?;
        Some(format!("{} {what}", told(path)))
    });
    in_place.unwrap_or_else(|| {
        let shown = pictures.iter().take(PLACES).map(|path| told(path));
        let names: Vec<_> = shown.collect();
        let more = match pictures.len().saturating_sub(PLACES) {
            0 => "",
            _ => ", nor in another folder below that data sets have",
        };
        let turned = pictures.iter().find_map(|path| in_other_form(path));
        let turned = turned.map(|name| {
            format!(
                "; there is {}, whose accented letters are written in another form of Unicode (NFC and NFD): \
                 rename it, or write its name as the file has it",
                quoted(&name)
            )
        });
        let names = names.join(" or ");
        format!("there is no picture {names}{more}{}", turned.unwrap_or_default())
    })
}

/// The name of a file beside where this would be that differs by how its accented letters are written: as
/// one character, or as a letter with a mark behind it.
fn in_other_form(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if name.is_ascii() {
        return None;
    }
    let wanted = without_accents(name);
    let entries = path.parent()?.read_dir().ok()?.flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|own| own != name && without_accents(own) == wanted)
}

/// A name with one sign for each accented letter, in whichever form.
fn without_accents(name: &str) -> String {
    const SIGN: char = '\u{fffd}';
    let mut plain = String::new();
    for char in name.chars() {
        match char {
            // A mark, which is of the letter before it, and may be of one that has another.
            '\u{300}'..='\u{36f}' => {
                plain.pop();
                plain.push(SIGN);
            }
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => plain.push(SIGN),
            other => plain.push(other),
        }
    }
    plain
}

fn told(path: &Path) -> String {
    shortened(&path.display().to_string(), MOST_OF_A_PATH)
}

/// What is at a path where no picture is; none for nothing.
fn in_place(path: &Path) -> Option<String> {
    let denied = |error: io::Error| {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        is_denied.then(|| "cannot be read: this user has no permission to".into())
    };
    match path.metadata() {
        Ok(found) if found.is_dir() => path.read_dir().map_or_else(denied, |_| {
            Some(
                "is a folder without a picture, where a picture or a folder of frames is due"
                    .into(),
            )
        }),
        Ok(_) => Some("is a pipe, a socket or a device, and no file".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let link = path.symlink_metadata().ok();
            link.map(|_| "is a link to a file that does not exist".into())
        }
        Err(error) => denied(error),
    }
}

/// Whether a folder holds frames.
fn is_video(path: &Path) -> bool {
    let mut names = path.read_dir().into_iter().flatten().flatten();
    names.any(|entry| ImageFormat::from_path(entry.path()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_another_form_of_unicode_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (there, wanted) in [
            ("cafe\u{301}.png", "caf\u{e9}.png"),
            ("\u{1ec7}.jpg", "e\u{323}\u{302}.jpg"),
        ] {
            std::fs::write(folder.path().join(there), "").unwrap();
            let path = folder.path().join(wanted);
            // Some systems take both names for one.
            if !path.exists() {
                assert!(
                    missing(&[path]).contains("another form of Unicode"),
                    "{there}"
                );
            }
        }
        for other in ["caf\u{e9}s.png", "cafe.png", "\u{732b}.png"] {
            let said = missing(&[folder.path().join(other)]);
            assert!(!said.contains("Unicode"), "{said}");
        }
    }
}
