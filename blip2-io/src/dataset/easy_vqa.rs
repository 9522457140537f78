//! The data set easy-VQA.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Dataset, DatasetError, OnBroken, PictureFile,
    picture::Archive,
    read::{self, Collector},
};

/// A part of easy-VQA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// 4,000 pictures, 38,575 questions.
    Train,
    /// 1,000 pictures, 9,673 questions.
    Test,
}

impl Split {
    fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// Question, answer, picture.
type Question = (String, String, usize);

/// What a wheel's questions may unpack to; they are two megabytes.
const QUESTIONS_LIMIT: u64 = 1 << 24;

impl Dataset {
    /// Reads easy-VQA 1.0 (MIT, on PyPI): the wheel as it is downloaded, or its folder
    /// `easy_vqa/data`.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for files that cannot be read or have another form, and as `on_broken` says
    /// for questions about pictures that do not exist.
    pub fn easy_vqa(
        path: impl AsRef<Path>,
        split: Split,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let path = path.as_ref();
        if path.is_dir() {
            unpacked(path, split, on_broken)
        } else {
            packed(path, split, on_broken)
        }
    }
}

fn unpacked(data: &Path, split: Split, on_broken: OnBroken) -> Result<Dataset, DatasetError> {
    let folder = data.join(split.folder());
    let file = folder.join("questions.json");
    let questions: Vec<Question> = read::json(&file)?;
    let mut collector = Collector::new(file);
    for (number, (question, answer, picture)) in questions.into_iter().enumerate() {
        let path = folder.join(format!("images/{picture}.png"));
        let place = format!("question {number}");
        collector.add(
            place,
            number.to_string(),
            &[path],
            Some(question),
            vec![answer],
        );
    }
    collector.finish(on_broken)
}

fn packed(wheel: &Path, split: Split, on_broken: OnBroken) -> Result<Dataset, DatasetError> {
    let archive = Archive::open(wheel)?;
    let folder = format!("easy_vqa/data/{}", split.folder());
    let name = format!("{folder}/questions.json");
    let file = wheel.join(&name);
    let questions: Vec<Question> = read::parsed(&file, &archive.read(&name, QUESTIONS_LIMIT)?)?;
    let known: std::collections::HashSet<String> = archive.names().into_iter().collect();
    let count = questions
        .iter()
        .map(|(_, _, picture)| picture.saturating_add(1))
        .max()
        .unwrap_or(0);
    let mut collector = Collector::new(file);
    let mut places = vec![None; count.min(known.len())];
    for (number, (question, answer, picture)) in questions.into_iter().enumerate() {
        let place = format!("question {number}");
        let name = format!("{folder}/images/{picture}.png");
        if !known.contains(&name) || picture >= places.len() {
            collector.broken(place, format!("there is no picture {name}"));
            continue;
        }
        let picture = *places[picture].get_or_insert_with(|| {
            let archive = archive.clone();
            collector
                .pictures
                .push(PictureFile::Member { archive, name });
            collector.pictures.len() - 1
        });
        collector.examples.push(super::Example {
            id: number.to_string(),
            picture,
            question: Some(question),
            answers: vec![answer],
            place,
        });
    }
    collector.finish(on_broken)
}
