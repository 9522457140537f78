//! A-OKVQA's questions with choices.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Columns, Dataset, DatasetError, OnBroken,
    below::{COCO, folder_is_there, located_in},
    collect::Collector,
    fields::{self, needed, whole},
    json, read,
    record::Record,
};

/// What of A-OKVQA is the answer to a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceAnswers {
    /// The words of the right one of its four choices.
    #[default]
    Choice,
    /// What ten people answered who were not shown the choices.
    Direct,
}

impl Dataset {
    /// Reads A-OKVQA: a list of questions about COCO's pictures of 2017, `{image_id:012}.jpg` in
    /// `pictures` or its folders (`train2017`), with `choices`, `correct_choice_idx` and `direct_answers`, of which `answers` says
    /// what is the answer. Test questions have none.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or has another form, and as `on_broken` says for
    /// entries that do not fit.
    pub fn a_okvqa(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        answers: ChoiceAnswers,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let text = read::text(file)?;
        let mut collector = Collector::new(file.to_path_buf());
        // The other's keys are not read.
        let hidden = match answers {
            ChoiceAnswers::Choice => "direct_answers",
            ChoiceAnswers::Direct => "choices",
        };
        json::list(file, &text, |index, value| {
            let place = format!("index {index}");
            let record = fields::object(value).and_then(|mut fields| {
                fields.remove(hidden);
                let picture = match fields::get(&fields, "image") {
                    Some(_) => None,
                    None => Some(whole("image_id", needed(&fields, "image_id")?)?),
                };
                Ok((Record::of(&fields, &Columns::default())?, picture))
            });
            match record {
                Ok((record, Some(id))) => {
                    match located_in(pictures, &COCO, &format!("{id:012}.jpg")) {
                        Ok(files) => collector.add_record_of(place, record, &files),
                        Err(reason) => collector.broken(place, reason),
                    }
                }
                Ok((record, None)) => collector.add_record(place, record, pictures),
                Err(reason) => collector.broken(place, reason),
            }
        })?;
        collector.finish(on_broken)
    }
}
