//! Where records go.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use blip2_io::write_file;
use indicatif::ProgressBar;

use super::{Record, cell, grown::Grown};
use crate::{Failure, apart};

/// What --output names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output, as JSON lines.
    Standard,
    JsonLines(PathBuf),
    Csv(PathBuf),
    /// A text file beside each picture.
    Beside,
}

impl FromStr for Output {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(text);
        let ends_in = |ending| {
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case(ending))
        };
        match text {
            "-" => Ok(Self::Standard),
            "beside" => Ok(Self::Beside),
            _ if ends_in("jsonl") || ends_in("ndjson") => Ok(Self::JsonLines(path)),
            _ if ends_in("csv") => Ok(Self::Csv(path)),
            _ => Err("give a name that ends in .jsonl or .csv, or - for standard output"),
        }
    }
}

/// How a command's records are laid out.
pub(crate) struct Schema {
    /// The columns by which a record is known again.
    pub(crate) keys: &'static [&'static str],
    /// The column of the result; a record has it, or an `error`.
    pub(crate) result: &'static str,
    /// All columns, of which a CSV file has one each.
    pub(crate) columns: Vec<String>,
}

/// Where records go.
pub(crate) enum Sink {
    Standard,
    File(Box<Grown>),
    Beside { result: &'static str },
}

impl Sink {
    /// Opens what --output names. It may be none of `inputs`.
    pub(crate) fn open<'p>(
        output: &Output,
        schema: Schema,
        retry: bool,
        inputs: impl IntoIterator<Item = &'p Path>,
    ) -> Result<Self, Failure> {
        let (path, is_table) = match output {
            Output::Standard => return Ok(Self::Standard),
            Output::Beside => {
                return Ok(Self::Beside {
                    result: schema.result,
                });
            }
            Output::JsonLines(path) => (path, false),
            Output::Csv(path) => (path, true),
        };
        apart::check("--output", path, inputs)?;
        let grown = Grown::open(path, is_table, schema, retry)?;
        Ok(Self::File(Box::new(grown)))
    }

    /// Whether there is a result of this picture already, known by these values of its record too; each that
    /// is there answers for one that is asked for.
    pub(crate) fn take_done(&mut self, picture: &Path, known_by: &[&str]) -> bool {
        match self {
            Self::Standard => false,
            Self::File(grown) => {
                let picture = picture.to_string_lossy();
                grown.take_done(&[&[&*picture], known_by].concat())
            }
            Self::Beside { .. } => beside(picture).exists(),
        }
    }

    /// How many of those that were done already are failures.
    pub(crate) fn failed_before(&self) -> usize {
        match self {
            Self::File(grown) => grown.failed(),
            _ => 0,
        }
    }

    /// Writes the records of a picture at once.
    pub(crate) fn write(
        &mut self,
        picture: &Path,
        records: &[Record],
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        match self {
            Self::Standard => bar.suspend(|| {
                for record in records {
                    say!("{}", serde_json::Value::Object(record.clone()));
                }
                Ok(())
            }),
            Self::File(grown) => grown.append(records),
            Self::Beside { result } => write_beside(picture, records, result, bar),
        }
    }

    /// How whoever stopped the run goes on.
    pub(crate) fn way_on(&self) -> &'static str {
        match self {
            Self::Standard => "with --output FILE the same command would go on from there",
            _ => "the same command goes on from there",
        }
    }
}

/// The text file beside a picture.
pub(crate) fn beside(picture: &Path) -> PathBuf {
    picture.with_extension("txt")
}

/// A file beside a picture, with a line for each of its texts. What failed is told.
fn write_beside(
    picture: &Path,
    records: &[Record],
    result: &str,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut lines = String::new();
    for record in records {
        let error = cell(record, "error");
        if !error.is_empty() {
            bar.suspend(|| note!("{error}"));
        }
        let further = (2..).map(|n| format!("{result}_{n}"));
        let further =
            further.map_while(|column| record.get(&column).map(|_| cell(record, &column)));
        let best = record.contains_key(result).then(|| cell(record, result));
        for text in best.into_iter().chain(further) {
            lines.push_str(&text.replace(['\r', '\n'], " "));
            lines.push('\n');
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let path = beside(picture);
    write_file(&path, lines).map_err(|error| Failure::Work(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_known_by_its_ending() {
        let of = |text: &str| text.parse::<Output>();
        assert_eq!(of("-"), Ok(Output::Standard));
        assert_eq!(of("beside"), Ok(Output::Beside));
        assert_eq!(of("a/b.JSONL"), Ok(Output::JsonLines("a/b.JSONL".into())));
        assert_eq!(of("b.csv"), Ok(Output::Csv("b.csv".into())));
        assert!(of("b.txt").is_err() && of("jsonl").is_err() && of("").is_err());
    }
}
