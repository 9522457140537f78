//! Where the output is: a file, or a folder of parts, with what is kept beside it on the way.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use blip2_io::{
    FileLock,
    tables::{Table, TableFormat, join},
};

use super::manifest::Manifest;
use crate::{Failure, apart, args::map::MapArgs};

/// The output of a run, which no other has at the same time.
pub(super) struct Place {
    output: PathBuf,
    pub(super) format: TableFormat,
    /// Whether the parts become one file.
    is_file: bool,
    _lock: FileLock,
}

/// A part of the output.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) rows: Range<u64>,
}

/// What a name asks for: a file of a form, or a folder.
pub(super) fn format(args: &MapArgs) -> Result<(TableFormat, bool), Failure> {
    let ending = args.output.extension().and_then(|ending| ending.to_str());
    let of_file = match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("parquet" | "pq") => Some(TableFormat::Parquet),
        Some("jsonl" | "ndjson") => Some(TableFormat::JsonLines),
        Some("csv" | "tsv" | "json") => {
            return Err(Failure::usage(
                "--output is a file that ends in .parquet or .jsonl, or a folder",
            ));
        }
        _ => None,
    };
    let asked = args.format.map(TableFormat::from);
    match (of_file, asked) {
        (Some(format), Some(asked)) if format != asked => Err(Failure::usage(
            "--output names a file of another form than --format; leave out one of them",
        )),
        (Some(format), _) if !args.output.is_dir() => Ok((format, true)),
        (format, asked) => Ok((asked.or(format).unwrap_or(TableFormat::Parquet), false)),
    }
}

impl Place {
    /// Takes the output for this run: an empty one, or what a run before left that was asked the same.
    pub(super) fn take(
        args: &MapArgs,
        table: &Table,
        manifest: &Manifest,
    ) -> Result<Self, Failure> {
        let (format, is_file) = format(args)?;
        let output = args.output.clone();
        check_apart(&output, table)?;
        if is_file {
            let read = args.model.read().map(PathBuf::as_path);
            apart::check("--output", &output, read)?;
        }
        let at = |error: io::Error| named(&output, error);
        if !is_file {
            fs::create_dir_all(&output).map_err(at)?;
        }
        let lock = FileLock::try_now(kept(&output, is_file)).map_err(at)?;
        let lock = lock.ok_or_else(|| named(&output, "another process is writing it"))?;
        let place = Self {
            output: output.clone(),
            format,
            is_file,
            _lock: lock,
        };
        if args.restart {
            place.clear().map_err(at)?;
        }
        place.check(manifest)?;
        if is_file {
            fs::create_dir_all(place.folder()).map_err(at)?;
        }
        place.sweep().map_err(at)?;
        manifest.write(&place.manifest())?;
        Ok(place)
    }

    /// Refuses what is no output of such a run.
    fn check(&self, manifest: &Manifest) -> Result<(), Failure> {
        if self.manifest().exists() {
            let before = Manifest::read(&self.manifest())?;
            return match manifest.difference(&before) {
                None => Ok(()),
                Some(difference) => Err(named(
                    &self.output,
                    format!(
                        "holds rows of a run that was asked otherwise: {difference}; give the same \
                         again to go on, --restart to begin anew, or --output another name"
                    ),
                )),
            };
        }
        let is_there = match self.is_file {
            true => self.output.exists(),
            false => {
                self.parts_there()
                    .map_err(|error| named(&self.output, error))?
                    > 0
            }
        };
        match is_there {
            false => Ok(()),
            true => Err(named(
                &self.output,
                "is there, and `blip2 map` does not know what made it; give --output another name, or \
                 --restart to write over it",
            )),
        }
    }

    /// Where the parts are.
    fn folder(&self) -> PathBuf {
        match self.is_file {
            true => beside(&self.output, ".parts"),
            false => self.output.clone(),
        }
    }

    fn manifest(&self) -> PathBuf {
        kept(&self.output, self.is_file)
    }

    /// All parts of so many rows; of no rows one, so that there is a table.
    pub(super) fn parts(&self, rows: u64, part_rows: u64) -> Vec<Part> {
        let count = rows.div_ceil(part_rows).max(1);
        let digits = count.to_string().len().max(5);
        let parts = (0..count).map(|number| {
            let begin = number * part_rows;
            let name = format!("part-{number:0digits$}.{}", self.format.ending());
            Part {
                path: self.folder().join(name),
                rows: begin..(begin + part_rows).min(rows),
            }
        });
        parts.collect()
    }

    /// Whether a run before has finished all: of a file the file is there, and no part any more.
    pub(super) fn is_finished(&self) -> Result<bool, Failure> {
        let parts = self.parts_there();
        let parts = parts.map_err(|error| named(&self.output, error))?;
        Ok(self.is_file && self.output.exists() && parts == 0)
    }

    fn parts_there(&self) -> io::Result<usize> {
        let mut count = 0;
        for entry in entries(&self.folder())? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_table = [".parquet", ".jsonl"]
                .iter()
                .any(|ending| name.ends_with(ending));
            count += usize::from(is_table && !name.starts_with('.'));
        }
        Ok(count)
    }

    /// Puts the parts together, if they are to be one file.
    pub(super) fn finish(&self, parts: &[Part]) -> Result<(), Failure> {
        if !self.is_file {
            return Ok(());
        }
        let paths: Vec<PathBuf> = parts.iter().map(|part| part.path.clone()).collect();
        join(&paths, &self.output, self.format).map_err(Failure::work)?;
        self.remove_folder()
            .map_err(|error| named(&self.folder(), error))
    }

    /// The tables that hold the output.
    pub(super) fn tables(&self, parts: &[Part]) -> Vec<PathBuf> {
        match self.is_file {
            true => vec![self.output.clone()],
            false => parts.iter().map(|part| part.path.clone()).collect(),
        }
    }

    /// Takes away the parts of a file, all at once: of a few that were left others would be computed
    /// again.
    pub(super) fn remove_folder(&self) -> io::Result<()> {
        let name = self.output.file_name().unwrap_or_default();
        let old = format!(".{}.parts.partial", name.to_string_lossy());
        let old = parent(&self.output).join(old);
        match fs::rename(self.folder(), &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => fs::remove_dir_all(old),
        }
    }

    /// Takes away what runs that were killed left half.
    fn sweep(&self) -> io::Result<()> {
        let (folder, name) = match self.is_file {
            true => (parent(&self.output), self.output.file_name()),
            false => (self.output.as_path(), None),
        };
        let own = name.map_or(".part-".into(), |name| {
            format!(".{}.", name.to_string_lossy())
        });
        remove_partial(folder, &own)?;
        remove_partial(&self.folder(), ".part-")
    }

    /// Takes away all that a run before made.
    fn clear(&self) -> io::Result<()> {
        self.sweep()?;
        if self.is_file {
            self.remove_folder()?;
            remove(&self.output)?;
        } else {
            for entry in entries(&self.output)? {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.trim_start_matches('.').starts_with("part-") {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        remove(&self.manifest())
    }
}

/// Where it is kept what a run was asked: hidden from whoever reads a folder of tables.
fn kept(output: &Path, is_file: bool) -> PathBuf {
    match is_file {
        true => beside(output, ".map.json"),
        false => output.join("_map.json"),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn parent(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove_partial(folder: &Path, begin: &str) -> io::Result<()> {
    for entry in entries(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name.starts_with(begin) && name.ends_with(".partial")) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses to write over what is read, or into it.
fn check_apart(output: &Path, table: &Table) -> Result<(), Failure> {
    let there = |path: &Path| fs::canonicalize(path).ok();
    let (input, output_there) = (there(table.path()), there(output));
    let own_folder = output_there.as_deref().and_then(Path::parent);
    let is_input = input.is_some() && input == output_there;
    // A folder of tables would hold its own answers from the next run on.
    let is_within = table.path().is_dir() && input.is_some() && own_folder == input.as_deref();
    match is_input || (is_within && Table::is_folder(table.path())) {
        true => Err(Failure::Usage(format!(
            "{}: is read, and --output would write into it; give it another name",
            output.display()
        ))),
        false => Ok(()),
    }
}

fn named(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Work(format!("{}: {error}", path.display()))
}
