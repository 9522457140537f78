//! A record a line, or a list of records, and IconQA's layout.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Columns, Dataset, DatasetError, OnBroken, below::folder_is_there, collect::Collector, fields,
    json, quote::quoted, read, record::Record,
};

impl Dataset {
    /// Reads a file with a JSON object a line: `question` with `answer` (or `answers`), or `caption`;
    /// and `image`, a file below `pictures`, or `pid`, for which the picture is
    /// `pictures/{pid}/image.png` (IconQA's fill-in-the-blank questions are `train.jsonl` of such).
    /// With `choices`, a list, an `answer` that is a number is a place among them, counted from 0, and
    /// stands for that choice's words; one that is itself one of the choices is what the other records'
    /// answers are, a place or the words, and broken where those do not tell. Empty lines are passed over.
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
        Self::json_records(file, pictures, &Columns::default(), on_broken)
    }

    /// Reads a file of JSON objects whose keys have these names: a line each, or all in a list, as
    /// LAVIS's annotations are. What a record may hold is told at [`Columns`].
    ///
    /// # Errors
    ///
    /// As [`json_lines`](Self::json_lines).
    ///
    /// ```
    /// use blip2_io::dataset::{Columns, Dataset, OnBroken};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("vqa.json");
    /// std::fs::write(&file, r#"[{"q": "what color?", "a": ["red", "dark red"], "img": "red-triangle.png"}]"#)?;
    /// let columns = Columns::default()
    ///     .with_question(Some("q".into()))
    ///     .with_answer(Some("a".into()))
    ///     .with_image(Some("img".into()));
    /// let data = Dataset::json_records(&file, "../examples/images", &columns, OnBroken::Fail)?;
    /// assert_eq!(data.examples()[0].answers, ["red", "dark red"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn json_records(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        columns: &Columns,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let text = read::text(file)?;
        if json::is_spread(&text) {
            let reason = "it is an object over several lines, where an object a line, or a list `[…]` of \
                          objects, is due";
            return Err(DatasetError::format(file, reason));
        }
        if json::is_of_returns(&text) {
            let reason = "its lines end with carriage returns alone (CR), as on old Macs: save it with line \
                          feeds (LF)";
            return Err(DatasetError::format(file, reason));
        }
        let mut collector = Collector::new(file.to_path_buf());
        let mut add = |place: String, fields: Result<fields::Fields, String>| match fields
            .and_then(|fields| Record::of(&fields, columns))
        {
            Ok(record) => collector.add_record(place, record, pictures),
            Err(reason) => collector.broken(place, reason),
        };
        match json::is_list(&text) {
            true => json::list(file, &text, |index, value| {
                add(format!("index {index}"), fields::object(value));
            })?,
            false => json::lines(&text, add),
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
        let failed = |source| DatasetError::unread(folder.to_path_buf(), source);
        let mut items: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                items.push(path);
            }
        }
        items.sort();
        let mut collector = Collector::new(folder.to_path_buf());
        // IconQA tells a right choice by its place.
        collector.telling.by_place = true;
        for item in items {
            let name = item.file_name().unwrap_or_default().to_string_lossy();
            let place = match name.chars().all(char::is_alphanumeric) {
                true => format!("item {name}"),
                false => format!("item {}", quoted(&name)),
            };
            let record = json::object(&item.join("data.json")).and_then(|mut fields| {
                for (key, usual) in [("image", "image.png"), ("id", &*name)] {
                    if fields::get(&fields, key).is_none() {
                        fields.insert(key.into(), Value::String(usual.into()));
                    }
                }
                Record::of(&fields, &Columns::default())
            });
            match record {
                Ok(record) => collector.add_record(place, record, &item),
                Err(reason) => collector.broken(place, reason),
            }
        }
        collector.finish(on_broken)
    }
}
