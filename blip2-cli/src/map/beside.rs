//! The names of what a run makes and keeps, by which it is told from other people's files.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// The fewest digits of a part's number.
pub(super) const DIGITS: usize = 5;

/// What the record of a run is called in a folder of tables.
const RECORD: &str = "_map.json";

/// Where it is kept what a run was asked: hidden from whoever reads a folder of tables.
pub(super) fn manifest_of(output: &Path, is_file: bool) -> PathBuf {
    match is_file {
        true => beside(output, ".map.json"),
        false => output.join(RECORD),
    }
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether a table is not what `blip2 map` made: neither this run's output nor another's.
pub(super) fn is_foreign(table: &Path, output: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let is_output = real(output).is_some_and(|output| real(table) == Some(output));
    !is_output && !manifest_of(table, true).exists()
}

/// Whether a name is that of a part: `part-00000.parquet`.
pub(super) fn is_part(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| part_end(name) == Some(""))
}

/// Whether a name is that of a part in the making, or of a folder's record: `.part-00000.parquet.….partial`,
/// `._map.json.….partial`.
pub(super) fn is_half(name: &OsStr) -> bool {
    let inner = name
        .to_str()
        .and_then(|name| name.strip_prefix('.')?.strip_suffix(".partial"));
    let end = inner.and_then(|name| part_end(name).or_else(|| name.strip_prefix(RECORD)));
    end.is_some_and(|end| end.starts_with('.'))
}

/// What follows a part's name.
fn part_end(name: &str) -> Option<&str> {
    let name = name.strip_prefix("part-")?;
    let end = name.trim_start_matches(|char: char| char.is_ascii_digit());
    let digits = name.len() - end.len();
    let endings = [".parquet", ".jsonl"];
    let end = endings
        .into_iter()
        .find_map(|ending| end.strip_prefix(ending))?;
    (digits >= DIGITS).then_some(end)
}

/// The files of a folder; none where there is no folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Takes away the files of a folder whose names are such.
pub(super) fn remove_named(folder: &Path, is_one: impl Fn(&OsStr) -> bool) -> io::Result<()> {
    for entry in entries(folder)? {
        if is_one(&entry.file_name()) && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_s_own_names_are_its_own() {
        for (name, part, half) in [
            ("part-00000.parquet", true, false),
            ("part-1234567.jsonl", true, false),
            (".part-00000.parquet.aB3x.partial", false, true),
            ("._map.json.aB3x.partial", false, true),
            ("._map.jsonaB3x.partial", false, false),
            ("part-0000.parquet", false, false),
            ("part-00000-abc.snappy.parquet", false, false),
            ("part-00000.parquet.crc", false, false),
            ("part-list.xlsx", false, false),
            ("part-2-thesis.txt", false, false),
            (".part-notes.partial", false, false),
        ] {
            let found = (is_part(name.as_ref()), is_half(name.as_ref()));
            assert_eq!(found, (part, half), "{name}");
        }
    }
}
