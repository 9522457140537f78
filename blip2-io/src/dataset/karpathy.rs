//! Karpathy's splits of COCO and Flickr.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Dataset, DatasetError, OnBroken,
    below::{COCO, folder_is_there, located, located_in},
    collect::Collector,
    fields::{self, Fields, first, get, needed, needed_text, text, texts},
    json,
    quote::quoted,
    read,
};

/// The part of COCO's validation pictures that most train on, beside `train`.
const RESTVAL: &str = "restval";
const TRAIN: &str = "train";

impl Dataset {
    /// Reads Karpathy's splits (`dataset_coco.json`, `dataset_flickr30k.json`): an example for each
    /// picture of the split, with all its sentences as captions. With `restval`, pictures of that split
    /// belong to `train` too, as in most trainings. Pictures are below `pictures`, by their
    /// `filepath` and `filename`, or their `filename` alone.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read, has another form or has no such split, and as
    /// `on_broken` says for entries that do not fit.
    pub fn karpathy(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        split: &str,
        restval: bool,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        if restval && split != TRAIN {
            let reason = format!(
                "`{RESTVAL}` adds to the pictures of the split `{TRAIN}`, and `{split}` was asked for: leave it out"
            );
            return Err(DatasetError::format(file, reason));
        }
        let bytes = read::text(file)?;
        let mut collector = Collector::new(file.to_path_buf());
        let mut splits: BTreeMap<String, usize> = BTreeMap::new();
        json::lists(
            file,
            &bytes,
            &["images"],
            |_, index, value| {
                let place = format!("images, index {index}");
                let read = fields::object(value).and_then(|fields| {
                    let own = needed_text(&fields, "split")?;
                    let wanted = own == split || (restval && own == RESTVAL);
                    *splits.entry(own).or_default() += 1;
                    wanted.then(|| described(&fields, pictures)).transpose()
                });
                match read {
                    Ok(None) => {}
                    Ok(Some(own)) => {
                        let id = own.id.unwrap_or_else(|| place.clone());
                        collector.add(place, id, &own.files, None, own.captions);
                    }
                    Err(reason) => collector.broken(place, reason),
                }
            },
            |_, _| {},
        )?;
        if !splits.is_empty() && !splits.contains_key(split) {
            return Err(DatasetError::format(file, no_split(split, &splits)));
        }
        collector.finish(on_broken)
    }
}

/// A picture and what is said about it.
struct Described {
    id: Option<String>,
    files: Vec<PathBuf>,
    captions: Vec<String>,
}

fn described(fields: &Fields, pictures: &Path) -> Result<Described, String> {
    let name = needed_text(fields, "filename")?;
    let mut files = Vec::new();
    if let Some(path) = get(fields, "filepath") {
        let path = text("filepath", path)?;
        // An empty folder is none; as a path it would begin at the root.
        let path = match path.trim() {
            "" => ".",
            path => path,
        };
        files.push(located(pictures, &format!("{path}/{name}"))?);
    }
    files.extend(located_in(pictures, &COCO, &name)?);
    let captions = texts("sentences", needed(fields, "sentences")?)?;
    let id = first(fields, ["cocoid", "imgid"]);
    Ok(Described {
        id: id.map(|(key, value)| text(key, value)).transpose()?,
        files,
        captions: captions.iter().map(|own| own.trim().to_string()).collect(),
    })
}

fn no_split(split: &str, splits: &BTreeMap<String, usize>) -> String {
    let known = splits
        .iter()
        .take(12)
        .map(|(name, count)| format!("{} ({count})", quoted(name)));
    let known: Vec<String> = known.collect();
    format!(
        "none of its pictures is of the split {}; there are {}",
        quoted(split),
        known.join(", ")
    )
}
