//! `blip2 index add|remove|list|search`: pictures found by a text or by a picture.

mod add;
mod search;

use std::path::Path;

use blip2_core::{PhotoIndex, photo_index::IndexError};
use blip2_io::{
    FileLock,
    vectors::{Vectors, names_file},
    write_file,
};
use serde_json::json;

use crate::{
    Failure, apart,
    args::index::{IndexArgs, IndexCommand, IndexExportArgs, IndexListArgs, IndexRemoveArgs},
    pictures::is_there,
};

pub(crate) fn run(args: &IndexArgs) -> Result<(), Failure> {
    match &args.command {
        IndexCommand::Add(args) => add::run(args),
        IndexCommand::Remove(args) => remove(args),
        IndexCommand::List(args) => list(args),
        IndexCommand::Export(args) => export(args),
        IndexCommand::Search(args) => search::run(args),
    }
}

fn remove(args: &IndexRemoveArgs) -> Result<(), Failure> {
    let _lock = lock(&args.index)?;
    let mut index = open(&args.index)?;
    if args.missing {
        return remove_missing(index, &args.index);
    }
    let missing: Vec<&str> = args
        .names
        .iter()
        .filter(|name| !index.remove(name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(Failure::Work(format!(
            "{}: holds no {}; nothing was removed",
            args.index.display(),
            missing.join(", ")
        )));
    }
    index.save(&args.index).map_err(Failure::work)
}

/// Removes the pictures whose files are gone. Where all are, it is run in another folder than they were added in.
fn remove_missing(mut index: PhotoIndex, path: &Path) -> Result<(), Failure> {
    let gone = index.names().filter(|name| !is_there(name));
    let gone: Vec<String> = gone.map(String::from).collect();
    if gone.len() == index.len() && !index.is_empty() {
        return Err(Failure::Work(format!(
            "{}: none of its {} pictures is here, such as {}; nothing was removed: run it in the folder in which they \
             were added",
            path.display(),
            gone.len(),
            gone.first().map_or("", String::as_str)
        )));
    }
    for name in &gone {
        index.remove(name);
    }
    if !gone.is_empty() {
        index.save(path).map_err(Failure::work)?;
    }
    for name in &gone {
        say!("{name}");
    }
    note!("{} removed, {} left", gone.len(), index.len());
    Ok(())
}

fn list(args: &IndexListArgs) -> Result<(), Failure> {
    for name in open(&args.index)?.names() {
        say!("{name}");
    }
    Ok(())
}

/// Writes an index's embeddings, and their names beside them.
fn export(args: &IndexExportArgs) -> Result<(), Failure> {
    let index = open(&args.index)?;
    let names: Vec<&str> = index.names().collect();
    let beside = names_file(&args.output);
    for output in [&args.output, &beside] {
        apart::check("--output", output, [args.index.as_path()])?;
    }
    write_file(&beside, json!(names).to_string())
        .map_err(|error| Failure::Work(format!("{}: {error}", beside.display())))?;
    index.save_npy(&args.output).map_err(Failure::work)
}

/// Tells of rows that have no vector.
fn note_left_out(path: &Path, vectors: &Vectors) {
    match vectors.left_out() {
        0 => {}
        1 => note!("{}: a row has no vector and is left out", path.display()),
        rows => note!(
            "{}: {rows} rows have no vector and are left out",
            path.display()
        ),
    }
}

/// The right to change an index, so that two who add to it both find their pictures in it.
fn lock(path: &Path) -> Result<FileLock, Failure> {
    let failed = |error| Failure::Work(format!("{}: {error}", path.display()));
    if let Some(lock) = FileLock::try_now(path).map_err(failed)? {
        return Ok(lock);
    }
    note!(
        "{}: another process is changing it: waiting",
        path.display()
    );
    FileLock::wait(path).map_err(failed)
}

fn open(path: &Path) -> Result<PhotoIndex, Failure> {
    PhotoIndex::open(path).map_err(Failure::work)
}

/// An error that does not know the file it is about.
fn named(path: &Path, error: IndexError) -> Failure {
    match error {
        IndexError::ForeignWeights { .. } | IndexError::Duplicate { .. } => {
            Failure::Work(format!("{}: {error}", path.display()))
        }
        error => Failure::work(error),
    }
}
