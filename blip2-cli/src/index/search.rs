//! `blip2 index search`: pictures found by a text or by a picture.

use std::path::{Path, PathBuf};

use blip2_core::{
    figure::hits_sheet,
    photo_index::{Hit, SearchOptions},
};
use blip2_io::vectors::Vectors;
use serde_json::json;

use super::{named, note_left_out, open};
use crate::{
    Failure, apart,
    args::index::IndexSearchArgs,
    family::Matcher,
    model,
    pictures::{open_by_name, open_one},
    sheet,
};

pub(super) fn run(args: &IndexSearchArgs) -> Result<(), Failure> {
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
