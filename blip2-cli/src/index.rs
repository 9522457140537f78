//! `blip2 index add|remove|list|search`: pictures found by a text or by a picture.

use std::path::{Path, PathBuf};

use blip2_core::{
    PhotoIndex,
    figure::hits_sheet,
    photo_index::{Hit, IndexError, SearchOptions},
};
use blip2_io::{
    FileLock,
    vectors::{Vectors, names_file},
    write_file,
};
use image::RgbImage;
use serde_json::json;

use crate::{
    Failure, apart,
    args::{
        index::{
            IndexAddArgs, IndexArgs, IndexCommand, IndexExportArgs, IndexListArgs, IndexRemoveArgs,
            IndexSearchArgs,
        },
        picture::{FrameChoice, PictureArgs},
    },
    family::Matcher,
    model,
    pictures::{expand, frame_name, name_of, open_by_name, open_named, open_one},
    sheet,
};

pub(crate) fn run(args: &IndexArgs) -> Result<(), Failure> {
    match &args.command {
        IndexCommand::Add(args) => add(args),
        IndexCommand::Remove(args) => remove(args),
        IndexCommand::List(args) => list(args),
        IndexCommand::Export(args) => export(args),
        IndexCommand::Search(args) => search(args),
    }
}

/// An index is saved on the way whenever it has doubled, from twice this number of pictures on.
const FIRST_SAVE: usize = 32;

fn add(args: &IndexAddArgs) -> Result<(), Failure> {
    let paths = expand(&args.images, args.folders.recursive)?;
    let _lock = lock(&args.index)?;
    let existing = args.index.exists().then(|| open(&args.index)).transpose()?;
    let blip2 = model::open_retrieval(&args.model)?;
    let mut index = existing.unwrap_or_else(|| PhotoIndex::new(&blip2));
    index
        .check(&blip2)
        .map_err(|error| named(&args.index, error))?;

    let before = index.len();
    let (mut failed, mut skipped) = (0, 0);
    let mut saved = index.len();
    let bar = model::bar(paths.len());
    let batch = usize::from(args.batch);
    for chunk in paths.chunks(batch) {
        let mut opened: Vec<(String, RgbImage)> = Vec::new();
        for path in chunk {
            let note = |note: &str| bar.suspend(|| note!("{note}"));
            let known =
                |name: &str| index.contains(name) || opened.iter().any(|(other, _)| other == name);
            match fresh(path, args.picture, known, note) {
                Ok(Some(pictures)) => opened.extend(pictures),
                Ok(None) => skipped += 1,
                Err(Failure::Work(error) | Failure::Usage(error)) => {
                    failed += 1;
                    note(&error);
                }
                Err(closed) => return Err(closed),
            }
        }
        // An animation's frames may be more than a batch.
        for opened in opened.chunks(batch) {
            let pictures = opened.iter().map(|(name, image)| (name.as_str(), image));
            index.add_batch(&blip2, pictures).map_err(Failure::work)?;
        }
        if index.len() >= 2 * saved.max(FIRST_SAVE) {
            // Should the rest be interrupted, this is kept; and it is mapped from now on, so that
            // memory does not hold it.
            index.save(&args.index).map_err(Failure::work)?;
            index = open(&args.index)?;
            saved = index.len();
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    for path in &args.from {
        let vectors = Vectors::open(path).map_err(Failure::work)?;
        let there = index.add_new_vectors(&blip2, &vectors);
        skipped += there.map_err(|error| match error {
            IndexError::Vectors { .. } => Failure::work(error),
            error => named(path, error),
        })?;
        note_left_out(path, &vectors);
    }
    index.save(&args.index).map_err(Failure::work)?;
    note!(
        "{}: {} added, {skipped} there already, {} together",
        args.index.display(),
        index.len() - before,
        index.len()
    );
    if failed > 0 {
        let count = paths.len();
        return Err(Failure::Work(format!(
            "{failed} of {count} pictures could not be added"
        )));
    }
    Ok(())
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

fn remove(args: &IndexRemoveArgs) -> Result<(), Failure> {
    let _lock = lock(&args.index)?;
    let mut index = open(&args.index)?;
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

/// Whether a file, or a folder of parts, holds vectors alone, as `blip2 embed` and `blip2 map --embed` write them.
fn is_vectors(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let known = ["npy", "parquet", "pq"];
    path.is_dir()
        || ending.is_some_and(|ending| known.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Searches vectors alone: by similarity, without matching.
fn search_vectors(args: &IndexSearchArgs) -> Result<(), Failure> {
    let Some(text) = &args.text else {
        return Err(Failure::usage(
            "--image searches an index; files of vectors are searched by a text",
        ));
    };
    if args.sheet.is_some() {
        return Err(Failure::usage(
            "--sheet draws the pictures of an index; files of vectors name none",
        ));
    }
    let vectors = Vectors::open(&args.index).map_err(Failure::work)?;
    note_left_out(&args.index, &vectors);
    let query = Matcher::open(&args.model)?.embed_text(text)?;
    let found = vectors.nearest(query.vector(), args.limit);
    let found =
        found.map_err(|error| Failure::Work(format!("{}: {error}", args.index.display())))?;
    for (rank, found) in (1..).zip(found) {
        let name = vectors.names().get(found.row);
        let (row, score) = (vectors.row(found.row), found.score);
        let name = name.map_or_else(|| format!("row {row}"), Clone::clone);
        match args.json {
            true => say!(
                "{}",
                json!({ "rank": rank, "row": row, "image": name, "score": score, "similarity": score })
            ),
            false => say!("{rank:3}  {score:+8.4}  {name}"),
        }
    }
    Ok(())
}

fn search(args: &IndexSearchArgs) -> Result<(), Failure> {
    if is_vectors(&args.index) {
        return search_vectors(args);
    }
    if let Some(sheet) = &args.sheet {
        let read = [&args.index, &args.model.model];
        let read = read.into_iter().chain(&args.image);
        apart::check("--sheet", sheet, read.map(PathBuf::as_path))?;
    }
    let index = open(&args.index)?;
    let note = |note: &str| note!("{note}");
    let query = args
        .image
        .as_ref()
        .map(|path| open_one(path, args.picture, note));
    let query = query.transpose()?;
    let blip2 = model::open_retrieval(&args.model)?;
    let hits = match (&query, &args.text) {
        (Some(picture), _) => index.search_by_picture(&blip2, picture, args.limit),
        (None, Some(text)) => {
            let options = SearchOptions::default();
            let options = options.with_limit(args.limit).with_rerank(args.rerank);
            index.search(&blip2, text, &options)
        }
        (None, None) => return Err(Failure::usage("give a text or --image")),
    }
    .map_err(|error| named(&args.index, error))?;
    for (n, hit) in hits.iter().enumerate() {
        say!("{}", line(n + 1, hit, args.json));
    }
    if let Some(path) = &args.sheet {
        // What was found is read for the sheet.
        let found = hits.iter().map(|hit| Path::new(&hit.name));
        apart::check("--sheet", path, found)?;
        let sheet = hits_sheet(&hits, |name| open_by_name(name, args.picture));
        sheet::save(&sheet, path)?;
    }
    Ok(())
}

fn line(rank: usize, hit: &Hit, as_json: bool) -> String {
    if as_json {
        let line = json!({
            "rank": rank,
            "image": hit.name,
            "score": hit.score,
            "similarity": hit.similarity,
            "match_probability": hit.probability,
        });
        return line.to_string();
    }
    let Hit { score, name, .. } = hit;
    match hit.probability {
        Some(probability) => format!("{rank:3}  {score:+8.4}  match {probability:.4}  {name}"),
        None => format!("{rank:3}  {score:+8.4}  {name}"),
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
