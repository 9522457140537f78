//! GQA's questions about scenes.

use std::path::Path;

use super::{
    Dataset, DatasetError, OnBroken,
    below::{folder_is_there, located_in},
    collect::Collector,
    fields::{self, Fields, get, needed_text, text},
    json,
    quote::quoted,
    read,
};

/// What GQA calls the id of a question, a text of digits that may begin with 0.
const ID: &str = "questionId";

impl Dataset {
    /// Reads GQA: an object of questions by their ids, each with `imageId`, for which the picture is
    /// `{imageId}.jpg` in `pictures` or its folder `images`, and its `answer`, or with `full_answers` the sentence that
    /// answers it.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or has another form, and as `on_broken` says for
    /// questions that do not fit.
    pub fn gqa(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        full_answers: bool,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let bytes = read::text(file)?;
        let answer = if full_answers { "fullAnswer" } else { "answer" };
        let mut collector = Collector::new(file.to_path_buf());
        json::entries(file, &bytes, |id, value| {
            let place = format!("question {}", quoted(&id));
            match fields::object(value).and_then(|fields| asked(&fields, answer)) {
                Err(reason) => collector.broken(place, reason),
                Ok((picture, question, answers)) => {
                    match located_in(pictures, &["images"], &picture) {
                        Err(reason) => collector.broken(place, reason),
                        Ok(files) => {
                            let added = collector.add(place, id, &files, Some(question), answers);
                            if let Some(example) = added {
                                example.id_key = Some(ID.into());
                            }
                        }
                    }
                }
            }
        })?;
        collector.finish(on_broken)
    }
}

/// The picture's name, the question and its answer.
fn asked(fields: &Fields, answer: &str) -> Result<(String, String, Vec<String>), String> {
    let picture = format!("{}.jpg", needed_text(fields, "imageId")?);
    let question = needed_text(fields, "question")?;
    let answers = get(fields, answer).map(|value| text(answer, value));
    Ok((
        picture,
        question,
        answers.transpose()?.into_iter().collect(),
    ))
}
