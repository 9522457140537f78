//! Curves for TensorBoard.

mod event;
mod frame;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use event::{Event, What};

use crate::{
    error::TrainError,
    run::{Record, Score, Watch},
};

/// Writes what it sees of a training into an event file, for `tensorboard --logdir`.
///
/// Its names are those of Hugging Face's `Trainer`: `train/loss`, `train/learning_rate`,
/// `train/grad_norm`, `eval/loss`, `eval/score`; and each part of the loss and each other score by its
/// own. A training that goes on writes a file of its own beside the first, which says from which step on
/// it counts.
///
/// ```
/// use blip2_train::{TensorBoard, Watch};
///
/// let folder = tempfile::tempdir()?;
/// let mut board = TensorBoard::create(folder.path())?;
/// board.resumed(100);
/// assert!(board.fault().is_none());
/// let name = board.path().file_name().unwrap().to_string_lossy().into_owned();
/// assert!(name.starts_with("events.out.tfevents."));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: File,
    /// Whether the file says from which step on it counts.
    has_begun: bool,
    last: Option<Record>,
    fault: Option<io::Error>,
}

/// The version of the format, which readers look for first.
const VERSION: &str = "brain.Event:2";

impl TensorBoard {
    /// Begins a file of a new name in this folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// [`TrainError::File`] if it cannot be written.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
        let (path, file) = new_file(folder)?;
        let mut board = Self {
            path,
            file,
            has_begun: false,
            last: None,
            fault: None,
        };
        board.write(0, What::Version(VERSION));
        match board.fault.take() {
            Some(error) => Err(TrainError::file(&board.path, error)),
            None => Ok(board),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why no more was written, as on a full disk: that ends no training.
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// Steps from this one on that an earlier file has are those of a training that was not gone on
    /// with.
    fn begin(&mut self, step: usize) {
        if !self.has_begun {
            self.has_begun = true;
            self.write(step, What::Start);
        }
    }

    fn write(&mut self, step: usize, what: What<'_>) {
        if self.fault.is_some() {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let event = Event {
            seconds: since.map_or(0.0, |since| since.as_secs_f64()),
            step,
            what,
        };
        // One call for the whole of it, so that a reader meets no half of one.
        let written = self.file.write_all(&frame::framed(&event.encoded()));
        self.fault = written.err();
    }
}

/// A file that no other process has. Readers take those of a folder in the order of their names, which
/// begin with the time.
fn new_file(folder: &Path) -> Result<(PathBuf, File), TrainError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let mut number = 0;
    loop {
        let name = format!(
            "events.out.tfevents.{seconds:010}.blip2.{}.{number}",
            process::id()
        );
        let path = folder.join(name);
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(TrainError::file(&path, error)),
        }
    }
}

impl Watch for TensorBoard {
    fn stepped(&mut self, record: &Record) {
        let step = record.step + 1;
        self.begin(step);
        let mut scalars = vec![
            ("train/loss".to_string(), record.loss),
            ("train/learning_rate".into(), record.lr),
            ("train/grad_norm".into(), record.grad_norm),
            ("train/epoch".into(), record.epoch as f64),
        ];
        let parts = record.parts.iter();
        scalars.extend(parts.map(|(name, part)| (format!("train/{name}"), *part)));
        let rate = self.last.as_ref().and_then(|last| record.rate_since(last));
        scalars.extend(rate.map(|rate| ("train/examples_per_second".into(), rate)));
        self.last = Some(record.clone());
        self.write(step, What::Scalars(&scalars));
    }

    fn scored(&mut self, score: &Score) {
        self.begin(score.step);
        // The time of an evaluation is none of the next step's.
        self.last = None;
        let mut scalars = vec![("eval/score".to_string(), score.value)];
        scalars.extend(score.loss.map(|loss| ("eval/loss".into(), loss)));
        let others = score.others.iter();
        scalars.extend(others.map(|(name, value)| (format!("eval/{name}"), *value)));
        self.write(score.step, What::Scalars(&scalars));
    }

    fn resumed(&mut self, step: usize) {
        self.begin(step + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden is of TensorBoard's own writer.
    #[test]
    fn events_are_those_of_tensorboard() {
        let golden = fs::read(blip2_testing::fixture("tensorboard/events.bin")).unwrap();
        let scalar = |name: &str, value| (format!("train/{name}"), value);
        let first = [scalar("loss", 2.5), scalar("learning_rate", 1e-4)];
        let second = [scalar("loss", f64::NAN), scalar("grad_norm", -0.0)];
        let events = [
            (1_700_000_000.25, 0, What::Version(VERSION)),
            (1_700_000_000.5, 301, What::Start),
            (1_700_000_001.75, 301, What::Scalars(&first)),
            (1_700_000_002.0, 70_000, What::Scalars(&second)),
        ];
        let written = events.map(|(seconds, step, what)| {
            let event = Event {
                seconds,
                step,
                what,
            };
            frame::framed(&event.encoded())
        });
        assert_eq!(written.concat(), golden);
    }

    #[test]
    fn each_process_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let boards = [0, 1].map(|_| TensorBoard::create(folder.path()).unwrap());
        assert_ne!(boards[0].path(), boards[1].path());
        assert!(boards.iter().all(|board| board.fault().is_none()));
    }
}
