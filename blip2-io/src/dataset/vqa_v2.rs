//! VQAv2 and what has its form (OK-VQA, VQAv1).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Dataset, DatasetError, OnBroken, read};

#[derive(Deserialize)]
struct Questions {
    #[serde(default)]
    data_subtype: Option<String>,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    image_id: u64,
    question: String,
    question_id: u64,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: u64,
    answers: Vec<Answer>,
    #[serde(default)]
    question_type: Option<String>,
    #[serde(default)]
    answer_type: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

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
        let Questions {
            data_subtype,
            questions,
        } = read::json(file)?;
        let mut known: Option<HashMap<u64, Annotation>> = match annotations {
            None => None,
            Some(annotations) => {
                let Annotations { annotations } = read::json(annotations)?;
                let own = |annotation: Annotation| (annotation.question_id, annotation);
                Some(annotations.into_iter().map(own).collect())
            }
        };
        let mut collector = read::Collector::new(file.to_path_buf());
        for question in questions {
            let place = format!("question {}", question.question_id);
            let annotation = match &mut known {
                None => None,
                Some(all) => match all.remove(&question.question_id) {
                    Some(own) => Some(own),
                    None => {
                        collector.broken(place, "the annotations have no answers to it".into());
                        continue;
                    }
                },
            };
            let (answers, question_type, answer_type) = match annotation {
                Some(own) => (own.answers, own.question_type, own.answer_type),
                None => (Vec::new(), None, None),
            };
            let added = collector.add(
                place,
                question.question_id.to_string(),
                &coco_files(pictures, data_subtype.as_deref(), question.image_id),
                Some(question.question),
                answers.into_iter().map(|answer| answer.answer).collect(),
            );
            if let Some(example) = added {
                example.question_type = question_type;
                example.answer_type = answer_type;
            }
        }
        collector.finish(on_broken)
    }
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
    files.push(pictures.join(format!("{id:012}.jpg")));
    files
}
