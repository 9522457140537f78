//! VizWiz's questions of blind people.

use std::path::Path;

use super::{
    Columns, Dataset, DatasetError, OnBroken, below::folder_is_there, collect::Collector, fields,
    json, read, record::Record,
};

impl Dataset {
    /// Reads VizWiz-VQA: a list of questions, each with its `image`, a file in `pictures`, and ten
    /// people's `answers`, but for the test questions. Questions that cannot be answered are among them,
    /// with "unanswerable" for an answer; with `answerable_only` they are passed over.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or has another form, and as `on_broken` says for
    /// entries that do not fit.
    pub fn vizwiz(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        answerable_only: bool,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let text = read::text(file)?;
        let mut collector = Collector::new(file.to_path_buf());
        // A picture has one question, and is what the server calls it.
        let columns = Columns::default().with_id(Some("image".into()));
        json::list(file, &text, |index, value| {
            let place = format!("index {index}");
            let record = fields::object(value).and_then(|fields| {
                let answerable = match fields::get(&fields, "answerable") {
                    Some(value) => fields::whole("answerable", value)? != 0,
                    None => true,
                };
                let wanted = answerable || !answerable_only;
                wanted.then(|| Record::of(&fields, &columns)).transpose()
            });
            match record {
                Ok(None) => {}
                Ok(Some(record)) => collector.add_record(place, record, pictures),
                Err(reason) => collector.broken(place, reason),
            }
        })?;
        collector.finish(on_broken)
    }
}
