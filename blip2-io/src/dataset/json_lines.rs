//! A record a line, and IconQA's layout.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{Dataset, DatasetError, OnBroken, read};

/// What a line may hold; other keys are passed over.
#[derive(Deserialize)]
struct Record {
    question: Option<String>,
    #[serde(default)]
    answer: Option<Words>,
    #[serde(default)]
    answers: Option<Words>,
    caption: Option<Words>,
    #[serde(default)]
    choices: Option<Vec<Id>>,
    image: Option<String>,
    pid: Option<Id>,
    id: Option<Id>,
    question_id: Option<Id>,
    question_type: Option<Value>,
    /// As IconQA calls it.
    ques_type: Option<Value>,
    answer_type: Option<Value>,
}

/// One text or several; a number is the text that writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(Id),
    Many(Vec<Id>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Whole(i64),
    Number(f64),
}

impl Id {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Words {
    fn texts(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.text()],
            Self::Many(many) => many.into_iter().map(Id::text).collect(),
        }
    }
}

impl Dataset {
    /// Reads a file with a JSON object a line: `question` with `answer` (or `answers`), or `caption`;
    /// and `image`, a file below `pictures`, or `pid`, for which the picture is
    /// `pictures/{pid}/image.png` (IconQA's fill-in-the-blank questions are `train.jsonl` of such).
    /// With `choices`, a list, an `answer` that is a number is a place among them, counted from 0, and
    /// stands for that choice's words. `question_type` and `answer_type` are kept for tables. Empty
    /// lines are passed over.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read, and as `on_broken` says for lines that are no
    /// such record or whose picture does not exist.
    pub fn json_lines(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        let text = read::bytes(file)?;
        let mut collector = read::Collector::new(file.to_path_buf());
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let place = format!("line {}", number + 1);
            match serde_json::from_slice::<Record>(line) {
                Err(error) => collector.broken(place, error.to_string()),
                Ok(record) => add(&mut collector, place, record, pictures),
            }
        }
        collector.finish(on_broken)
    }

    /// Reads a folder of items, each a folder with `data.json` (`question` and `id`) and `image.png`,
    /// as IconQA's test questions are handed out. They have no answers, unless `data.json` tells them
    /// by `answer`. Items are in the order of their names.
    ///
    /// # Errors
    ///
    /// As [`json_lines`](Self::json_lines).
    pub fn iconqa_test(
        folder: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let folder = folder.as_ref();
        let failed = |source| DatasetError::Read {
            path: folder.to_path_buf(),
            source,
        };
        let mut items: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                items.push(path);
            }
        }
        items.sort();
        let mut collector = read::Collector::new(folder.to_path_buf());
        for item in items {
            let name = item.file_name().unwrap_or_default().to_string_lossy();
            let place = format!("item {name}");
            match read::json::<Record>(&item.join("data.json")) {
                Err(error) => collector.broken(place, error.to_string()),
                Ok(mut record) => {
                    record.image.get_or_insert("image.png".into());
                    record.id.get_or_insert(Id::Text(name.to_string()));
                    add(&mut collector, place, record, &item);
                }
            }
        }
        collector.finish(on_broken)
    }
}

fn add(collector: &mut read::Collector, place: String, record: Record, pictures: &Path) {
    let pid = record.pid.map(Id::text);
    let picture = match (&record.image, &pid) {
        (Some(image), _) => read::inside(pictures, image),
        (None, Some(pid)) => read::inside(pictures, pid).map(|folder| folder.join("image.png")),
        (None, None) => {
            return collector.broken(
                place,
                "it names no picture: neither `image` nor `pid`".into(),
            );
        }
    };
    let Some(picture) = picture else {
        return collector.broken(place, read::OUTSIDE.into());
    };
    let mut answers = record.answers.or(record.answer);
    let mut choices = Vec::new();
    if let Some(given) = record.choices {
        choices = given.into_iter().map(Id::text).collect();
        match chosen(&choices, answers) {
            Ok(words) => answers = words,
            Err(reason) => return collector.broken(place, reason),
        }
        collector.choices += 1;
    }
    let (question, answers) = match (record.question, record.caption) {
        (Some(question), _) => (Some(question), answers),
        (None, Some(caption)) => (None, Some(caption)),
        (None, None) => {
            return collector.broken(place, "it has neither `question` nor `caption`".into());
        }
    };
    let id = record.question_id.or(record.id).map(Id::text).or(pid);
    let added = collector.add(
        place.clone(),
        id.unwrap_or(place),
        &[picture],
        question,
        answers.map(Words::texts).unwrap_or_default(),
    );
    if let Some(example) = added {
        example.question_type = record.question_type.or(record.ques_type).and_then(kind);
        example.answer_type = record.answer_type.and_then(kind);
        example.choices = choices;
    }
}

/// The name of a kind; what else stands under such a key means something else.
fn kind(value: Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name),
        _ => None,
    }
}

/// The words of the right choice: IconQA and A-OKVQA tell its place, counted from 0. An answer that is
/// one of the choices is taken as it is.
fn chosen(choices: &[String], answer: Option<Words>) -> Result<Option<Words>, String> {
    if let Some(picture) = choices.iter().find(|choice| is_picture(choice)) {
        return Err(format!(
            "its choices are pictures (`{picture}`), which cannot be written as an answer"
        ));
    }
    let Some(Words::One(answer)) = answer else {
        return Ok(answer);
    };
    let place = match &answer {
        Id::Text(text) if choices.contains(text) => return Ok(Some(Words::One(answer))),
        Id::Text(text) => text.trim().parse().ok(),
        Id::Whole(place) => usize::try_from(*place).ok(),
        Id::Number(_) => None,
    };
    let words = place.and_then(|place: usize| choices.get(place).cloned());
    match words {
        Some(words) => Ok(Some(Words::One(Id::Text(words)))),
        None => Err(format!(
            "its answer `{}` is none of its {} choices, counted from 0",
            answer.text(),
            choices.len()
        )),
    }
}

/// Whether a choice is the name of a picture's file.
fn is_picture(choice: &str) -> bool {
    let ending = Path::new(choice)
        .extension()
        .map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ending == "png" || ending == "jpg" || ending == "jpeg")
}
