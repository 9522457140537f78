//! TextCaps and TextVQA, whose pictures have writing in them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Columns, Dataset, DatasetError, OnBroken,
    below::{folder_is_there, located},
    collect::Collector,
    fields::{self, Fields, get, needed_text, text, texts},
    json, read,
    record::Record,
};

/// A picture's captions, in the order of the file.
struct Captioned {
    place: String,
    id: String,
    files: Vec<PathBuf>,
    captions: Vec<String>,
}

impl Dataset {
    /// Reads TextCaps (`TextCaps_0.1_train.json`): an example for each picture, with all its captions
    /// as answers. Pictures are `{image_id}.jpg` in `pictures`, or their `image_path` below it.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or has another form, and as `on_broken` says for
    /// entries that do not fit.
    pub fn textcaps(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let mut collector = Collector::new(file.to_path_buf());
        let mut all: Vec<Captioned> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        entries(file, |place, fields| {
            match fields.and_then(|fields| captioned(place.clone(), &fields, pictures)) {
                Err(reason) => collector.broken(place, reason),
                Ok((own, is_whole)) => match known.get(&own.id) {
                    // Each entry of a picture lists all of its captions again.
                    Some(_) if is_whole => {}
                    Some(&first) => all[first].captions.extend(own.captions),
                    None => {
                        known.insert(own.id.clone(), all.len());
                        all.push(own);
                    }
                },
            }
        })?;
        for own in all {
            collector.add(own.place, own.id, &own.files, None, own.captions);
        }
        collector.finish(on_broken)
    }

    /// Reads TextVQA (`TextVQA_0.5.1_train.json`), whose pictures are as those of
    /// [`textcaps`](Self::textcaps).
    ///
    /// # Errors
    ///
    /// As [`textcaps`](Self::textcaps).
    pub fn textvqa(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let mut collector = Collector::new(file.to_path_buf());
        entries(file, |place, fields| {
            let record = fields.and_then(|fields| {
                let files = files(&fields, pictures)?;
                Ok((Record::of(&fields, &Columns::default())?, files))
            });
            match record {
                Ok((record, files)) => collector.add_record_of(place, record, &files),
                Err(reason) => collector.broken(place, reason),
            }
        })?;
        collector.finish(on_broken)
    }
}

fn entries(
    file: &Path,
    mut each: impl FnMut(String, Result<Fields, String>),
) -> Result<(), DatasetError> {
    let text = read::text(file)?;
    json::lists(
        file,
        &text,
        &["data"],
        |_, index, value| each(format!("data, index {index}"), fields::object(value)),
        |_, _| {},
    )
}

/// The captions of an entry, and whether they are all of its picture's.
fn captioned(place: String, fields: &Fields, pictures: &Path) -> Result<(Captioned, bool), String> {
    let id = needed_text(fields, "image_id")?;
    let references = get(fields, "reference_strs");
    let captions = match references {
        Some(all) => texts("reference_strs", all)?,
        None => vec![needed_text(fields, "caption_str")?],
    };
    let own = Captioned {
        place,
        id,
        files: files(fields, pictures)?,
        captions,
    };
    Ok((own, references.is_some()))
}

fn files(fields: &Fields, pictures: &Path) -> Result<Vec<PathBuf>, String> {
    let id = needed_text(fields, "image_id")?;
    let mut files = vec![located(pictures, &format!("{id}.jpg"))?];
    if let Some(path) = get(fields, "image_path") {
        let path = text("image_path", path)?;
        if !path.trim().is_empty() {
            files.push(located(pictures, &path)?);
        }
    }
    Ok(files)
}
