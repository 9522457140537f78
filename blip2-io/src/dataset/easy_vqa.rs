//! The data set easy-VQA.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Dataset, DatasetError, OnBroken, PictureFile,
    collect::Collector,
    fields::{text, whole},
    json,
    picture::Archive,
    quote::found,
    read,
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
type Question = (String, String, u64);

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
    let text = read::text(&file)?;
    let mut collector = Collector::new(file.clone());
    for (number, (question, answer, picture)) in questions(&file, &text, &mut collector)? {
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

/// The questions by their numbers.
fn questions(
    file: &Path,
    bytes: &[u8],
    collector: &mut Collector,
) -> Result<Vec<(usize, Question)>, DatasetError> {
    let mut questions = Vec::new();
    json::list(file, bytes, |number, value| match question(&value) {
        Ok(own) => questions.push((number, own)),
        Err(reason) => collector.broken(format!("question {number}"), reason),
    })?;
    Ok(questions)
}

fn question(value: &Value) -> Result<Question, String> {
    let all = value.as_array().map(Vec::as_slice);
    let Some([question, answer, picture]) = all else {
        let found = found(value);
        return Err(format!(
            "it is {found}, where a list of a question, an answer and a picture's number would fit"
        ));
    };
    Ok((
        text("question", question)?,
        text("answer", answer)?,
        whole("picture", picture)?,
    ))
}

fn packed(wheel: &Path, split: Split, on_broken: OnBroken) -> Result<Dataset, DatasetError> {
    let archive = Archive::open(wheel)?;
    let folder = format!("easy_vqa/data/{}", split.folder());
    let name = format!("{folder}/questions.json");
    let file = wheel.join(&name);
    let text = archive.read(&name, QUESTIONS_LIMIT)?;
    let known: HashSet<String> = archive.names().into_iter().collect();
    let mut collector = Collector::new(file.clone());
    let mut places = HashMap::new();
    for (number, (question, answer, picture)) in questions(&file, &text, &mut collector)? {
        let place = format!("question {number}");
        let name = format!("{folder}/images/{picture}.png");
        if !known.contains(&name) {
            collector.broken(place, format!("there is no picture {name}"));
            continue;
        }
        let picture = *places.entry(picture).or_insert_with(|| {
            let archive = archive.clone();
            collector
                .pictures
                .push(PictureFile::Member { archive, name });
            collector.pictures.len() - 1
        });
        let id = number.to_string();
        let example = super::Example::new(id, picture, Some(question), vec![answer], place);
        collector.examples.push(example);
    }
    collector.finish(on_broken)
}
