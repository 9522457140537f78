//! Pictures on their way to their captions, opened by a thread of their own.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    vec,
};

use blip2_core::CancelToken;
use indicatif::ProgressBar;

use crate::{
    Failure,
    args::{
        caption::CaptionArgs,
        picture::{FrameChoice, PictureArgs},
    },
    family::Fault,
    model,
    prompts::Prompts,
    records::Sink,
    shown::Shown,
};

/// A picture, or a frame of one, whose caption is awaited.
pub(super) struct One {
    pub(super) path: PathBuf,
    pub(super) frame: Option<usize>,
    /// Whether no other of its file follows.
    pub(super) is_last: bool,
}

/// What whoever opens pictures and whoever writes their captions have in common.
pub(super) struct Shared {
    pub(super) sink: Mutex<Sink>,
    /// Those that were opened, in their order.
    pub(super) asked: Mutex<VecDeque<One>>,
}

/// What a thread that has ended left locked is whole: nothing here is changed by halves.
pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pictures that have no caption yet, each with its prompt.
pub(super) struct Reading {
    pub(super) shared: Arc<Shared>,
    pub(super) bar: ProgressBar,
    pub(super) stop: CancelToken,
    paths: vec::IntoIter<PathBuf>,
    opened: VecDeque<(One, Result<Shown, String>)>,
    /// How many frames the model looks at together.
    frames: usize,
    picture: PictureArgs,
    prompts: Option<Prompts>,
    prompt: Option<String>,
}

impl Reading {
    pub(super) fn new(
        paths: Vec<PathBuf>,
        args: &CaptionArgs,
        frames: usize,
        prompts: Option<Prompts>,
        sink: Sink,
        stop: CancelToken,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                sink: Mutex::new(sink),
                asked: Mutex::default(),
            }),
            bar: model::bar(paths.len()),
            stop,
            paths: paths.into_iter(),
            opened: VecDeque::new(),
            frames,
            picture: args.picture,
            prompts,
            prompt: args.prompt.clone(),
        }
    }

    /// Opens a file's pictures, but for those that have their captions.
    fn open(&mut self, path: &Path) -> Result<(), Failure> {
        // How many frames there are is known only of an animation that was opened.
        let by_frame = self.picture.frame == Some(FrameChoice::All);
        if !by_frame && self.is_done(path, None) {
            self.bar.inc(1);
            return Ok(());
        }
        let note = |note: &str| self.bar.suspend(|| note!("{note}"));
        let images = match Shown::open(path, self.frames, self.picture, note) {
            Ok(images) => numbered(images),
            Err(Failure::Work(error) | Failure::Usage(error)) => vec![(None, Err(error))],
            Err(closed) => return Err(closed),
        };
        for (frame, image) in images {
            if by_frame && self.is_done(path, frame) {
                continue;
            }
            let one = One {
                path: path.to_path_buf(),
                frame,
                is_last: false,
            };
            self.opened.push_back((one, image));
        }
        match self.opened.back_mut() {
            Some((last, _)) => last.is_last = true,
            None => self.bar.inc(1),
        }
        Ok(())
    }

    fn is_done(&self, path: &Path, frame: Option<usize>) -> bool {
        let frame = frame.map_or(String::new(), |frame| frame.to_string());
        locked(&self.shared.sink).take_done(path, &[&frame])
    }
}

impl Iterator for Reading {
    type Item = Result<(Shown, Option<String>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((one, image)) = self.opened.pop_front() {
                let own = self
                    .prompts
                    .as_ref()
                    .and_then(|prompts| prompts.of(&one.path));
                let prompt = own.map(str::to_string).or_else(|| self.prompt.clone());
                locked(&self.shared.asked).push_back(one);
                let image = image.map_err(Fault::OfOne);
                return Some(image.map(|image| (image, prompt)));
            }
            // Between files: the records of one are written at once.
            if self.stop.is_cancelled() {
                return None;
            }
            let path = self.paths.next()?;
            if let Err(failure) = self.open(&path) {
                return Some(Err(Fault::OfAll(failure)));
            }
        }
    }
}

/// A file's pictures, numbered from 1 if they are several frames.
fn numbered(images: Vec<Shown>) -> Vec<(Option<usize>, Result<Shown, String>)> {
    let several = images.len() > 1;
    let images = images.into_iter().zip(1..);
    images
        .map(|(image, n)| (several.then_some(n), Ok(image)))
        .collect()
}
