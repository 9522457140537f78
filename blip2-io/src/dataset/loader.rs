//! Batches of a data set, made by worker threads.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use image::RgbImage;

use super::{
    Augmentation, BrokenRecord, Dataset, DatasetError, Example, OnBroken, PictureFile,
    depends_on_position,
    order::{shuffle, shuffle_buffered, stream},
};
use crate::preprocessing::{DecodeOptions, ImageProcessor, PixelValues};

/// Makes batches of a data set: decodes, augments and preprocesses pictures in worker threads.
///
/// What a batch holds follows from the data set, the settings, the epoch and the batch's number
/// alone, whatever the number of workers.
///
/// ```
/// use blip2_io::dataset::{Augmentation, Dataset, Loader, PictureFile};
/// use blip2_io::preprocessing::{ImageProcessor, ImageProcessorConfig};
///
/// let picture = |name| PictureFile::File(format!("../examples/images/{name}.png").into());
/// let caption = |picture, text: &str| (picture, None, vec![text.into()]);
/// let captions = [caption(0, "a red triangle"), caption(1, "a blue circle")];
/// let data = Dataset::new(vec![picture("red-triangle"), picture("blue-circle")], captions)?;
/// let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
/// let loader = Loader::new(data, processor).batch(2).shuffled(7).augmented(Augmentation::paper());
/// for batch in loader.epoch(0) {
///     let batch = batch?;
///     for loaded in &batch.examples {
///         println!("row {}: {:?}", loaded.row, loaded.example.answers);
///     }
///     assert_eq!(batch.pixel_values.shape(), [2, 3, 224, 224]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    inner: Arc<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    dataset: Dataset,
    processor: ImageProcessor,
    decode: DecodeOptions,
    augmentation: Augmentation,
    on_broken: OnBroken,
    batch: usize,
    workers: usize,
    seed: Option<u64>,
    buffer: Option<usize>,
    per_picture: Option<usize>,
    share: Share,
}

/// Which part of each batch is made, of how many.
#[derive(Debug, Clone, Copy)]
struct Share {
    part: usize,
    of: usize,
}

impl Share {
    /// A batch's own part: of all parts the first are the smaller ones.
    fn own<T>(self, batch: &[T]) -> &[T] {
        let bound = |part: usize| batch.len() * part / self.of;
        &batch[bound(self.part)..bound(self.part + 1)]
    }
}

/// Some examples with their questions and answers, and their pictures as the model sees them.
///
/// ```
/// # use blip2_io::dataset::{Dataset, Loader, PictureFile};
/// # use blip2_io::preprocessing::{ImageProcessor, ImageProcessorConfig};
/// # let picture = PictureFile::File("../examples/images/red-triangle.png".into());
/// # let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
/// let ask = |question: &str, answer: &str| (0, Some(question.into()), vec![answer.into()]);
/// let questions = [ask("what color is it?", "red"), ask("what shape is it?", "triangle")];
/// let data = Dataset::new(vec![picture], questions)?;
/// let loader = Loader::new(data, processor).by_picture(2);
/// let batch = loader.epoch(0).next().expect("there is one")?;
/// assert_eq!(batch.pictures, [0]); // decoded and encoded once …
/// assert_eq!(batch.rows(), [0, 0]); // … for both questions
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadedBatch {
    /// `[pictures, 3, height, width]`, of videos `[pictures · frames, …]`: the frames of each one after
    /// another.
    pub pixel_values: PixelValues,
    /// The pictures' numbers in the data set, one for each row of `pixel_values`, or of videos for the rows
    /// of their frames.
    pub pictures: Vec<usize>,
    /// The examples.
    pub examples: Vec<LoadedExample>,
    /// What was left out because its picture cannot be decoded.
    pub broken: Vec<BrokenRecord>,
}

/// An example of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedExample {
    /// What is asked and answered about the picture, or its captions.
    pub example: Example,
    /// Its number in the data set.
    pub number: usize,
    /// Its picture's place in [`LoadedBatch::pictures`]. Several examples may share a picture.
    pub row: usize,
}

impl LoadedBatch {
    /// The picture's place in [`pictures`](Self::pictures) of each example.
    pub fn rows(&self) -> Vec<usize> {
        self.examples.iter().map(|loaded| loaded.row).collect()
    }
}

impl Loader {
    /// Makes batches of 32 examples, in the data set's order.
    pub fn new(dataset: Dataset, processor: ImageProcessor) -> Self {
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let inner = Inner {
            dataset,
            processor,
            decode: DecodeOptions::default(),
            augmentation: Augmentation::default(),
            on_broken: OnBroken::Fail,
            batch: 32,
            workers,
            seed: None,
            buffer: None,
            per_picture: None,
            share: Share { part: 0, of: 1 },
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// How many examples a batch has, at least 1; with [`by_picture`](Self::by_picture), pictures.
    #[must_use]
    pub fn batch(self, batch: usize) -> Self {
        self.with(|inner| inner.batch = batch.max(1))
    }

    /// How many threads decode, at least 1. Default: as many as there are cores.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        self.with(|inner| inner.workers = workers.max(1))
    }

    /// Another order in each epoch, and other augmentation, that follow from this seed.
    #[must_use]
    pub fn shuffled(self, seed: u64) -> Self {
        self.with(|inner| inner.seed = Some(seed))
    }

    /// The order of [`shuffled`](Self::shuffled) as of a stream: shards in another order in each epoch,
    /// and of what is in them each next one drawn from `examples` that wait. Large archives are then read
    /// nearly as they lie. What is in no shard is shuffled by the buffer alone.
    #[must_use]
    pub fn shuffle_buffer(self, examples: usize) -> Self {
        self.with(|inner| inner.buffer = Some(examples.max(1)))
    }

    /// Each epoch shows each picture once, with up to `examples` of its examples, drawn at random if
    /// the order is: the image encoder, which costs most, then runs once for several questions.
    #[must_use]
    pub fn by_picture(self, examples: usize) -> Self {
        self.with(|inner| inner.per_picture = Some(examples.max(1)))
    }

    /// Changes pictures at random. The numbers are those of [`shuffled`](Self::shuffled), or of
    /// seed 0.
    #[must_use]
    pub fn augmented(self, augmentation: Augmentation) -> Self {
        self.with(|inner| inner.augmentation = augmentation)
    }

    /// What becomes of pictures that cannot be decoded. Default: the batch fails. A batch of which no
    /// picture can be decoded fails in either case.
    #[must_use]
    pub fn on_broken(self, on_broken: OnBroken) -> Self {
        self.with(|inner| inner.on_broken = on_broken)
    }

    /// Whether pictures that cannot be decoded are left out.
    pub fn leaves_out_broken(&self) -> bool {
        self.inner.on_broken == OnBroken::Skip
    }

    /// Makes of each batch the part number `part` of `of` alone, as one of several processes that see it
    /// together: parts are as even as they can be, and one after another they are the batch. A part may
    /// be empty, and so it is where none of its pictures can be decoded and these are left out.
    #[must_use]
    pub fn share(self, part: usize, of: usize) -> Self {
        let of = of.max(1);
        let part = part.min(of - 1);
        self.with(|inner| inner.share = Share { part, of })
    }

    /// How pictures are decoded.
    #[must_use]
    pub fn decode(self, options: DecodeOptions) -> Self {
        self.with(|inner| inner.decode = options)
    }

    /// What batches are made of.
    pub fn dataset(&self) -> &Dataset {
        &self.inner.dataset
    }

    /// How many examples a batch has, or pictures with [`by_picture`](Self::by_picture).
    pub fn batch_size(&self) -> usize {
        self.inner.batch
    }

    /// How many examples of a picture an epoch shows at most, where it shows
    /// [each picture once](Self::by_picture).
    pub fn examples_per_picture(&self) -> Option<usize> {
        self.inner.per_picture
    }

    /// How many batches an epoch has.
    pub fn batches(&self) -> usize {
        self.epoch_len().div_ceil(self.inner.batch)
    }

    /// How many examples an epoch shows, or pictures with [`by_picture`](Self::by_picture).
    pub fn epoch_len(&self) -> usize {
        self.inner.units(0).len()
    }

    /// An epoch's batches.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// An epoch's batches from number `first` on: going on where a process ended.
    pub fn epoch_from(&self, epoch: u64, first: usize) -> Epoch {
        self.epoch_after(epoch, first.saturating_mul(self.inner.batch))
    }

    /// What of an epoch follows after its first `seen` examples (or pictures, with
    /// [`by_picture`](Self::by_picture)): going on with batches of another size.
    pub fn epoch_after(&self, epoch: u64, seen: usize) -> Epoch {
        Epoch::new(Arc::clone(&self.inner), epoch, seen)
    }
}

/// Examples that share a picture.
type Unit = Vec<usize>;

impl Inner {
    /// What an epoch shows, in its order.
    fn units(&self, epoch: u64) -> Vec<Unit> {
        let examples = self.dataset.examples();
        let mut random = stream(self.seed.unwrap_or(0), epoch, 0);
        let mut units: Vec<Unit> = match self.per_picture {
            None => (0..examples.len()).map(|example| vec![example]).collect(),
            Some(most) => {
                let mut by_picture = vec![Vec::new(); self.dataset.pictures().len()];
                for (number, example) in examples.iter().enumerate() {
                    by_picture[example.picture].push(number);
                }
                by_picture.retain(|own| !own.is_empty());
                for own in &mut by_picture {
                    if self.seed.is_some() {
                        shuffle(own, &mut random);
                    }
                    own.truncate(most);
                }
                by_picture
            }
        };
        match (self.seed, self.buffer) {
            (None, _) => units,
            (Some(_), None) => {
                shuffle(&mut units, &mut random);
                units
            }
            (Some(_), Some(buffer)) => {
                let mut shards = self.by_shard(units);
                shuffle(&mut shards, &mut random);
                let units = shards.into_iter().flatten().collect();
                shuffle_buffered(units, buffer, &mut random)
            }
        }
    }

    /// What an epoch shows, parted where another shard begins.
    fn by_shard(&self, units: Vec<Unit>) -> Vec<Vec<Unit>> {
        let shard = |unit: &Unit| {
            let example = self.dataset.examples().get(*unit.first()?)?;
            self.source(example).shard()
        };
        let mut shards: Vec<Vec<Unit>> = Vec::new();
        for unit in units {
            match shards.last_mut() {
                Some(own)
                    if own
                        .first()
                        .is_some_and(|first| shard(first) == shard(&unit)) =>
                {
                    own.push(unit);
                }
                _ => shards.push(vec![unit]),
            }
        }
        shards
    }

    /// Where an example's picture is read from: where each is shown once, in the pictures' own order.
    fn source(&self, example: &Example) -> &PictureFile {
        let copy = self.dataset.copy_of(example);
        let copy = copy.filter(|_| self.per_picture.is_none());
        copy.unwrap_or(&self.dataset.pictures()[example.picture])
    }

    fn load(&self, epoch: u64, units: &[Unit]) -> Result<LoadedBatch, DatasetError> {
        let (mut pixels, mut pictures) = (Vec::new(), Vec::new());
        let (mut shown, mut broken) = (Vec::new(), Vec::new());
        for unit in units {
            let Some(&first) = unit.first() else { continue };
            let all = self.dataset.examples();
            let picture = all[first].picture;
            let opened = match self.per_picture {
                None => self.dataset.open_of(&all[first], &self.decode),
                Some(_) => self.dataset.open(picture, &self.decode),
            };
            let seen = match opened {
                Ok(seen) => seen,
                Err(error) => {
                    let example = &all[first];
                    broken.push(self.dataset.broken_record(example, error.to_string()));
                    continue;
                }
            };
            let row = pictures.len();
            for frame in seen.into_frames() {
                let frame = self.augmented(frame, epoch, unit, first);
                pixels.push(self.processor.process(&frame)?);
            }
            pictures.push(picture);
            shown.extend(unit.iter().map(|&number| LoadedExample {
                example: all[number].clone(),
                number,
                row,
            }));
        }
        // Other parts of the batch may have pictures.
        let is_lost = pixels.is_empty() && self.share.of == 1;
        if !broken.is_empty() && (self.on_broken == OnBroken::Fail || is_lost) {
            return Err(DatasetError::Broken { records: broken });
        }
        let pixel_values = match pixels.is_empty() {
            true => PixelValues::none(),
            false => PixelValues::stack(pixels)?,
        };
        Ok(LoadedBatch {
            pixel_values,
            pictures,
            examples: shown,
            broken,
        })
    }
}

impl Inner {
    /// A picture as it is shown in an epoch. The frames of a video are all changed alike.
    fn augmented(&self, image: RgbImage, epoch: u64, unit: &[usize], first: usize) -> RgbImage {
        if self.augmentation.is_none() {
            return image;
        }
        let mut random = stream(self.seed.unwrap_or(0), epoch, 1 + first as u64);
        let fixed = |number: &usize| {
            let example = &self.dataset.examples()[*number];
            let mut texts = example.question.iter().chain(&example.answers);
            texts.any(|text| depends_on_position(text))
        };
        let moves = !unit.iter().any(fixed);
        self.augmentation.apply(image, moves, &mut random)
    }
}

/// The batches of an epoch, in order.
#[derive(Debug)]
pub struct Epoch {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    next: usize,
    end: usize,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<Inner>,
    epoch: u64,
    units: Vec<Unit>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The first batch that no worker has begun.
    next: usize,
    /// Batches below this one were taken.
    taken: usize,
    ready: BTreeMap<usize, Result<LoadedBatch, DatasetError>>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many batches are made ahead for each worker.
    const AHEAD: usize = 2;

    fn work(&self) {
        let size = self.inner.batch;
        let ahead = Self::AHEAD * self.inner.workers;
        loop {
            let mut state = self.lock();
            while !state.stopped && state.next >= state.taken + ahead {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            let number = state.next;
            let Some(units) = self
                .units
                .chunks(size)
                .nth(number)
                .filter(|_| !state.stopped)
            else {
                return;
            };
            state.next += 1;
            drop(state);
            // A decoder that panics must not leave whoever waits for the batch waiting.
            let made = std::panic::AssertUnwindSafe(|| {
                let own = self.inner.share.own(units);
                self.inner.load(self.epoch, own)
            });
            let batch = std::panic::catch_unwind(made).unwrap_or(Err(DatasetError::Worker));
            self.lock().ready.insert(number, batch);
            self.changed.notify_all();
        }
    }
}

impl Epoch {
    fn new(inner: Arc<Inner>, epoch: u64, seen: usize) -> Self {
        let units = inner.units(epoch).into_iter().skip(seen);
        let units: Vec<Unit> = units.collect();
        let end = units.len().div_ceil(inner.batch);
        let state = State::default();
        let workers = inner.workers.min(end);
        let shared = Arc::new(Shared {
            inner,
            epoch,
            units,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let workers = (0..workers).map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work())
        });
        Self {
            workers: workers.collect(),
            shared,
            next: 0,
            end,
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<LoadedBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        let mut state = self.shared.lock();
        let batch = loop {
            match state.ready.remove(&self.next) {
                Some(batch) => break batch,
                None => {
                    let waited = self.shared.changed.wait(state);
                    state = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
                }
            }
        };
        self.next += 1;
        state.taken = self.next;
        drop(state);
        self.shared.changed.notify_all();
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch {}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
