//! Examples that cannot be used, found before they are.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::UNIX_EPOCH,
};

use xxhash_rust::xxh3::Xxh3;

use super::{BrokenRecord, Dataset, DatasetError, Example, OnBroken};
use crate::preprocessing::DecodeOptions;

impl Dataset {
    /// The record that says what is wrong with an example, and where it stands.
    pub fn broken_record(&self, example: &Example, reason: String) -> BrokenRecord {
        BrokenRecord {
            file: self.file.clone(),
            place: example.place.clone(),
            reason,
        }
    }

    /// What is wrong with examples, by their numbers: every picture is decoded, and every example
    /// judged by `fault`, on `workers` threads. `tick` hears how many examples are through, from any
    /// thread, and ends the search by false; then there is no result.
    ///
    /// ```
    /// use blip2_io::dataset::{Dataset, OnBroken, PictureFile};
    ///
    /// let pictures = vec![PictureFile::File("no-such-picture.png".into())];
    /// let data = Dataset::new(pictures, [(0, None, vec!["a dog".into()])])?;
    /// let faults = data.faults(2, |_| None, |_| true).unwrap_or_default();
    /// assert!(faults[&0].contains("no-such-picture.png"));
    /// assert!(data.without(&faults, OnBroken::Fail).is_err());
    /// # Ok::<(), blip2_io::dataset::DatasetError>(())
    /// ```
    pub fn faults(
        &self,
        workers: usize,
        fault: impl Fn(&Example) -> Option<String> + Sync,
        tick: impl Fn(usize) -> bool + Sync,
    ) -> Option<BTreeMap<usize, String>> {
        let mut by_picture = vec![Vec::new(); self.pictures.len()];
        for (number, example) in self.examples.iter().enumerate() {
            by_picture[example.picture].push(number);
        }
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let goes_on = AtomicBool::new(true);
        let found = Mutex::new(BTreeMap::new());
        let work = || {
            while goes_on.load(Ordering::Relaxed) {
                let picture = next.fetch_add(1, Ordering::Relaxed);
                let Some(examples) = by_picture.get(picture) else {
                    return;
                };
                let faults = self.faults_of(picture, examples, &fault);
                found
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(faults);
                let done = done.fetch_add(examples.len(), Ordering::Relaxed) + examples.len();
                if !tick(done) {
                    goes_on.store(false, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..workers.max(1) {
                scope.spawn(work);
            }
        });
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        goes_on.into_inner().then_some(found)
    }

    /// What is wrong with the examples about a picture.
    fn faults_of(
        &self,
        picture: usize,
        examples: &[usize],
        fault: &impl Fn(&Example) -> Option<String>,
    ) -> Vec<(usize, String)> {
        if examples.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.open(picture, &DecodeOptions::default()) {
            let reason = error.to_string();
            return examples.iter().map(|&one| (one, reason.clone())).collect();
        }
        let judged = examples.iter().filter_map(|&number| {
            let reason = fault(&self.examples[number])?;
            Some((number, reason))
        });
        judged.collect()
    }

    /// The data set without examples that have a fault, which join the [broken](Self::broken) ones.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Broken`] listing them where `on_broken` says so, or none is left.
    pub fn without(
        mut self,
        faults: &BTreeMap<usize, String>,
        on_broken: OnBroken,
    ) -> Result<Self, DatasetError> {
        let records = faults.iter().filter_map(|(&number, reason)| {
            let example = self.examples.get(number)?;
            Some(self.broken_record(example, reason.clone()))
        });
        let records: Vec<BrokenRecord> = records.collect();
        let none_left = !records.is_empty() && records.len() >= self.examples.len();
        if none_left || (on_broken == OnBroken::Fail && !records.is_empty()) {
            return Err(DatasetError::Broken { records });
        }
        let mut number = 0;
        self.examples.retain(|_| {
            number += 1;
            !faults.contains_key(&(number - 1))
        });
        self.broken.extend(records);
        Ok(self)
    }

    /// A hash, in hexadecimal, of all texts and of the sizes of the pictures' files, or frames', wherever they are:
    /// it tells data sets apart without reading the pictures.
    pub fn fingerprint(&self) -> String {
        self.hash(|metadata, _| metadata.len().to_string())
    }

    /// As [`fingerprint`](Self::fingerprint), with the pictures' names and times: it tells whether
    /// anything may have changed.
    pub fn stamp(&self) -> String {
        self.hash(|metadata, name| {
            let time = metadata.modified().ok();
            let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let time = time.unwrap_or_default().as_nanos();
            format!("{}@{time} {}", metadata.len(), name.display())
        })
    }

    fn hash(&self, of_picture: impl Fn(&Metadata, &Path) -> String) -> String {
        let mut hasher = Xxh3::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for example in &self.examples {
            add(&example.id);
            add(&example.picture.to_string());
            add(example.question.as_deref().unwrap_or_default());
            add(if example.question.is_some() { "?" } else { "" });
            example.answers.iter().for_each(|answer| add(answer));
            add(&example.answers.len().to_string());
        }
        let mut add_file = |file: &Path, name: &Path| {
            let metadata = fs::metadata(file);
            add(&metadata.map_or_else(|_| String::new(), |own| of_picture(&own, name)));
        };
        for picture in self.pictures.iter().chain(&self.copies) {
            let file = picture.file();
            match frames(&file) {
                None => add_file(&file, &picture.path()),
                Some(frames) => frames.iter().for_each(|frame| add_file(frame, frame)),
            }
        }
        format!("{:016x}", hasher.digest())
    }
}

/// The files of a video that is a folder of frames, in order; [`None`] of a file.
fn frames(path: &Path) -> Option<Vec<PathBuf>> {
    // What a folder says of itself tells nothing of what is in its files.
    let entries = fs::read_dir(path).ok()?.flatten();
    let mut frames: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    frames.sort();
    Some(frames)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dataset::PictureFile;

    fn videos(folder: &Path) -> Dataset {
        let pictures = vec![PictureFile::File(folder.to_path_buf())];
        let data = Dataset::new(pictures, [(0, None, vec!["a dog runs".into()])]);
        data.unwrap().of_videos(2)
    }

    #[test]
    fn a_frame_that_changes_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let frames = |name: &str, last: &str| {
            let folder = place.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("1.png"), "one").unwrap();
            fs::write(folder.join("2.png"), last).unwrap();
            videos(&folder)
        };
        let first = frames("a", "two");
        let (stamp, fingerprint) = (first.stamp(), first.fingerprint());
        assert_eq!(videos(&place.path().join("a")).stamp(), stamp);
        // The same elsewhere.
        let copied = frames("b", "two");
        assert_ne!(copied.stamp(), stamp);
        assert_eq!(copied.fingerprint(), fingerprint);
        let changed = frames("a", "another");
        assert_ne!(changed.stamp(), stamp);
        assert_ne!(changed.fingerprint(), fingerprint);
    }
}
