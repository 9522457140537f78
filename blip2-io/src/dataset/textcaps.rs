//! TextCaps and TextVQA, whose pictures have writing in them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Columns, Dataset, DatasetError, OnBroken,
    below::{folder_is_there, located, located_in},
    collect::Collector,
    fields::{self, Fields, get, needed_text, text, texts},
    json, read,
    record::Record,
};

/// What is said of an entry without a caption among others.
const NO_CAPTION: &str = "it has no `caption_str`, which other entries of the file have";

/// The folders that the pictures are published in.
const FOLDERS: [&str; 2] = ["train_images", "test_images"];

/// A picture's captions, in the order of the file.
struct Captioned {
    place: String,
    id: String,
    files: Vec<PathBuf>,
    /// None where the entry tells none, as of a test picture.
    captions: Option<Vec<String>>,
}

impl Dataset {
    /// Reads TextCaps (`TextCaps_0.1_train.json`): an example for each picture, with all its captions
    /// as answers. Pictures are `{image_id}.jpg` in `pictures` or its folders (`train_images`), or their
    /// `image_path` below it. A file without any captions is one of test pictures.
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
                    Some(&first) => match own.captions {
                        Some(captions) => {
                            all[first].captions.get_or_insert_default().extend(captions);
                        }
                        None if all[first].captions.is_none() => {}
                        None => all.push(own),
                    },
                    None => {
                        known.insert(own.id.clone(), all.len());
                        all.push(own);
                    }
                },
            }
        })?;
        // Test pictures have no captions; in a file of captions an entry without one is broken.
        let is_test = all.iter().all(|own| own.captions.is_none());
        for own in all {
            match own.captions {
                None if !is_test => collector.broken(own.place, NO_CAPTION.into()),
                captions => {
                    let captions = captions.unwrap_or_default();
                    collector.add(own.place, own.id, &own.files, None, captions);
                }
            }
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
    let captions = match (references, get(fields, "caption_str")) {
        (Some(all), _) => Some(texts("reference_strs", all)?),
        (None, Some(one)) => Some(vec![text("caption_str", one)?]),
        (None, None) => None,
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
    let mut files = located_in(pictures, &FOLDERS, &format!("{id}.jpg"))?;
    if let Some(path) = get(fields, "image_path") {
        let path = text("image_path", path)?;
        if !path.trim().is_empty() {
            files.insert(1, located(pictures, &path)?);
        }
    }
    Ok(files)
}
