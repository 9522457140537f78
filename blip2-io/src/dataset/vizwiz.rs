//! VizWiz's questions of blind people.

use std::path::Path;

use super::{
    Columns, Dataset, DatasetError, OnBroken,
    below::{folder_is_there, located_in},
    collect::Collector,
    fields, json, read,
    record::Record,
};

/// The folders that the pictures are published in.
const FOLDERS: [&str; 3] = ["train", "val", "test"];

impl Dataset {
    /// Reads VizWiz-VQA: a list of questions, each with its `image`, a file in `pictures` or its
    /// folders (`train`, `val`, `test`), and ten people's `answers`, but for the test questions. Questions
    /// that cannot be answered are among them, with "unanswerable" for an answer; with `answerable_only`
    /// they are passed over.
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
                let read = || {
                    let record = Record::of(&fields, &columns)?;
                    let files = match &record.image {
                        Some(name) => located_in(pictures, &FOLDERS, name)?,
                        None => vec![record.picture(pictures)?],
                    };
                    Ok((record, files))
                };
                wanted.then(read).transpose()
            });
            match record {
                Ok(None) => {}
                Ok(Some((record, files))) => collector.add_record_of(place, record, &files),
                Err(reason) => collector.broken(place, reason),
            }
        })?;
        collector.finish(on_broken)
    }
}
