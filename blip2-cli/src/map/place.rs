//! Where the output is: a file, or a folder of parts, with what is kept beside it on the way.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use blip2_io::{
    FileLock,
    tables::{TableFormat, join, split},
};

use super::{
    beside::{DIGITS, beside, entries, is_half, is_part, manifest_of, remove_named},
    input::Input,
    manifest::Manifest,
};
use crate::{Failure, apart, args::map::MapArgs};

/// The output of a run, which no other has at the same time.
pub(super) struct Place {
    output: PathBuf,
    pub(super) format: TableFormat,
    /// Whether the parts become one file.
    is_file: bool,
    /// Whether what is there is thrown away.
    restart: bool,
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
    if args.output.as_os_str() == "-" {
        return Err(Failure::usage(
            "--output -: a table that can be gone on with is no stream; give a file that ends in .parquet or \
             .jsonl, or a folder",
        ));
    }
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
    /// Takes the output for this run: an empty one, or what a run before left that was asked the same. Nothing
    /// is changed yet.
    pub(super) fn take(
        args: &MapArgs,
        input: &Input,
        manifest: &Manifest,
    ) -> Result<Self, Failure> {
        let (format, is_file) = format(args)?;
        let output = args.output.clone();
        check_apart(&output, is_file, input)?;
        if is_file {
            let read = args.model.read().map(PathBuf::as_path);
            apart::check("--output", &output, read)?;
        }
        check_room(&output, is_file)?;
        let at = |error: io::Error| named(&output, error);
        if !is_file {
            fs::create_dir_all(&output).map_err(at)?;
        }
        let lock = FileLock::try_now(manifest_of(&output, is_file)).map_err(at)?;
        let lock = lock.ok_or_else(|| named(&output, "another process is writing it"))?;
        let place = Self {
            output: output.clone(),
            format,
            is_file,
            restart: args.restart,
            _lock: lock,
        };
        match place.manifest().exists() {
            true => place.check(manifest, args.retry)?,
            false => place.check_unknown()?,
        }
        Ok(place)
    }

    /// Makes ready for parts, when nothing is in the way of computing them any more.
    pub(super) fn begin(&self, manifest: &Manifest) -> Result<(), Failure> {
        let at = |error: io::Error| named(&self.output, error);
        // Beside a manifest, a run's names are a run's files.
        if self.manifest().exists() {
            self.sweep().map_err(at)?;
        }
        if self.restart {
            self.clear().map_err(at)?;
        }
        if self.is_file {
            fs::create_dir_all(self.folder()).map_err(at)?;
        }
        manifest.write(&self.manifest())
    }

    /// Refuses the output of a run that was asked otherwise, if it made anything.
    fn check(&self, manifest: &Manifest, is_retry: bool) -> Result<(), Failure> {
        let parts = self.parts_there()?;
        if parts == 0 && !(self.is_file && self.output.exists()) {
            return Ok(());
        }
        let before = Manifest::read(&self.manifest())?;
        let difference = match self.restart {
            true => None,
            false => manifest.difference(&before, is_retry),
        };
        match difference {
            None => Ok(()),
            Some(difference) => Err(named(
                &self.output,
                format!(
                    "holds rows of a run that was asked otherwise: {difference}; give the same again to go on, \
                     --restart to begin anew, or --output another name"
                ),
            )),
        }
    }

    /// Refuses what is no output of such a run.
    fn check_unknown(&self) -> Result<(), Failure> {
        if self.is_file && self.output.exists() && !self.restart {
            return Err(named(
                &self.output,
                "is there, and `blip2 map` does not know what made it; give --output another name, or \
                 --restart to write over it",
            ));
        }
        let tables = entries(&self.folder()).map_err(|error| named(&self.folder(), error))?;
        let mut names = tables.into_iter().map(|entry| entry.file_name());
        let table = names.find(|name| {
            let name = name.to_string_lossy();
            let endings = [".parquet", ".jsonl"];
            endings.iter().any(|ending| name.ends_with(ending)) && !name.starts_with('.')
        });
        match table {
            None => Ok(()),
            Some(table) => Err(named(
                &self.folder(),
                format!(
                    "holds a table ({}) of which `blip2 map` does not know what made it; give --output another \
                     name, or delete it yourself",
                    table.display()
                ),
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
        manifest_of(&self.output, self.is_file)
    }

    /// All parts of so many rows; of no rows one, so that there is a table.
    pub(super) fn parts(&self, rows: u64, part_rows: u64) -> Vec<Part> {
        let count = rows.div_ceil(part_rows).max(1);
        let digits = count.to_string().len().max(DIGITS);
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
        let is_there = self.is_file && !self.restart && self.output.exists();
        Ok(is_there && self.parts_there()? == 0)
    }

    /// Whether a run before has computed a part, and it is kept.
    pub(super) fn has(&self, part: &Part) -> bool {
        !self.restart && part.path.exists()
    }

    /// Takes parts out of a finished file again.
    pub(super) fn take_out(&self, parts: &[Part]) -> Result<(), Failure> {
        let parts = parts
            .iter()
            .map(|part| (part.rows.clone(), part.path.clone()));
        split(&self.output, &parts.collect::<Vec<_>>(), self.format).map_err(Failure::work)
    }

    fn parts_there(&self) -> Result<usize, Failure> {
        let entries = entries(&self.folder()).map_err(|error| named(&self.folder(), error))?;
        let parts = entries.iter().filter(|entry| is_part(&entry.file_name()));
        Ok(parts.count())
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

    /// Takes away the parts of a file, all at once: of a few that were left others would be computed
    /// again.
    pub(super) fn remove_folder(&self) -> io::Result<()> {
        let folder = self.folder();
        let is_own =
            |entry: &fs::DirEntry| is_part(&entry.file_name()) || is_half(&entry.file_name());
        if !entries(&folder)?.iter().all(is_own) {
            // Something else was put there, and stays.
            return remove_named(&folder, is_part);
        }
        let old = self.old_folder();
        match fs::rename(folder, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => fs::remove_dir_all(old),
        }
    }

    /// What the folder of parts is called while it is taken away.
    fn old_folder(&self) -> PathBuf {
        let name = self.output.file_name().unwrap_or_default();
        let old = format!(".{}.parts.partial", name.to_string_lossy());
        parent(&self.output).join(old)
    }

    /// Takes away what runs that were killed left half.
    fn sweep(&self) -> io::Result<()> {
        remove_named(&self.folder(), is_half)?;
        if !self.is_file {
            return Ok(());
        }
        let name = self.output.file_name().unwrap_or_default();
        let begin = format!(".{}.", name.to_string_lossy());
        remove_named(parent(&self.output), |name| {
            let name = name.to_string_lossy();
            name.starts_with(&begin) && name.ends_with(".partial")
        })?;
        match fs::remove_dir_all(self.old_folder()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes away what a run before made, the record of it last.
    fn clear(&self) -> io::Result<()> {
        if self.is_file {
            self.remove_folder()?;
            remove(&self.output)?;
        } else if self.manifest().exists() {
            remove_named(&self.output, is_part)?;
        }
        remove(&self.manifest())
    }
}

fn parent(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses to write over what is read, or into it.
fn check_apart(output: &Path, is_file: bool, input: &Input) -> Result<(), Failure> {
    let there = |path: &Path| fs::canonicalize(path).ok();
    let read = input.table.path();
    let (input_there, output_there) = (there(read), there(output));
    let own_folder = there(parent(output));
    let is_input = input_there.is_some() && input_there == output_there;
    // A folder of tables would hold its own answers from the next run on.
    let is_within = is_file && !input.is_list && read.is_dir() && own_folder == input_there;
    match is_input || is_within {
        true => Err(Failure::Usage(format!(
            "{}: is read, and --output would write into it; give it another name",
            output.display()
        ))),
        false => Ok(()),
    }
}

/// Says what is in the way of an output by its name.
fn check_room(output: &Path, is_file: bool) -> Result<(), Failure> {
    let folder = parent(output);
    if is_file && !folder.is_dir() {
        let reason = format!(
            "there is no folder {}; make it first, or give --output another name",
            folder.display()
        );
        return Err(named(output, reason));
    }
    match !is_file && output.exists() && !output.is_dir() {
        true => Err(named(
            output,
            "is a file, and the name is that of a folder of parts; give --output one that ends in .parquet or \
             .jsonl, or another folder",
        )),
        false => Ok(()),
    }
}

fn named(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Work(format!("{}: {error}", path.display()))
}
