//! Rows on their way to the model: read, decoded and resized by threads of their own while it is busy,
//! in queues that hold a few batches and no more.

use std::{
    num::NonZeroUsize,
    ops::Range,
    path::Path,
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, Scope},
};

use arrow_array::RecordBatch;
use blip2_core::preprocessing::{Animation, DecodeOptions, ImageProcessor, PixelValues};
use blip2_io::tables::{PictureCell, PictureColumn, Table, TableError, texts_of};

use crate::{
    Failure,
    args::picture::{FrameChoice, PictureArgs},
    pictures,
    source::{Source, url},
    words::words,
};

/// How many batches are read ahead, beside those that are being decoded.
const AHEAD: usize = 2;

/// The most characters of a row's error about its picture.
const LONGEST: usize = 600;
const DATA: &str = "a data: URL, which is not decoded; write the picture's bytes into a column of bytes \
                    (Parquet), or into a file";
const RENAME: &str = "; a name that is not UTF-8 cannot stand in a table: rename the file";

/// A batch whose pictures are as the model reads them.
pub(super) struct Prepared {
    pub(super) batch: RecordBatch,
    /// The same, in which what is read as text is text.
    pub(super) read: RecordBatch,
    /// Of each row, or why it has none.
    pub(super) pictures: Vec<Result<PixelValues, String>>,
}

/// A batch, or the end of a part.
pub(super) enum Fed {
    /// The number of the first row in the table, and the batch.
    Batch(u64, Prepared),
    End,
}

type Reply = Result<Fed, TableError>;

/// Where pictures are and how they are seen.
pub(super) struct Reading<'a> {
    pub(super) table: &'a Table,
    pub(super) column: &'a str,
    /// The columns that are read as texts, and whether their lists are.
    pub(super) texts: Vec<(&'a str, bool)>,
    pub(super) folder: &'a Path,
    pub(super) picture: PictureArgs,
    pub(super) processor: &'a ImageProcessor,
    pub(super) batch: usize,
}

/// What is being decoded, in order.
pub(super) struct Feed(Receiver<Receiver<Reply>>);

impl Feed {
    /// Begins to read parts, each a range of rows, one after another.
    pub(super) fn begin<'s>(
        scope: &'s Scope<'s, '_>,
        reading: &'s Reading<'s>,
        decoding: &'s Decoding,
        parts: Vec<Range<u64>>,
    ) -> Self {
        let (order, ordered) = sync_channel(AHEAD + decoding.workers);
        for _ in 0..decoding.workers {
            scope.spawn(move || decoding.work(reading));
        }
        scope.spawn(move || {
            let _closed = Closing(decoding);
            for part in parts {
                if read_part(reading, decoding, &order, part).is_none() {
                    return;
                }
            }
        });
        Self(ordered)
    }

    /// What comes next; `None` after the last part.
    pub(super) fn next(&self) -> Option<Result<Fed, Failure>> {
        let waiting = self.0.recv().ok()?;
        Some(match waiting.recv() {
            Ok(fed) => fed.map_err(Failure::work),
            // A decoder that panicked says nothing any more.
            Err(_) => Err(Failure::Work(
                "a thread that decodes pictures failed".into(),
            )),
        })
    }
}

/// Sends a part's batches to be decoded; `None` where nobody waits for them any more.
fn read_part(
    reading: &Reading<'_>,
    decoding: &Decoding,
    order: &SyncSender<Receiver<Reply>>,
    part: Range<u64>,
) -> Option<()> {
    let answer = |fed: Reply| {
        let (reply, waiting) = sync_channel(1);
        reply.send(fed).ok()?;
        order.send(waiting).ok()
    };
    let mut first = part.start;
    let batches = match reading.table.batches(part, reading.batch) {
        Ok(batches) => batches,
        Err(error) => return answer(Err(error)),
    };
    for batch in batches {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return answer(Err(error)),
        };
        let rows = batch.num_rows() as u64;
        let (reply, waiting) = sync_channel(1);
        order.send(waiting).ok()?;
        decoding.add(Job {
            first,
            batch,
            reply,
        })?;
        first += rows;
    }
    answer(Ok(Fed::End))
}

/// A batch that waits for a decoder.
struct Job {
    first: u64,
    batch: RecordBatch,
    reply: SyncSender<Reply>,
}

/// The queue before the decoders.
pub(super) struct Decoding {
    workers: usize,
    jobs: Mutex<Receiver<Job>>,
    add: Mutex<Option<SyncSender<Job>>>,
}

impl Decoding {
    pub(super) fn new() -> Self {
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (add, jobs) = sync_channel(workers);
        Self {
            workers,
            jobs: Mutex::new(jobs),
            add: Mutex::new(Some(add)),
        }
    }

    fn add(&self, job: Job) -> Option<()> {
        let add = self.add.lock().ok()?.clone();
        add?.send(job).ok()
    }

    fn work(&self, reading: &Reading<'_>) {
        loop {
            let job = match self.jobs.lock() {
                Ok(jobs) => jobs.recv(),
                Err(_) => return,
            };
            let Ok(job) = job else { return };
            let batch = job.batch;
            let read = reading
                .texts
                .iter()
                .fold(batch.clone(), |batch, (column, lists)| {
                    texts_of(&batch, column, *lists)
                });
            let pictures = prepared(reading, &texts_of(&batch, reading.column, false));
            // Where nobody waits any more, the reader ends the queue.
            let prepared = Prepared {
                batch,
                read,
                pictures,
            };
            let _ = job.reply.send(Ok(Fed::Batch(job.first, prepared)));
        }
    }
}

/// Ends the queue when the reader ends, however it does.
struct Closing<'d>(&'d Decoding);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Ok(mut add) = self.0.add.lock() {
            *add = None;
        }
    }
}

fn prepared(reading: &Reading<'_>, batch: &RecordBatch) -> Vec<Result<PixelValues, String>> {
    let column = batch.column_by_name(reading.column);
    let pictures = column.and_then(|column| PictureColumn::of(column.as_ref()));
    let rows = 0..batch.num_rows();
    rows.map(|row| {
        let cell = pictures.as_ref().and_then(|pictures| pictures.cell(row));
        match cell {
            Some(cell) => picture(reading, cell),
            None => Err(format!(
                "there is no picture in the column `{}`",
                reading.column
            )),
        }
    })
    .collect()
}

fn picture(reading: &Reading<'_>, cell: PictureCell<'_>) -> Result<PixelValues, String> {
    let said = |error: Failure| match error {
        Failure::Work(text) | Failure::Usage(text) | Failure::Interrupted(text) => text,
        Failure::Closed => "nobody reads any more".into(),
    };
    let options = options(reading.picture);
    let image = match cell {
        PictureCell::Path(path) if is_data(path) => return Err(DATA.into()),
        PictureCell::Path(path) if url(Path::new(path)).is_some() => {
            let source = Source::open(Path::new(path), reading.picture).map_err(said)?;
            let still = options.with_animation(Animation::FirstFrame);
            source.decode(&still)
        }
        cell => cell.decode(reading.folder, &options),
    };
    let pixels = image.and_then(|image| reading.processor.process(&image));
    pixels.map_err(|error| match cell {
        PictureCell::Path(path) if path.contains(char::REPLACEMENT_CHARACTER) => {
            format!("{}{RENAME}", cut(&words(&error)))
        }
        _ => cut(&words(&error)),
    })
}

/// Whether a text is a picture itself.
fn is_data(text: &str) -> bool {
    let begin = text.get(..5);
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case("data:"))
}

/// An error without the middle of what is long: a column of other texts may be taken for one of paths.
fn cut(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_string();
    }
    let (begin, end) = (text.chars().take(LONGEST / 2), LONGEST / 2);
    begin
        .chain(['…'])
        .chain(text.chars().skip(count - end))
        .collect()
}

fn options(args: PictureArgs) -> DecodeOptions {
    let options = pictures::options(args);
    match args.frame {
        Some(FrameChoice::One(frame)) => options.with_animation(Animation::Frame(frame)),
        _ => options,
    }
}
