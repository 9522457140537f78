//! `blip2 map TABLE -o TABLE`: a whole table of pictures captioned, answered, embedded or matched.
//!
//! Rows go through bounded queues: threads read, decode and resize the next batches while the model
//! computes one, and another thread writes. A part is a range of rows that follows from its number
//! alone, and takes its name when it is whole; so a run that goes on computes the parts that are not
//! there, and the output is that of an undisturbed run.

mod account;
mod asked;
mod beside;
mod check;
mod feed;
mod input;
mod made;
mod manifest;
mod members;
mod model;
mod parts;
mod place;
mod relative;
mod verbs;

use std::{path::Path, sync::Arc, thread, time::Instant};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use blip2_core::CancelToken;
use blip2_io::tables::{PictureColumn, Table, TableFormat};
use indicatif::ProgressBar;

use account::Failed;
use feed::{Decoding, Fed, Feed, Prepared, Reading};
use input::Input;
use manifest::Manifest;
use model::Model;
use parts::Parts;
use place::{Part, Place};
use verbs::Verbs;

use crate::{
    Failure,
    args::{map::MapArgs, picture::FrameChoice},
    interrupt, model as opening,
};

pub(crate) fn run(args: &MapArgs) -> Result<(), Failure> {
    if args.picture.frame == Some(FrameChoice::All) {
        return Err(Failure::usage(
            "a row has one picture: give --frame a number, not all",
        ));
    }
    if args.generation.sequences() > 1 {
        return Err(Failure::usage(
            "a row has one text of each kind; leave out --num-return-sequences",
        ));
    }
    let input = Input::open(args)?;
    let verbs = Verbs::of(args, &input.table)?;
    let image = image_column(args, &input.table)?;
    let (format, _) = place::format(args)?;
    let kept = kept_columns(args, &input.table, &verbs, format)?;
    let manifest = Manifest::of(args, &input.table, format.ending());
    let place = Place::take(args, &input, &manifest)?;
    let job = Job {
        args,
        input,
        image,
        kept,
        place,
        manifest,
        error: format!("{}error", args.prefix),
    };
    job.run(verbs)
}

/// The name of the column of pictures, which holds some.
fn image_column(args: &MapArgs, table: &Table) -> Result<String, Failure> {
    let schema = table.schema();
    let Some(name) = args
        .image
        .as_deref()
        .or_else(|| PictureColumn::usual(&schema))
    else {
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        return Err(Failure::Work(format!(
            "{}: no column of pictures is called image, file_name, image_path, filename, picture, img or \
             path; give --image one of {}",
            table.path().display(),
            names.join(", ")
        )));
    };
    let field = table.field(name).map_err(Failure::work)?;
    if PictureColumn::is_one(field.data_type()) {
        return Ok(name.to_string());
    }
    let reason = format!(
        "holds {}, where pictures are bytes, paths, or a struct of bytes and path; give --image \
         another column",
        field.data_type()
    );
    Err(Failure::work(table.column(name, reason)))
}

/// The places of the input's columns that are carried through.
fn kept_columns(
    args: &MapArgs,
    table: &Table,
    verbs: &Verbs,
    format: TableFormat,
) -> Result<Vec<usize>, Failure> {
    for name in &args.without {
        table.field(name).map_err(Failure::work)?;
    }
    let schema = table.schema();
    let new = verbs.fields(&args.prefix, &[1]);
    let mut kept = Vec::new();
    for (place, field) in schema.fields().iter().enumerate() {
        if args.without.contains(field.name()) {
            continue;
        }
        if !format.holds(field) {
            note!(
                "note: the column `{}` holds {}, which JSON cannot; it is left out",
                field.name(),
                field.data_type()
            );
            continue;
        }
        if new.iter().any(|new| new.name() == field.name()) {
            let reason = "is there already, and a new one would have its name; give --prefix, or \
                          --without it";
            return Err(Failure::work(table.column(field.name(), reason)));
        }
        kept.push(place);
    }
    Ok(kept)
}

/// A table on its way through the model.
struct Job<'a> {
    args: &'a MapArgs,
    input: Input,
    image: String,
    kept: Vec<usize>,
    place: Place,
    manifest: Manifest,
    /// The name of the column of errors.
    error: String,
}

impl Job<'_> {
    fn run(self, verbs: Verbs) -> Result<(), Failure> {
        let parts = self
            .place
            .parts(self.input.table.rows(), self.manifest.part_rows);
        let is_finished = self.place.is_finished()?;
        let (mut done, mut left) = (Vec::new(), Vec::new());
        let mut failed = Failed::default();
        for (part, own) in parts.iter().zip(self.before(&parts, is_finished)?) {
            match own.filter(|own| !self.args.retry || own.rows == 0) {
                None => left.push(part.clone()),
                Some(own) => {
                    failed = failed.and(own);
                    done.push(part.clone());
                }
            }
        }
        if is_finished && left.is_empty() {
            let removed = self.place.remove_folder();
            removed.map_err(|error| Failure::Work(error.to_string()))?;
            note!("{}: all rows were done before", self.args.output.display());
            return self.told(&failed);
        }
        if left.is_empty() {
            self.place.begin(&self.manifest)?;
        } else {
            let taken_out = if is_finished { done.as_slice() } else { &[] };
            failed = failed.and(self.compute(verbs, &left, taken_out)?);
        }
        self.place.finish(&parts)?;
        note!(
            "{}: {} rows: {} parts computed, {} kept from before",
            self.args.output.display(),
            self.input.table.rows(),
            left.len(),
            done.len()
        );
        self.told(&failed)
    }

    /// The errors of each part that was made before, which may be in the finished file.
    fn before(&self, parts: &[Part], is_finished: bool) -> Result<Vec<Option<Failed>>, Failure> {
        if is_finished {
            let ranges: Vec<_> = parts.iter().map(|part| part.rows.clone()).collect();
            let failed = account::failed(&self.args.output, &ranges, &self.error)?;
            return Ok(failed.into_iter().map(Some).collect());
        }
        let of = |part: &Part| match self.place.has(part) {
            false => Ok(None),
            true => {
                let rows = 0..part.rows.end - part.rows.start;
                let failed = account::failed(&part.path, &[rows], &self.error)?;
                Ok(failed.into_iter().next())
            }
        };
        parts.iter().map(of).collect()
    }

    /// Says how many rows have an error. A run in which none has a result has failed.
    fn told(&self, failed: &Failed) -> Result<(), Failure> {
        let rows = self.input.table.rows();
        let Some(first) = &failed.first else {
            return Ok(());
        };
        if failed.rows == rows {
            let hint = match self.input.is_list || self.args.pictures.is_some() {
                true => String::new(),
                false => format!(
                    " (paths are relative to the table's folder, if --pictures names no other: {})",
                    shown(&self.input.folder).display()
                ),
            };
            return Err(Failure::Work(format!(
                "no row has a result: {rows} of {rows} rows have an error, the first of them: {first}{hint}"
            )));
        }
        let text = format!(
            "{} of {rows} rows have an error, which the column `{}` tells; the first of them: {first}",
            failed.rows, self.error
        );
        match self.args.fail_on_error {
            true => Err(Failure::Work(text)),
            false => {
                note!("{text}");
                Ok(())
            }
        }
    }

    /// Computes parts, in their order; which of their rows have an error. Parts of a finished file are taken out
    /// of it before.
    fn compute(&self, verbs: Verbs, left: &[Part], finished: &[Part]) -> Result<Failed, Failure> {
        let model = Model::open(self.args, verbs)?;
        self.place.begin(&self.manifest)?;
        if !finished.is_empty() {
            self.place.take_out(finished)?;
        }
        let schema = self.schema(&model);
        let stop = interrupt::watched("ending after this batch", || {})?;
        let reading = Reading {
            table: &self.input.table,
            column: &self.image,
            texts: model.verbs().columns(),
            folder: &self.input.folder,
            picture: self.args.picture,
            processor: model.processor(),
            batch: usize::from(self.args.batch),
        };
        let rows = self.input.table.rows();
        let bar = opening::bar(usize::try_from(rows).unwrap_or(usize::MAX));
        bar.set_position(rows - rows_of(left.iter()));
        bar.reset_eta();
        let begun = Instant::now();
        let decoding = Decoding::new();
        let done: Result<Option<(Failed, u64)>, Failure> = thread::scope(|scope| {
            let ranges = left.iter().map(|part| part.rows.clone());
            let feed = Feed::begin(scope, &reading, &decoding, ranges.collect());
            let parts = Parts::begin(scope, self.place.format, &schema);
            let mut work = Work {
                model: &model,
                kept: &self.kept,
                schema: &schema,
                parts: &parts,
                bar: &bar,
                stop: &stop,
                failed: Failed::default(),
                rows: 0,
            };
            let ended = work.run(&feed, left);
            let (failed, rows) = (std::mem::take(&mut work.failed), work.rows);
            // Nobody waits for what is still read.
            drop(feed);
            let written = parts.finish();
            let ended = ended?;
            written?;
            Ok(match ended {
                true => Some((failed, rows)),
                false => None,
            })
        });
        bar.finish_and_clear();
        let Some((failed, rows)) = done? else {
            return Err(Failure::Interrupted(self.interrupted(left)));
        };
        note!("{}", pace(rows, begun));
        Ok(failed)
    }

    fn interrupted(&self, left: &[Part]) -> String {
        let rows = self.input.table.rows();
        let missing = rows_of(left.iter().filter(|part| !part.path.exists()));
        format!(
            "interrupted: {} of {rows} rows are done; the same command goes on from there",
            rows - missing
        )
    }

    /// The columns of the output, with what is said of the input's.
    fn schema(&self, model: &Model) -> SchemaRef {
        let input = self.input.table.schema();
        let kept = self
            .kept
            .iter()
            .filter_map(|place| input.fields().get(*place).cloned());
        let new = model.verbs().fields(&self.args.prefix, &model.shape);
        let fields: Vec<_> = kept.chain(new.into_iter().map(Arc::new)).collect();
        Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
    }
}

/// How many rows parts have.
fn rows_of<'p>(parts: impl Iterator<Item = &'p Part>) -> u64 {
    parts.map(|part| part.rows.end - part.rows.start).sum()
}

/// A folder by a name: the working directory has none.
fn shown(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

fn pace(rows: u64, begun: Instant) -> String {
    let seconds = begun.elapsed().as_secs_f64();
    format!(
        "{rows} rows in {seconds:.1} s, {:.1} a second",
        rows as f64 / seconds.max(1e-9)
    )
}

/// Batches through the model, part by part.
struct Work<'a, 's> {
    model: &'a Model,
    kept: &'a [usize],
    schema: &'a SchemaRef,
    parts: &'a Parts<'s>,
    bar: &'a ProgressBar,
    stop: &'a CancelToken,
    failed: Failed,
    rows: u64,
}

impl Work<'_, '_> {
    /// Whether all parts were computed; not if they were interrupted, nor if nobody writes any more.
    fn run(&mut self, feed: &Feed, left: &[Part]) -> Result<bool, Failure> {
        for part in left {
            if !self.parts.part(part.path.clone()) || !self.part(feed)? || !self.parts.end() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn part(&mut self, feed: &Feed) -> Result<bool, Failure> {
        loop {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            match feed.next().transpose()? {
                None => return Err(Failure::Work("the thread that reads failed".into())),
                Some(Fed::End) => return Ok(true),
                Some(Fed::Batch(first, prepared)) => {
                    if !self.parts.write(self.computed(first, &prepared)?) {
                        return Ok(false);
                    }
                    self.rows += prepared.batch.num_rows() as u64;
                    self.bar.inc(prepared.batch.num_rows() as u64);
                }
            }
        }
    }

    /// The rows of a batch with their new columns.
    fn computed(&mut self, first: u64, prepared: &Prepared) -> Result<RecordBatch, Failure> {
        let mut made = self.model.compute(prepared, first)?;
        let errors = made.iter().filter_map(made::Made::error);
        errors.for_each(|error| self.failed.add(&error));
        let kept = self
            .kept
            .iter()
            .filter_map(|place| prepared.batch.columns().get(*place));
        let mut columns: Vec<ArrayRef> = kept.cloned().collect();
        let new = made::columns(self.model.verbs(), &self.model.shape, &mut made);
        columns.extend(new.map_err(Failure::work)?);
        RecordBatch::try_new(Arc::clone(self.schema), columns).map_err(Failure::work)
    }
}
