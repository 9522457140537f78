//! COCO's captions.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde_json::Value;

use super::{
    Dataset, DatasetError, OnBroken,
    below::{COCO, folder_is_there, located_in},
    collect::Collector,
    fields::{self, needed_text},
    json, read,
};

/// VizWiz's captions have the same form, and its pictures are in these folders.
const VIZWIZ: [&str; 3] = ["train", "val", "test"];

impl Dataset {
    /// Reads COCO's captions: an example for each picture, with all its captions as answers, in the
    /// order of the pictures' ids. Pictures are the files of their names in `pictures` or its folders
    /// (`train2014`). What has the same form is read too, as VizWiz's captions. A file without
    /// `annotations`, or with an empty list of them, is one of test pictures (`image_info_test2014.json`),
    /// which have no captions.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read or has another form, and as `on_broken` says
    /// for captions of unknown pictures, for pictures that do not exist, and for names that lead out
    /// of `pictures`.
    pub fn coco_captions(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let text = read::text(file)?;
        let mut collector = Collector::new(file.to_path_buf());
        let mut names: HashMap<String, String> = HashMap::new();
        let mut captions: BTreeMap<(u64, String), Vec<String>> = BTreeMap::new();
        let mut is_told = false;
        json::lists_or_more(
            file,
            &text,
            (&["images"], &["annotations"]),
            |key, index, value| {
                is_told |= key == "annotations";
                let read = match key {
                    "images" => pair(value, "id", "file_name").map(|(id, name)| {
                        names.insert(id, name);
                    }),
                    _ => pair(value, "image_id", "caption").map(|(id, caption)| {
                        let own = captions.entry((place_of(&id), id)).or_default();
                        own.push(caption.trim().to_string());
                    }),
                };
                if let Err(reason) = read {
                    collector.broken(format!("{key}, index {index}"), reason);
                }
            },
            |_, _| {},
        )?;
        if !is_told {
            // Of the test pictures there are no captions: the files `image_info_test…` have their names.
            let all = names
                .keys()
                .map(|id| ((place_of(id), id.clone()), Vec::new()));
            captions.extend(all);
        }
        let below: Vec<&str> = COCO.into_iter().chain(VIZWIZ).collect();
        for ((_, id), captions) in captions {
            let place = format!("image {id}");
            let Some(name) = names.get(&id) else {
                collector.broken(place, "it has captions but no file_name".into());
                continue;
            };
            match located_in(pictures, &below, name) {
                Err(reason) => collector.broken(place, reason),
                Ok(files) => {
                    collector.add(place, id, &files, None, captions);
                }
            }
        }
        collector.finish(on_broken)
    }
}

/// Where an id stands in the order: numbers first.
fn place_of(id: &str) -> u64 {
    id.parse().unwrap_or(u64::MAX)
}

fn pair(value: Value, id: &str, text: &str) -> Result<(String, String), String> {
    let fields = fields::object(value)?;
    Ok((needed_text(&fields, id)?, needed_text(&fields, text)?))
}
