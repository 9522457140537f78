//! VQAv2 and what has its form (OK-VQA, VQAv1).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Dataset, DatasetError, OnBroken,
    below::{COCO, folder_is_there},
    collect::Collector,
    fields::{self, needed, needed_text, texts, whole},
    json, read,
};

/// What is asked about a picture.
struct Question {
    image: u64,
    text: String,
    id: String,
}

/// What people said to a question, and of which kind it is.
#[derive(Default)]
struct Annotation {
    answers: Vec<String>,
    question_type: Option<String>,
    answer_type: Option<String>,
}

/// Annotations by the ids of questions.
type Annotations = HashMap<String, Annotation>;

impl Dataset {
    /// Reads VQAv2: the file of questions, and the file of annotations with ten people's answers to
    /// each, without which they have none (the test questions). Pictures are COCO's, below
    /// `pictures` or in it: `COCO_train2014_000000000001.jpg` where the questions' `data_subtype` is
    /// `train2014`, or `000000000001.jpg`.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for files that cannot be read or have another form, and as `on_broken` says
    /// for questions without annotation or picture.
    pub fn vqa_v2(
        questions: impl AsRef<Path>,
        annotations: Option<&Path>,
        pictures: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (questions.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let mut collector = Collector::new(file.to_path_buf());
        let answers = annotations.map(|file| read_answers(file, &mut collector));
        let mut answers: Option<Annotations> = answers.transpose()?;
        let (subtype, questions) = read_questions(file, &mut collector)?;
        for Question { image, text, id } in questions {
            let place = format!("question {id}");
            let own = match &mut answers {
                None => Some(Annotation::default()),
                Some(all) => all.remove(&id),
            };
            let Some(own) = own else {
                collector.broken(place, "the annotations have no answers to it".into());
                continue;
            };
            let files = coco_files(pictures, subtype.as_deref(), image);
            let added = collector.add(place, id, &files, Some(text), own.answers);
            if let Some(example) = added {
                example.question_type = own.question_type;
                example.answer_type = own.answer_type;
            }
        }
        collector.finish(on_broken)
    }
}

/// The questions, and which pictures of COCO they are about.
fn read_questions(
    file: &Path,
    collector: &mut Collector,
) -> Result<(Option<String>, Vec<Question>), DatasetError> {
    let text = read::text(file)?;
    let (mut subtype, mut questions) = (None, Vec::new());
    json::lists(
        file,
        &text,
        &["questions"],
        |_, index, value| match question(value) {
            Ok(own) => questions.push(own),
            Err(reason) => collector.broken(format!("questions, index {index}"), reason),
        },
        |key, value| {
            if key == "data_subtype" {
                subtype = Some(value.to_string());
            }
        },
    )?;
    Ok((subtype, questions))
}

fn question(value: Value) -> Result<Question, String> {
    let fields = fields::object(value)?;
    Ok(Question {
        image: whole("image_id", needed(&fields, "image_id")?)?,
        text: needed_text(&fields, "question")?,
        id: needed_text(&fields, "question_id")?,
    })
}

fn read_answers(file: &Path, collector: &mut Collector) -> Result<Annotations, DatasetError> {
    let text = read::text(file)?;
    let mut answers = Annotations::new();
    json::lists(
        file,
        &text,
        &["annotations"],
        |_, index, value| {
            let read = fields::object(value).and_then(|fields| {
                let kind = |key: &str| Some(fields::get(&fields, key)?.as_str()?.to_string());
                let own = Annotation {
                    answers: texts("answers", needed(&fields, "answers")?)?,
                    question_type: kind("question_type"),
                    answer_type: kind("answer_type"),
                };
                Ok((needed_text(&fields, "question_id")?, own))
            });
            match read {
                Ok((id, own)) => {
                    answers.insert(id, own);
                }
                Err(reason) => {
                    let place = format!("annotations, index {index}");
                    collector.broken_in(file.to_path_buf(), place, reason);
                }
            }
        },
        |_, _| {},
    )?;
    Ok(answers)
}

/// Where the picture of an id may be. The test questions of 2015 are about pictures of that year. A
/// subtype that leads out of the pictures' folder has none.
fn coco_files(pictures: &Path, subtype: Option<&str>, id: u64) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(subtype) = subtype.filter(|subtype| !subtype.contains(['/', '\\', '.'])) {
        let year = subtype
            .strip_prefix("test-dev")
            .map_or_else(|| subtype.to_string(), |year| format!("test{year}"));
        let name = format!("COCO_{year}_{id:012}.jpg");
        files.extend([pictures.join(&name), pictures.join(&year).join(&name)]);
    }
    let name = format!("{id:012}.jpg");
    files.push(pictures.join(&name));
    files.extend(COCO.map(|below| pictures.join(below).join(&name)));
    files
}
