//! What a record says, by the names of its keys.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Columns, Example,
    below::located,
    choice::{Chosen, RIGHT_CHOICE, Told, chosen},
    fields::{self, Fields, lacks, named as get, text, texts, unfit},
    quote::{found, quoted},
    turns::{CONVERSATION, Turn, turns},
};

pub(super) const IMAGE: [&str; 6] = [
    "image",
    "file_name",
    "image_path",
    "filename",
    "video",
    "video_path",
];
const QUESTION: [&str; 1] = ["question"];
const ANSWER: [&str; 3] = ["answers", "answer", "direct_answers"];
const CAPTION: [&str; 5] = ["caption", "captions", "text", "txt", "cls"];
const CHOICES: [&str; 1] = ["choices"];
/// As IconQA alone calls a question's type; its answers among choices are places.
const ICONQA: &str = "ques_type";
const QUESTION_TYPE: [&str; 2] = ["question_type", ICONQA];
const ANSWER_TYPE: [&str; 1] = ["answer_type"];
const ID: [&str; 5] = ["question_id", "id", "pid", "instance_id", "image_id"];

/// What a picture is called in most data sets, of which it may have several records.
const IMAGE_ID: &str = "image_id";

/// Beside the answers: how much each of them weighs.
const WEIGHTS: [&str; 2] = ["weights", "weight"];

/// A record as it is written, before its picture is looked for.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) image: Option<String>,
    /// Of IconQA: the folder of the picture.
    pid: Option<String>,
    pub(super) question: Option<String>,
    pub(super) answers: Vec<String>,
    /// Of a conversation: questions with their answers, in place of the one above.
    turns: Vec<Turn>,
    /// Whether the answer is one of given choices.
    pub(super) is_choice: bool,
    /// How the right choice was told.
    pub(super) told: Told,
    /// What there is to choose from.
    pub(super) choices: Vec<String>,
    pub(super) question_type: Option<String>,
    pub(super) answer_type: Option<String>,
    pub(super) id: Option<String>,
    /// By which key that is told.
    id_key: Option<String>,
    /// What the picture is called, whichever key the record's id is.
    pub(super) image_id: Option<String>,
}

impl Record {
    /// Reads a record; the error is a sentence that says what does not fit, and what would.
    pub(super) fn of(fields: &Fields, columns: &Columns) -> Result<Self, String> {
        let turns = conversation(fields, columns)?;
        let said = match turns.is_empty() {
            true => asked(fields, columns)?,
            false => Said::default(),
        };
        let is_choice = said.is_choice;
        let id = column(fields, columns.id.as_deref(), &ID);
        Ok(Self {
            id_key: id.map(|(key, _)| key.to_string()),
            id: optional(id)?,
            image_id: image_id(fields),
            turns,
            image: image(fields, columns)?,
            pid: optional(fields::first(fields, ["pid"]))?,
            question: said.question,
            answers: said.chosen.answers,
            is_choice,
            told: said.chosen.told,
            choices: match column(fields, columns.choices.as_deref(), &CHOICES) {
                Some((key, choices)) if is_choice => texts(key, choices)?,
                _ => Vec::new(),
            },
            question_type: kind(fields, &QUESTION_TYPE),
            answer_type: kind(fields, &ANSWER_TYPE),
        })
    }

    /// The examples that it is of, about the picture of this number; `id` is for one that names none.
    /// The turns of a conversation are counted behind it.
    pub(super) fn examples(self, id: String, picture: usize, place: String) -> Vec<Example> {
        let id = self.id.unwrap_or(id);
        let several = self.turns.len() > 1;
        let said = match self.turns.is_empty() {
            true => vec![(self.question, self.answers)],
            false => self
                .turns
                .into_iter()
                .map(|turn| (turn.question, vec![turn.answer]))
                .collect(),
        };
        let example = |(turn, (question, answers)): (usize, (Option<String>, Vec<String>))| {
            let id = match several {
                true => format!("{id}/{turn}"),
                false => id.clone(),
            };
            Example {
                id_key: self.id_key.clone(),
                question_type: self.question_type.clone(),
                answer_type: self.answer_type.clone(),
                choices: self.choices.clone(),
                ..Example::new(id, picture, question, answers, place.clone())
            }
        };
        said.into_iter().enumerate().map(example).collect()
    }

    /// The file of its picture, which is below `folder`.
    pub(super) fn picture(&self, folder: &Path) -> Result<PathBuf, String> {
        match (&self.image, &self.pid) {
            (Some(image), _) => located(folder, image),
            (None, Some(pid)) => located(folder, pid).map(|folder| folder.join("image.png")),
            (None, None) => Err(
                "it names no picture: it has neither `image` nor `file_name` nor \
                                 `pid`; name the key that has it by `columns`"
                    .into(),
            ),
        }
    }
}

/// Whether a record has something under this name.
pub(super) fn is_known(columns: &Columns, name: &str) -> bool {
    let is_picture = match &columns.image {
        Some(own) => own == name,
        None => IMAGE.contains(&name) || name == "images",
    };
    is_picture || names(columns).iter().any(|(own, _)| *own == name)
}

/// The keys that are read, but that of the picture, and whether they were named.
pub(super) fn names(columns: &Columns) -> Vec<(&str, bool)> {
    let Columns {
        image: _,
        question,
        answer,
        caption,
        choices,
        conversations,
        id,
    } = columns;
    let named: [(&Option<String>, &[&'static str]); 6] = [
        (question, &QUESTION),
        (answer, &ANSWER),
        (caption, &CAPTION),
        (choices, &CHOICES),
        (conversations, &CONVERSATION),
        (id, &ID),
    ];
    let named = named.into_iter().flat_map(|(own, usual)| match own {
        Some(own) => vec![(own.as_str(), true)],
        None => usual.iter().map(|usual| (*usual, false)).collect(),
    });
    let others = [RIGHT_CHOICE, IMAGE_ID]
        .into_iter()
        .chain(WEIGHTS)
        .chain(QUESTION_TYPE)
        .chain(ANSWER_TYPE);
    named.chain(others.map(|usual| (usual, false))).collect()
}

/// The key of the question.
#[cfg(feature = "tables")]
pub(super) fn question(columns: &Columns) -> &str {
    columns.question.as_deref().unwrap_or(QUESTION[0])
}

/// The keys of answers, and those of choices.
#[cfg(feature = "tables")]
pub(super) fn answers_and_choices(columns: &Columns) -> [Vec<&str>; 2] {
    let named: [(&Option<String>, &[&'static str]); 2] =
        [(&columns.answer, &ANSWER), (&columns.choices, &CHOICES)];
    named.map(|(own, usual)| match own {
        Some(own) => vec![own.as_str()],
        None => usual.to_vec(),
    })
}

/// The keys of which a record must have one.
#[cfg(feature = "tables")]
pub(super) fn asks_or_describes(columns: &Columns) -> Vec<&str> {
    let named: [(&Option<String>, &[&'static str]); 3] = [
        (&columns.question, &QUESTION),
        (&columns.caption, &CAPTION),
        (&columns.conversations, &CONVERSATION),
    ];
    let all = named.into_iter().flat_map(|(own, usual)| match own {
        Some(own) => vec![own.as_str()],
        None => usual.to_vec(),
    });
    all.collect()
}

/// The turns of a conversation, if the record is one; what is asked by another key comes first.
fn conversation(fields: &Fields, columns: &Columns) -> Result<Vec<Turn>, String> {
    let named = columns.conversations.as_deref();
    if named.is_none() && column(fields, columns.question.as_deref(), &QUESTION).is_some() {
        return Ok(Vec::new());
    }
    match (column(fields, named, &CONVERSATION), named) {
        (Some((key, value)), named) => match (turns(key, value)?, named) {
            (Some(turns), _) => Ok(turns),
            (None, Some(_)) => Err(unfit(key, value, "a list of turns")),
            (None, None) => Ok(Vec::new()),
        },
        (None, Some(named)) => Err(lacks(fields, &quoted(named))),
        (None, None) => Ok(Vec::new()),
    }
}

/// A named column, or the first of the usual ones.
fn column<'f, 'k>(
    fields: &'f Fields,
    named: Option<&'k str>,
    usual: &[&'static str],
) -> Option<(&'k str, &'f Value)> {
    match named {
        Some(named) => Some((named, get(fields, named)?)),
        None => fields::first(fields, usual.iter().copied()),
    }
}

/// The name of a kind; what else stands under such a key means something else.
fn kind(fields: &Fields, keys: &[&'static str]) -> Option<String> {
    let (_, value) = fields::first(fields, keys.iter().copied())?;
    value.as_str().map(str::to_string)
}

/// The id of the picture; what else stands under that key means something else.
fn image_id(fields: &Fields) -> Option<String> {
    text(IMAGE_ID, get(fields, IMAGE_ID)?).ok()
}

fn optional(found: Option<(&str, &Value)>) -> Result<Option<String>, String> {
    found.map(|(key, value)| text(key, value)).transpose()
}

/// The question with its answers, or the captions.
#[derive(Default)]
struct Said {
    question: Option<String>,
    chosen: Chosen,
    is_choice: bool,
}

fn asked(fields: &Fields, columns: &Columns) -> Result<Said, String> {
    if let Some((key, question)) = column(fields, columns.question.as_deref(), &QUESTION) {
        let question = text(key, question)?;
        let (chosen, is_choice) = answers(fields, columns)?;
        return Ok(Said {
            question: Some(question),
            chosen,
            is_choice,
        });
    }
    let Some((key, captions)) = column(fields, columns.caption.as_deref(), &CAPTION) else {
        let question = columns.question.as_deref().unwrap_or("question");
        let caption = columns.caption.as_deref().unwrap_or("caption");
        // A table has the key in every row.
        if let Some(empty) = [question, caption]
            .into_iter()
            .find(|key| fields::has(fields, key))
        {
            return Err(format!(
                "its {} is empty: nothing is asked, and nothing described",
                quoted(empty)
            ));
        }
        if is_picture_alone(fields, columns) {
            return Ok(Said::default());
        }
        let what = format!("{} nor {}", quoted(question), quoted(caption));
        let lacking = lacks(fields, &what).replacen("it has no", "it has neither", 1);
        return Err(format!("{lacking}; name the right ones by `columns`"));
    };
    Ok(Said {
        chosen: plainly(texts(key, captions)?),
        ..Said::default()
    })
}

/// Whether a record has a picture, and at the most what it is called and how large it is: one to be
/// captioned, as test sets are handed out. A key of another name may be a caption that was not found.
fn is_picture_alone(fields: &Fields, columns: &Columns) -> bool {
    let Columns {
        question,
        caption,
        conversations,
        ..
    } = columns;
    let named = [question, caption, conversations];
    let is_of_picture = |key: &str| {
        let own = [&columns.image, &columns.id].map(Option::as_deref);
        IMAGE.contains(&key)
            || ID.contains(&key)
            || own.contains(&Some(key))
            || ["images", "width", "height", "split"].contains(&key)
    };
    let has_picture = !matches!(image(fields, columns), Ok(None) | Err(_));
    has_picture
        && named.iter().all(|own| own.is_none())
        && fields.keys().all(|key| is_of_picture(key))
}

fn plainly(answers: Vec<String>) -> Chosen {
    Chosen {
        answers,
        told: Told::Plainly,
    }
}

/// The answers, and whether they are one of given choices.
fn answers(fields: &Fields, columns: &Columns) -> Result<(Chosen, bool), String> {
    if let Some(named) = &columns.answer
        && !fields::has(fields, named)
    {
        return Err(lacks(fields, &quoted(named)));
    }
    let found = column(fields, columns.answer.as_deref(), &ANSWER);
    if let Some((key, choices)) = column(fields, columns.choices.as_deref(), &CHOICES) {
        let choices = texts(key, choices)?;
        let right = fields::first(fields, [RIGHT_CHOICE]).or(found);
        let is_iconqa = fields.contains_key(ICONQA);
        let is_place = is_iconqa || right.is_some_and(|(key, _)| key == RIGHT_CHOICE);
        return Ok((chosen(&choices, right, is_place)?, true));
    }
    let Some((key, value)) = found else {
        return Ok((Chosen::default(), false));
    };
    let all = texts(key, value)?;
    match fields::first(fields, WEIGHTS) {
        Some((key, weights)) => Ok((plainly(weighed(all, key, weights)?), false)),
        None => Ok((plainly(all), false)),
    }
}

/// Answers as often as they weigh, in tenths, as if ten people had given them.
fn weighed(answers: Vec<String>, key: &str, weights: &Value) -> Result<Vec<String>, String> {
    // The only cell of a table with an answer in each row is a text.
    let number = |one: &Value| match one {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let numbers: Option<Vec<f64>> = match weights {
        Value::Array(all) => all.iter().map(number).collect(),
        one => number(one).map(|one| vec![one]),
    };
    let fit = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    let numbers = numbers.filter(|all| all.iter().all(fit));
    let due = "as many numbers from 0 on as there are answers";
    let numbers = numbers.ok_or_else(|| unfit(key, weights, due))?;
    if numbers.len() != answers.len() {
        return Err(unfit(key, weights, due));
    }
    let most = numbers.iter().copied().fold(0.0, f64::max);
    if most == 0.0 && !answers.is_empty() {
        return Err(format!("by its {} no answer weighs anything", quoted(key)));
    }
    // Of parts of the largest, whose sum is finite.
    let sum: f64 = numbers.iter().map(|weight| weight / most).sum();
    let copies = |weight: f64| match weight > 0.0 {
        true => (10.0 * (weight / most) / sum).round().clamp(1.0, 10.0) as usize,
        false => 0,
    };
    let each = answers.into_iter().zip(numbers);
    Ok(each
        .flat_map(|(answer, weight)| std::iter::repeat_n(answer, copies(weight)))
        .collect())
}

/// The name of the picture: a text, the `path` of what the hub's tables hold, or a list of one.
fn image(fields: &Fields, columns: &Columns) -> Result<Option<String>, String> {
    if let Some((key, value)) = column(fields, columns.image.as_deref(), &IMAGE) {
        return name(key, value).map(Some);
    }
    if let Some(named) = &columns.image {
        return Err(lacks(fields, &quoted(named)));
    }
    match get(fields, "images") {
        None => Ok(None),
        Some(own @ Value::Array(_)) => name("images", own).map(Some),
        Some(other) => Err(unfit("images", other, "a list of one picture's name")),
    }
}

/// The name of a picture, or of the only one of a list.
fn name(key: &str, value: &Value) -> Result<String, String> {
    let value = match value {
        Value::Array(all) => match all.as_slice() {
            [one] => one,
            _ => {
                return Err(format!(
                    "its {} is a list of {}, and an example is of one",
                    quoted(key),
                    all.len()
                ));
            }
        },
        one => one,
    };
    let path = value.get("path").filter(|path| path.is_string());
    let Some(name) = path.unwrap_or(value).as_str() else {
        return match value {
            Value::Number(_) => text(key, value),
            other => Err(format!(
                "{} is {}, where the name of a picture's file would fit",
                quoted(key),
                found(other)
            )),
        };
    };
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value, columns: &Columns) -> Result<Record, String> {
        Record::of(&fields::object(value).unwrap(), columns)
    }

    fn named() -> Columns {
        Columns::default()
            .with_question(Some("q".into()))
            .with_answer(Some("a".into()))
            .with_image(Some("img".into()))
    }

    #[test]
    fn columns_are_read_by_their_names_and_captions_beside_them() {
        let record = read(
            json!({"q": "what?", "a": ["red", 2], "img": "x.png"}),
            &named(),
        )
        .unwrap();
        assert_eq!(record.question.as_deref(), Some("what?"));
        assert_eq!(record.answers, ["red", "2"]);
        let record = read(json!({"caption": "a dog", "img": "x.png"}), &named()).unwrap();
        assert_eq!(
            (record.question, record.answers.join("")),
            (None, "a dog".into())
        );
    }

    #[test]
    fn what_is_missing_is_told_with_what_is_there() {
        for (value, columns, said) in [
            (
                json!({"Question": "?"}),
                Columns::default(),
                "it has neither `question` nor `caption`; its keys are `Question`",
            ),
            (
                json!({"question": "?", "a": 1, "img": 1}),
                named(),
                "it has neither `q` nor `caption`; its keys are `question`, `a`, `img`",
            ),
            (
                json!({"q": "?", "b": 1, "img": "x"}),
                named(),
                "it has no `a`; its keys are `q`, `b`, `img`",
            ),
            (
                json!({"q": "?", "a": 1, "image": "x"}),
                named(),
                "it has no `img`; its keys are",
            ),
            (
                json!({"question": "?", "image": ["a", "b"]}),
                Columns::default(),
                "its `image` is a list of 2, and an example is of one",
            ),
            (
                json!({"question": "?", "images": ["a", "b"]}),
                Columns::default(),
                "its `images` is a list of 2, and an example is of one",
            ),
            (
                json!({"question": {"en": "?"}}),
                Columns::default(),
                "`question` is an object with the keys `en`, where",
            ),
        ] {
            let found = read(value.clone(), &columns).unwrap_err();
            assert!(found.contains(said), "{value}: {found}");
        }
    }

    #[test]
    fn answers_weigh_in_tenths() {
        let value = json!({"question": "?", "answer": ["a", "b"], "weight": [0.9, 0.3]});
        let record = read(value, &Columns::default()).unwrap();
        assert_eq!(record.answers.iter().filter(|own| *own == "a").count(), 8);
        assert_eq!(record.answers.len(), 11);
        // What weighs nothing is no answer, and large numbers have a sum, too.
        for weight in [json!([1, 0]), json!([1e308, 0.0]), json!(["0.5", "0"])] {
            let value = json!({"question": "?", "answer": ["a", "b"], "weight": weight});
            let answers = read(value, &Columns::default()).unwrap().answers;
            assert_eq!(answers, vec!["a"; 10]);
        }
        let value = json!({"question": "?", "answer": ["a", "b"], "weight": [1e308, 1e308]});
        assert_eq!(read(value, &Columns::default()).unwrap().answers.len(), 10);
        for (weight, said) in [
            (json!([1]), "as many numbers"),
            (json!([1, -1]), "as many numbers"),
            (json!(["nan", 1]), "as many numbers"),
            (json!(["inf", 1]), "as many numbers"),
            (json!([0, 0]), "by its `weight` no answer weighs anything"),
            (json!([0, 0.0]), "by its `weight` no answer weighs anything"),
        ] {
            let value = json!({"question": "?", "answer": ["a", "b"], "weight": weight});
            let error = read(value, &Columns::default()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_list_of_one_picture_is_it() {
        for image in [json!("a.png"), json!(["a.png"]), json!([{"path": "a.png"}])] {
            for key in ["image", "images"] {
                let value = json!({"question": "?", key: image});
                match read(value, &Columns::default()) {
                    Ok(record) => assert_eq!(record.image.as_deref(), Some("a.png")),
                    Err(error) => assert!(key == "images" && image.is_string(), "{error}"),
                }
            }
        }
    }

    #[test]
    fn names_of_columns_lead_into_objects() {
        let columns = Columns::default()
            .with_question(Some("qa.q".into()))
            .with_answer(Some("qa.all.said".into()))
            .with_image(Some("photo.file".into()));
        let value =
            json!({"qa": {"q": "what?", "all": {"said": ["a"]}}, "photo": {"file": "x.png"}});
        let record = read(value, &columns).unwrap();
        assert_eq!(record.question.as_deref(), Some("what?"));
        assert_eq!(
            (record.answers, record.image),
            (vec!["a".to_string()], Some("x.png".into()))
        );
        // A key that has dots itself comes first.
        let value = json!({"qa.q": "own?", "qa": {"q": "what?", "all": {"said": "b"}}, "photo": {"file": "x"}});
        assert_eq!(
            read(value, &columns).unwrap().question.as_deref(),
            Some("own?")
        );
        let value = json!({"qa": {"q": "what?", "all": 3}, "photo": {"file": "x"}});
        let error = read(value, &columns).unwrap_err();
        assert!(error.contains("it has no `qa.all.said`"), "{error}");
    }
}
