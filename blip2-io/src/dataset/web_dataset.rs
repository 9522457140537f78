//! WebDataset's archives: files of one name are one sample.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Columns, Dataset, DatasetError, OnBroken, PictureFile,
    below::common,
    collect::Collector,
    fields::{self, Fields},
    json,
    quote::quoted,
    read,
    record::Record,
    same,
    shard::{ShardMember, members},
};

/// The most bytes of a sample's texts.
const MAX_TEXT: u64 = 1 << 20;

/// The endings of pictures.
const PICTURES: [&str; 9] = [
    "jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm",
];

/// The endings of texts, which are read as keys of these names. `txt` and `cls` are captions where
/// nothing else says what is asked or described.
const TEXTS: [&str; 6] = ["txt", "cls", "caption", "text", "question", "answer"];

/// What is said of a sample whose files are in several places of its archive.
const APART: &str = "its files do not stand together in the archive, one behind another, as WebDataset wants \
                     a sample's; pack them in the order of their names (`tar --sort=name -cf`)";

impl Dataset {
    /// Reads WebDataset's shards, plain `.tar` archives: files that follow one another under one name,
    /// up to its first dot, are a sample. It has a picture (`000001.jpg`) and a text (`000001.txt` or
    /// `.cls`: a caption) or a record (`000001.json`, as for [`json_records`](Self::json_records));
    /// `000001.question.txt` and `000001.answer.txt` are read too.
    ///
    /// Headers and texts alone are read here, and what may be one picture in several samples, which is one
    /// then: others are read from where they lie when they are needed. An order that suits large shards is
    /// [`Loader::shuffle_buffer`](super::Loader::shuffle_buffer).
    ///
    /// # Errors
    ///
    /// [`DatasetError`] for an archive that cannot be read or is compressed, and as `on_broken` says for
    /// samples without a picture or a text.
    pub fn web_dataset(
        shards: &[PathBuf],
        columns: &Columns,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let own = match shards {
            [one] => one.clone(),
            all => common(all),
        };
        let mut samples = Samples {
            collector: Collector::new(own),
            columns,
            current: Sample::default(),
            seen: HashMap::new(),
            several: shards.len() > 1,
        };
        for shard in shards {
            members(shard, |member| match member {
                Ok(member) => samples.add(member),
                Err(unusable) => {
                    let place = quoted(&unusable.name);
                    let collector = &mut samples.collector;
                    collector.broken_in(shard.clone(), place, unusable.reason);
                }
            })?;
            samples.end(shard);
            samples.seen.clear();
        }
        samples.collector.unite(same::of_members);
        samples.collector.finish(on_broken)
    }
}

/// Samples in the making.
struct Samples<'c> {
    collector: Collector,
    columns: &'c Columns,
    current: Sample,
    /// The names of the shard's samples that are ended, each with its record among the broken ones, if it
    /// is one that lacks something.
    seen: HashMap<String, Option<usize>>,
    /// Whether places must tell the shard.
    several: bool,
}

/// The files of one name.
#[derive(Default)]
struct Sample {
    key: String,
    shard: PathBuf,
    pictures: Vec<ShardMember>,
    texts: Vec<(String, ShardMember)>,
}

impl Samples<'_> {
    fn add(&mut self, member: ShardMember) {
        let Some((key, ending)) = named(member.name()) else {
            return;
        };
        let (key, ending) = (key.to_string(), ending.to_ascii_lowercase());
        if key != self.current.key {
            self.end(member.shard());
            self.current.key = key;
            self.current.shard = member.shard().to_path_buf();
        }
        let last = ending.rsplit('.').next().unwrap_or_default();
        if PICTURES.contains(&last) {
            self.current.pictures.push(member);
        } else if last == "json" || TEXTS.contains(&last) {
            self.current.texts.push((ending, member));
        }
    }

    /// Ends the sample that is being made; `shard` is where it was found.
    fn end(&mut self, shard: &Path) {
        let sample = std::mem::take(&mut self.current);
        if sample.pictures.is_empty() && sample.texts.is_empty() {
            return;
        }
        let place = format!("sample {}", quoted(&sample.key));
        let (file, key) = (sample.shard.clone(), sample.key.clone());
        if let Some(lack) = sample.lack() {
            return self.lacks(file, place, key, lack);
        }
        self.seen.entry(key.clone()).or_insert(None);
        match sample.read(self.columns) {
            Err(reason) => self.collector.broken_in(file, place, reason),
            Ok((record, picture)) => {
                let place = match self.several {
                    true => format!("{}, {place}", shard_name(shard)),
                    false => place,
                };
                let picture = PictureFile::Shard(picture);
                self.collector
                    .add_with_picture(place, key, record, picture, None);
            }
        }
    }

    /// Notes a sample that lacks its picture or its text. Where the same name stood before in the archive,
    /// both places are one sample, of which one is told.
    fn lacks(&mut self, file: PathBuf, place: String, key: String, lack: String) {
        let known = self.seen.get(&key).copied();
        if let Some(Some(record)) = known {
            return self.collector.broken_otherwise(record, APART.into());
        }
        let reason = match known {
            None => lack,
            Some(_) => APART.into(),
        };
        self.collector.broken_in(file, place, reason);
        self.seen.insert(key, self.collector.last_broken());
    }
}

impl Sample {
    /// What it lacks: a sentence.
    fn lack(&self) -> Option<String> {
        if self.pictures.is_empty() {
            return Some("it has no picture: no `.jpg`, `.png` or the like".into());
        }
        let lacks_text = self.texts.is_empty() && self.pictures.len() == 1;
        lacks_text.then(|| "it has no text: no `.txt`, `.json` or `.cls`".into())
    }

    fn read(mut self, columns: &Columns) -> Result<(Record, ShardMember), String> {
        let picture = match (self.pictures.pop(), self.pictures.len()) {
            (Some(picture), 0) => picture,
            (_, others) => {
                return Err(format!(
                    "it has {} pictures, and an example is of one",
                    others + 1
                ));
            }
        };
        let mut record = Fields::new();
        for (ending, member) in self.texts {
            let text = member.read(MAX_TEXT).map_err(|error| error.to_string())?;
            if let Some(cause) = read::other_encoding(&text) {
                return Err(of_member(&member, cause));
            }
            let text = read::without_mark(&text);
            if ending.ends_with("json") {
                let own = json::object_of(text).map_err(|reason| of_member(&member, &reason))?;
                record.extend(own);
                continue;
            }
            let text = std::str::from_utf8(text)
                .map_err(|_| of_member(&member, "it is not UTF-8; save it as UTF-8"))?;
            let key = ending.strip_suffix(".txt").unwrap_or(&ending).to_string();
            let is_known = fields::get(&record, &key).is_some();
            if !is_known {
                record.insert(key, Value::String(text.trim().into()));
            }
        }
        // The picture is the one of this name, whatever the record calls it.
        let columns = columns.clone().with_image(None);
        for key in ["image", "images", "file_name", "image_path", "filename"] {
            record.remove(key);
        }
        Ok((Record::of(&record, &columns)?, picture))
    }
}

fn of_member(member: &ShardMember, reason: &str) -> String {
    format!("{}: {reason}", quoted(member.name()))
}

fn shard_name(shard: &Path) -> String {
    shard
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A member's sample and its ending: what is before and behind the first dot of its file's name. Hidden
/// files have neither.
fn named(member: &str) -> Option<(&str, &str)> {
    let start = member.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + member.get(start..)?.find('.')?;
    (dot > start).then(|| (&member[..dot], &member[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_s_name_ends_at_the_first_dot_of_its_file() {
        assert_eq!(named("a.b/1.question.txt"), Some(("a.b/1", "question.txt")));
        assert_eq!(named("1.jpg"), Some(("1", "jpg")));
        assert_eq!(named("a/.hidden"), None);
        assert_eq!(named("a/none"), None);
    }
}
