//! COCO's captions.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::Deserialize;

use super::{Dataset, DatasetError, OnBroken, read};

#[derive(Deserialize)]
struct Captions {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    caption: String,
}

impl Dataset {
    /// Reads COCO's captions: an example for each picture, with all its captions as answers, in the
    /// order of the pictures' ids. Pictures are the files of their names in `pictures`.
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
        let Captions {
            images,
            annotations,
        } = read::json(file)?;
        let names: HashMap<u64, String> = images
            .into_iter()
            .map(|image| (image.id, image.file_name))
            .collect();
        let mut captions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for annotation in annotations {
            let own = captions.entry(annotation.image_id).or_default();
            own.push(annotation.caption.trim().to_string());
        }
        let mut collector = read::Collector::new(file.to_path_buf());
        for (id, captions) in captions {
            let place = format!("image {id}");
            let Some(name) = names.get(&id) else {
                collector.broken(place, "it has captions but no file_name".into());
                continue;
            };
            match read::inside(pictures, name) {
                None => collector.broken(place, read::OUTSIDE.into()),
                Some(path) => {
                    collector.add(place, id.to_string(), &[path], None, captions);
                }
            }
        }
        collector.finish(on_broken)
    }
}
