//! Flickr's captions as they are handed out.

use std::{collections::HashMap, path::Path};

use super::{
    Dataset, DatasetError, OnBroken,
    below::{folder_is_there, located_in},
    collect::Collector,
    quote::quoted,
    read,
    table::rows,
};

/// The folders that the pictures are published in.
const FOLDERS: [&str; 5] = [
    "flickr30k-images",
    "flickr30k_images",
    "Images",
    "images",
    "Flicker8k_Dataset",
];

/// A picture with its captions, and the line of the first.
struct Captioned {
    place: String,
    name: String,
    captions: Vec<String>,
}

impl Dataset {
    /// Reads Flickr30k's or Flickr8k's captions: an example for each picture, with all its captions as
    /// answers. The file is `results.csv` (`image_name| comment_number| comment`),
    /// `results_20130124.token` (`1000092795.jpg#0`, a tab, the caption) or `captions.txt`
    /// (`image,caption`). The one line of `results.csv` that lacks its
    /// second bar is read as what it says. Pictures are in `pictures` or its folders
    /// (`flickr30k-images`, `Images`). For Karpathy's splits of it there is
    /// [`karpathy`](Self::karpathy).
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for a file that cannot be read, and as `on_broken` says for lines that do not
    /// fit.
    pub fn flickr30k(
        file: impl AsRef<Path>,
        pictures: impl AsRef<Path>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let (file, pictures) = (file.as_ref(), pictures.as_ref());
        folder_is_there(pictures)?;
        let text = read::text(file)?;
        let delimiter = delimiter(&text);
        let mut collector = Collector::new(file.to_path_buf());
        let mut all: Vec<Captioned> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        rows(&text, delimiter, delimiter == b',', |place, row| {
            match row.and_then(|cells| captioned(&cells, delimiter)) {
                Err(reason) => collector.broken(place, reason),
                Ok((name, _)) if is_header(&name) => {}
                Ok((name, caption)) => match known.get(&name) {
                    Some(&first) => all[first].captions.push(caption),
                    None => {
                        known.insert(name.clone(), all.len());
                        let captions = vec![caption];
                        all.push(Captioned {
                            place,
                            name,
                            captions,
                        });
                    }
                },
            }
            Ok(())
        })?;
        for Captioned {
            place,
            name,
            captions,
        } in all
        {
            match located_in(pictures, &FOLDERS, &name) {
                Ok(files) => {
                    collector.add(place, name, &files, None, captions);
                }
                Err(reason) => collector.broken(place, reason),
            }
        }
        collector.finish(on_broken)
    }
}

/// What stands between the cells of the first line.
fn delimiter(text: &[u8]) -> u8 {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let there = [b'\t', b'|'].into_iter().find(|byte| first.contains(byte));
    there.unwrap_or(b',')
}

fn is_header(name: &str) -> bool {
    matches!(name, "image_name" | "image")
}

/// The caption behind a number without a bar between them: `results.csv` has one line of that form, of
/// 2199200615.jpg.
fn numbered(text: &str) -> Option<&str> {
    let (number, caption) = text.split_once(char::is_whitespace)?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| caption.trim())
}

/// The picture's name and its caption.
fn captioned(cells: &[String], delimiter: u8) -> Result<(String, String), String> {
    if let ([name, rest], b'|') = (cells, delimiter)
        && let Some(caption) = numbered(rest)
    {
        return Ok((name.clone(), caption.into()));
    }
    match (cells, delimiter) {
        ([name, _, caption], b'|') => Ok((name.clone(), caption.clone())),
        ([name, caption], b'\t') => {
            let name = name.split_once('#').map_or(name.as_str(), |(name, _)| name);
            Ok((name.into(), caption.clone()))
        }
        ([name, caption], b',') => Ok((name.clone(), caption.clone())),
        _ => {
            let due = match delimiter {
                b'|' => "a picture's name, a number and a caption between two bars `|`",
                b'\t' => "a picture's name and a caption with a tab between them",
                _ => "a picture's name and a caption with a comma between them",
            };
            let line = quoted(&cells.join(&char::from(delimiter).to_string()));
            Err(format!("it is {line}, where {due} would fit"))
        }
    }
}
