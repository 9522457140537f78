//! `blip2 index add`: pictures, and vectors of pictures, on their way into an index.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use blip2_core::{Blip2Retrieval, CancelToken, PhotoIndex, photo_index::IndexError};
use blip2_io::vectors::Vectors;
use image::RgbImage;
use indicatif::ProgressBar;

use super::{lock, named, note_left_out, open};
use crate::{
    Failure,
    args::{
        index::IndexAddArgs,
        picture::{FrameChoice, PictureArgs},
    },
    interrupt, model,
    pictures::{expand, frame_name, name_of, open_named},
};

pub(super) fn run(args: &IndexAddArgs) -> Result<(), Failure> {
    let paths = expand(&args.images, args.folders.recursive)?;
    let _lock = lock(&args.index)?;
    let existing = args.index.exists().then(|| open(&args.index)).transpose()?;
    let blip2 = model::open_retrieval(&args.model)?;
    let index = existing.unwrap_or_else(|| PhotoIndex::new(&blip2));
    index
        .check(&blip2)
        .map_err(|error| named(&args.index, error))?;
    let stop = interrupt::watched("ending after this batch", || {})?;
    let mut adding = Adding {
        args,
        blip2: &blip2,
        before: index.len(),
        saved: Saved::now(index.len(), Duration::ZERO),
        index,
        failed: 0,
        skipped: 0,
        replaced: 0,
    };
    let seen = adding.all(&paths, &stop);
    // Whatever ended it, what was encoded is kept.
    let kept = adding.save();
    let done = seen?;
    kept?;
    adding.tell();
    if done < paths.len() {
        // With --replace it would begin with the first again.
        let rest = match args.replace {
            true => "they are kept",
            false => "the same command goes on with the others",
        };
        return Err(Failure::Interrupted(format!(
            "interrupted: {done} of {} pictures are done; {rest}",
            paths.len()
        )));
    }
    match adding.failed {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} of {} pictures could not be added",
            paths.len()
        ))),
    }
}

/// An index that grows.
struct Adding<'a> {
    args: &'a IndexAddArgs,
    blip2: &'a Blip2Retrieval,
    index: PhotoIndex,
    /// How many pictures it held.
    before: usize,
    saved: Saved,
    failed: usize,
    skipped: usize,
    replaced: usize,
}

impl Adding<'_> {
    /// Adds pictures until it is to stop, and then vectors: how many files were seen to.
    fn all(&mut self, paths: &[PathBuf], stop: &CancelToken) -> Result<usize, Failure> {
        let bar = model::bar(paths.len());
        let mut done = 0;
        for chunk in paths.chunks(self.args.batch.into()) {
            if stop.is_cancelled() {
                bar.finish_and_clear();
                return Ok(done);
            }
            self.chunk(chunk, &bar)?;
            if self.saved.is_due(self.encoded()) {
                self.save()?;
                // It is mapped from now on, so that memory does not hold it.
                self.index = open(&self.args.index)?;
            }
            done += chunk.len();
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        for path in &self.args.from {
            self.vectors(path)?;
        }
        Ok(done)
    }

    /// Adds the pictures of some files.
    fn chunk(&mut self, paths: &[PathBuf], bar: &ProgressBar) -> Result<(), Failure> {
        let note = |note: &str| bar.suspend(|| note!("{note}"));
        let mut opened: Vec<(String, RgbImage)> = Vec::new();
        for path in paths {
            let here = |name: &str| opened.iter().any(|(other, _)| other == name);
            let known =
                |name: &str| here(name) || (!self.args.replace && self.index.contains(name));
            match fresh(path, self.args.picture, known, note) {
                Ok(Some(pictures)) => opened.extend(pictures),
                Ok(None) => self.skipped += 1,
                Err(Failure::Work(error) | Failure::Usage(error)) => {
                    self.failed += 1;
                    note(&error);
                }
                Err(closed) => return Err(closed),
            }
        }
        // An animation's frames may be more than a batch.
        for opened in opened.chunks(self.args.batch.into()) {
            let pictures = opened.iter().map(|(name, image)| (name.as_str(), image));
            let there = self.index.put_batch(self.blip2, pictures);
            self.replaced += there.map_err(Failure::work)?;
        }
        Ok(())
    }

    /// Adds vectors that were computed before.
    fn vectors(&mut self, path: &Path) -> Result<(), Failure> {
        let vectors = Vectors::open(path).map_err(Failure::work)?;
        let there = self.index.add_new_vectors(self.blip2, &vectors);
        self.skipped += there.map_err(|error| match error {
            IndexError::Vectors { .. } => Failure::work(error),
            error => named(path, error),
        })?;
        note_left_out(path, &vectors);
        Ok(())
    }

    fn save(&mut self) -> Result<(), Failure> {
        if self.encoded() == self.saved.pictures && self.args.index.exists() {
            return Ok(());
        }
        let began = Instant::now();
        self.index.save(&self.args.index).map_err(Failure::work)?;
        self.saved = Saved::now(self.encoded(), began.elapsed());
        Ok(())
    }

    /// How many pictures it holds, and has held in the place of others.
    fn encoded(&self) -> usize {
        self.index.len() + self.replaced
    }

    fn tell(&self) {
        let replaced = match self.replaced {
            0 => String::new(),
            replaced => format!("{replaced} replaced, "),
        };
        note!(
            "{}: {} added, {replaced}{} there already, {} together",
            self.args.index.display(),
            self.index.len() - self.before,
            self.skipped,
            self.index.len()
        );
    }
}

/// When an index was saved last.
struct Saved {
    at: Instant,
    /// How long that took.
    took: Duration,
    /// How many [`encoded`](Adding::encoded) pictures it had.
    pictures: usize,
}

impl Saved {
    /// An index is saved whenever it has doubled, from twice this number of pictures on,
    const FIRST: usize = 32;
    /// and otherwise after this time, or where saving takes long after [`TIMES`](Self::TIMES) as long, so that
    /// neither what ends the program nor saving itself costs much.
    const LEAST: Duration = Duration::from_secs(60);
    const TIMES: u32 = 10;

    fn now(pictures: usize, took: Duration) -> Self {
        Self {
            at: Instant::now(),
            took,
            pictures,
        }
    }

    fn is_due(&self, pictures: usize) -> bool {
        let late = self.at.elapsed() >= Self::LEAST.max(self.took * Self::TIMES);
        pictures >= 2 * self.pictures.max(Self::FIRST) || late && pictures > self.pictures
    }
}

/// A file's pictures with their names, if an index does not hold them yet.
fn fresh(
    path: &Path,
    args: PictureArgs,
    known: impl Fn(&str) -> bool,
    note: impl Fn(&str),
) -> Result<Option<Vec<(String, RgbImage)>>, Failure> {
    let name = name_of(path).map_err(Failure::Work)?;
    let fault = |error| Failure::Work(format!("{}: {error}; rename it", path.display()));
    PhotoIndex::check_name(&name).map_err(fault)?;
    let is_known = match args.frame {
        None | Some(FrameChoice::One(0)) => known(&name),
        Some(FrameChoice::One(n)) => known(&frame_name(&name, n + 1)),
        // A picture that does not move has its own name.
        Some(FrameChoice::All) => known(&name) || known(&frame_name(&name, 1)),
    };
    match is_known {
        true => Ok(None),
        false => open_named(path, &name, args, note).map(Some),
    }
}
