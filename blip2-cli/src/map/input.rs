//! What is read: a table, or pictures.

use std::path::{Path, PathBuf};

use blip2_io::tables::Table;

use super::{beside::is_foreign, place};
use crate::{
    Failure,
    args::map::{Delimiter, MapArgs},
    map::relative::Relative,
    pictures::{expand, has_pictures, is_picture},
    source::url,
};

/// A table that was opened.
pub(super) struct Input {
    pub(super) table: Table,
    /// The folder that its paths are relative to.
    pub(super) folder: PathBuf,
    /// Whether it is a list of pictures, and no table of its own.
    pub(super) is_list: bool,
}

impl Input {
    pub(super) fn open(args: &MapArgs) -> Result<Self, Failure> {
        let input = &args.input;
        if input.as_os_str() == "-" {
            return Err(Failure::usage(
                "map -: a table is read from any row on, which standard input is not; save it to a file",
            ));
        }
        if let Some(Delimiter(sign)) = args.delimiter {
            return Self::table(args, Table::open_delimited(input, sign));
        }
        let is_table = match input.is_dir() {
            true => is_folder_of_tables(args)?,
            false => input.is_file() && !is_picture(input),
        };
        match is_table {
            true => Self::table(args, Table::open(input)),
            false => Self::list(args),
        }
    }

    fn table(
        args: &MapArgs,
        table: Result<Table, blip2_io::tables::TableError>,
    ) -> Result<Self, Failure> {
        let own = match args.input.is_dir() {
            true => Some(args.input.as_path()),
            false => args.input.parent(),
        };
        let own = || own.unwrap_or(Path::new("")).into();
        Ok(Self {
            table: table.map_err(Failure::work)?,
            folder: args.pictures.clone().unwrap_or_else(own),
            is_list: false,
        })
    }

    /// Pictures, whose paths are relative to the output's folder, as those of a table are to the table's: so that
    /// the output is the next command's input, wherever it is given.
    fn list(args: &MapArgs) -> Result<Self, Failure> {
        if args.pictures.is_some() {
            return Err(Failure::usage(
                "--pictures is for the paths in a table; give the pictures' own folder as the input",
            ));
        }
        check_pattern(&args.input)?;
        let pictures = expand(std::slice::from_ref(&args.input), args.folders.recursive)?;
        let folder = match place::format(args)?.1 {
            true => args.output.parent().unwrap_or(Path::new("")).to_path_buf(),
            false => args.output.clone(),
        };
        let relative = Relative::to(&folder);
        let name = |picture: &Path| match url(picture) {
            Some(_) => picture.to_path_buf(),
            None => relative.name(picture),
        };
        Ok(Self {
            table: Table::of_pictures(&args.input, &pictures, name),
            folder,
            is_list: true,
        })
    }
}

/// Whether a folder is one of tables. Where it holds both, which is meant is not guessed; the output of such a
/// command among its own pictures is no table of it.
fn is_folder_of_tables(args: &MapArgs) -> Result<bool, Failure> {
    let folder = &args.input;
    let tables = Table::files_in(folder);
    if !has_pictures(folder) {
        if tables.is_empty() && !args.folders.recursive {
            check_below(folder)?;
        }
        return Ok(!tables.is_empty());
    }
    let foreign = tables.iter().find(|table| is_foreign(table, &args.output));
    match (foreign, &args.image) {
        (Some(_), Some(_)) => Ok(true),
        (Some(_), None) if args.folders.recursive => Ok(false),
        (Some(table), None) => Err(Failure::Usage(format!(
            "{0}: holds pictures and tables ({1}); give a pattern ('{2}') for the pictures, a table itself, or \
             --image COLUMN for all tables of the folder",
            folder.display(),
            table.file_name().unwrap_or_default().display(),
            folder.join("*.png").display(),
        ))),
        (None, _) => Ok(false),
    }
}

/// Says of a folder without tables that those below it have some: parts by the values of a column.
fn check_below(folder: &Path) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut below: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    below.sort();
    let found = below
        .into_iter()
        .find(|below| !Table::files_in(below).is_empty());
    match found {
        None => Ok(()),
        Some(below) => Err(Failure::Work(format!(
            "{}: holds no table itself, and folders of tables are not read as one; give one of them, such as \
             {}, or write them into one file",
            folder.display(),
            below.display()
        ))),
    }
}

/// Refuses a pattern of tables.
fn check_pattern(input: &Path) -> Result<(), Failure> {
    if input.exists() {
        return Ok(());
    }
    let text = input.to_string_lossy();
    let first = glob::glob(&text)
        .ok()
        .and_then(|mut found| found.next()?.ok());
    let ending = first.as_deref().and_then(Path::extension);
    let ending = ending.and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("parquet" | "pq" | "jsonl" | "ndjson" | "csv" | "tsv") => {
            Err(Failure::Usage(format!(
                "{text}: a pattern is one of pictures, and this one finds tables; give one of them, or the folder \
             of Parquet files"
            )))
        }
        _ => Ok(()),
    }
}
