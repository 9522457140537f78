//! `blip2 map TABLE -o TABLE`: a whole table of pictures captioned, answered, embedded or matched.
//!
//! Rows go through bounded queues: threads read, decode and resize the next batches while the model
//! computes one, and another thread writes. A part is a range of rows that follows from its number
//! alone, and takes its name when it is whole; so a run that goes on computes the parts that are not
//! there, and the output is that of an undisturbed run.

mod account;
mod asked;
mod check;
mod feed;
mod made;
mod manifest;
mod members;
mod model;
mod parts;
mod place;
mod verbs;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use blip2_core::CancelToken;
use blip2_io::tables::{PictureColumn, Table, TableFormat};
use indicatif::ProgressBar;

use feed::{Decoding, Fed, Feed, Prepared, Reading};
use manifest::Manifest;
use model::Model;
use parts::Parts;
use place::{Part, Place};
use verbs::Verbs;

use crate::{
    Failure,
    args::{map::MapArgs, picture::FrameChoice},
    interrupt, model as opening,
    pictures::expand,
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
    let (table, folder) = open(args)?;
    let verbs = Verbs::of(args, &table)?;
    let image = image_column(args, &table)?;
    let (format, _) = place::format(args)?;
    let kept = kept_columns(args, &table, &verbs, format)?;
    let manifest = Manifest::of(args, &table, format.ending());
    let place = Place::take(args, &table, &manifest)?;
    let job = Job {
        args,
        table,
        folder,
        image,
        kept,
        place,
        part_rows: manifest.part_rows,
    };
    job.run(verbs)
}

/// The table, and the folder that its paths are relative to.
fn open(args: &MapArgs) -> Result<(Table, PathBuf), Failure> {
    let input = &args.input;
    let is_table = input.is_file() || Table::is_folder(input);
    if !is_table {
        let pictures = expand(std::slice::from_ref(input), args.folders.recursive)?;
        let table = Table::of_pictures(input, &pictures);
        return Ok((table, args.pictures.clone().unwrap_or_default()));
    }
    let table = Table::open(input).map_err(Failure::work)?;
    let own = match input.is_dir() {
        true => Some(input.as_path()),
        false => input.parent(),
    };
    let folder = args.pictures.clone();
    Ok((
        table,
        folder.unwrap_or_else(|| own.unwrap_or(Path::new("")).into()),
    ))
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
    table: Table,
    folder: PathBuf,
    image: String,
    kept: Vec<usize>,
    place: Place,
    part_rows: u64,
}

impl Job<'_> {
    fn run(self, verbs: Verbs) -> Result<(), Failure> {
        let parts = self.place.parts(self.table.rows(), self.part_rows);
        let error = format!("{}error", self.args.prefix);
        if self.place.is_finished()? {
            let failed = account::failed(&self.place.tables(&parts), &error)?;
            let removed = self.place.remove_folder();
            removed.map_err(|error| Failure::Work(error.to_string()))?;
            note!("{}: all rows were done before", self.args.output.display());
            return self.told(failed);
        }
        let (done, left): (Vec<Part>, Vec<Part>) =
            parts.iter().cloned().partition(|part| part.path.exists());
        let before: u64 = done
            .iter()
            .map(|part| part.rows.end - part.rows.start)
            .sum();
        let mut failed = 0;
        if !left.is_empty() {
            failed = self.compute(verbs, &left, before)?;
        }
        let done: Vec<PathBuf> = done.into_iter().map(|part| part.path).collect();
        failed += account::failed(&done, &error)?;
        self.place.finish(&parts)?;
        note!(
            "{}: {} rows: {} parts computed, {} kept from before",
            self.args.output.display(),
            self.table.rows(),
            left.len(),
            done.len()
        );
        self.told(failed)
    }

    /// Says how many rows have an error.
    fn told(&self, failed: u64) -> Result<(), Failure> {
        if failed == 0 {
            return Ok(());
        }
        let text = format!(
            "{failed} of {} rows have an error, which the column `{}error` tells",
            self.table.rows(),
            self.args.prefix
        );
        match self.args.fail_on_error {
            true => Err(Failure::Work(text)),
            false => {
                note!("{text}");
                Ok(())
            }
        }
    }

    /// Computes parts, in their order; how many of their rows have an error.
    fn compute(&self, verbs: Verbs, left: &[Part], before: u64) -> Result<u64, Failure> {
        let model = Model::open(self.args, verbs)?;
        let schema = self.schema(&model);
        let stop = interrupt::watched("ending after this batch", || {})?;
        let reading = Reading {
            table: &self.table,
            column: &self.image,
            folder: &self.folder,
            picture: self.args.picture,
            processor: model.processor(),
            batch: usize::from(self.args.batch),
        };
        let bar = opening::bar(usize::try_from(self.table.rows()).unwrap_or(usize::MAX));
        bar.set_position(before);
        bar.reset_eta();
        let begun = Instant::now();
        let decoding = Decoding::new();
        let done: Result<Option<(u64, u64)>, Failure> = thread::scope(|scope| {
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
                failed: 0,
                rows: 0,
            };
            let ended = work.run(&feed, left);
            let (failed, rows) = (work.failed, work.rows);
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
        let missing = left.iter().filter(|part| !part.path.exists());
        let missing: u64 = missing.map(|part| part.rows.end - part.rows.start).sum();
        format!(
            "interrupted: {} of {} rows are done; the same command goes on from there",
            self.table.rows() - missing,
            self.table.rows()
        )
    }

    /// The columns of the output, with what is said of the input's.
    fn schema(&self, model: &Model) -> SchemaRef {
        let input = self.table.schema();
        let kept = self
            .kept
            .iter()
            .filter_map(|place| input.fields().get(*place).cloned());
        let new = model.verbs().fields(&self.args.prefix, &model.shape);
        let fields: Vec<_> = kept.chain(new.into_iter().map(Arc::new)).collect();
        Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
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
    failed: u64,
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
        self.failed += made.iter().filter(|row| row.failed()).count() as u64;
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
