//! Files of feature vectors.

use std::{
    fmt::Display,
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use blip2_io::{
    NewFile,
    vectors::{names_file, npy_head},
    write_file,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::features::Values;
use crate::{Failure, apart};

/// What --output names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VectorFile {
    Standard,
    JsonLines(PathBuf),
    Npy(PathBuf),
    Safetensors(PathBuf),
}

impl FromStr for VectorFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(text);
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match (text, ending.as_ref().and_then(|ending| ending.to_str())) {
            ("-", _) => Ok(Self::Standard),
            (_, Some("jsonl" | "ndjson")) => Ok(Self::JsonLines(path)),
            (_, Some("npy")) => Ok(Self::Npy(path)),
            (_, Some("safetensors")) => Ok(Self::Safetensors(path)),
            _ => Err(
                "give a name that ends in .npy, .safetensors or .jsonl, or - for standard output",
            ),
        }
    }
}

impl VectorFile {
    /// Refuses to write over what is read.
    pub(super) fn check_no_input<'p>(
        &self,
        inputs: impl IntoIterator<Item = &'p Path> + Clone,
    ) -> Result<(), Failure> {
        for output in self.files() {
            apart::check("--output", &output, inputs.clone())?;
        }
        Ok(())
    }

    /// The files that are written.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Standard => Vec::new(),
            Self::JsonLines(path) | Self::Safetensors(path) => vec![path.clone()],
            Self::Npy(path) => vec![path.clone(), names_file(path)],
        }
    }

    /// Whether one of them is there.
    fn exists(&self) -> bool {
        self.files().iter().any(|file| file.exists())
    }
}

/// Vectors on their way to a file, which appears at the end.
pub(super) struct Vectors<'o> {
    output: &'o VectorFile,
    /// What a row is of: `image` or `text`.
    of: &'static str,
    names: Vec<String>,
    shape: Option<Vec<usize>>,
    /// The numbers so far, or the lines: how many there will be stands before them and is known last.
    spool: Option<BufWriter<fs::File>>,
}

impl<'o> Vectors<'o> {
    pub(super) fn begin(output: &'o VectorFile, of: &'static str) -> Result<Self, Failure> {
        let spool = match output {
            VectorFile::Standard => None,
            VectorFile::JsonLines(path) | VectorFile::Npy(path) | VectorFile::Safetensors(path) => {
                // In the same folder, where there is to be room for them.
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                let file = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")));
                Some(BufWriter::new(file.map_err(|error| named(path, error))?))
            }
        };
        Ok(Self {
            output,
            of,
            names: Vec::new(),
            shape: None,
            spool,
        })
    }

    /// Takes the values of a batch.
    pub(super) fn add(
        &mut self,
        names: &[String],
        values: &Values,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        if self.shape.get_or_insert_with(|| values.shape.clone()) != &values.shape {
            return Err(Failure::Work("features of unlike shapes".into()));
        }
        let lines = || {
            let size = values.shape.iter().product::<usize>().max(1);
            let each = names.iter().zip(values.values.chunks(size));
            each.map(|(name, row)| json!({ self.of: name, "features": nested(&values.shape, row) }))
        };
        match (self.output, &mut self.spool) {
            (VectorFile::JsonLines(path), Some(spool)) => {
                for line in lines() {
                    writeln!(spool, "{line}").map_err(|error| named(path, error))?;
                }
            }
            (VectorFile::Npy(path) | VectorFile::Safetensors(path), Some(spool)) => {
                self.names.extend_from_slice(names);
                for value in &values.values {
                    let written = spool.write_all(&value.to_le_bytes());
                    written.map_err(|error| named(path, error))?;
                }
            }
            _ => bar.suspend(|| {
                for line in lines() {
                    say!("{line}");
                }
                Ok(())
            })?,
        }
        Ok(())
    }

    /// Writes what there is of an interrupted work, which is `done`; where a file stood before, that stays, since it
    /// may have all.
    pub(super) fn interrupted(self, done: &str) -> Result<(), Failure> {
        let (VectorFile::JsonLines(path) | VectorFile::Npy(path) | VectorFile::Safetensors(path)) =
            self.output
        else {
            return Err(Failure::Interrupted(format!("interrupted after {done}")));
        };
        let path = path.display();
        let said = match self.output.exists() {
            true => format!("interrupted after {done}; {path} stays as it was"),
            false => {
                self.finish()?;
                format!("interrupted; {path} has {done}")
            }
        };
        Err(Failure::Interrupted(said))
    }

    /// Writes the file.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let mut shape = vec![self.names.len()];
        shape.extend(self.shape.unwrap_or_default());
        let (path, head) = match self.output {
            VectorFile::Standard => return Ok(()),
            VectorFile::JsonLines(path) => (path, Vec::new()),
            VectorFile::Npy(path) => (path, npy_head(&shape)),
            VectorFile::Safetensors(path) => (path, safetensors_head(&shape, &self.names)),
        };
        let Some(spool) = self.spool else {
            return Ok(());
        };
        let at = |error: io::Error| named(path, error);
        let mut spool = spool.into_inner().map_err(|error| at(error.into_error()))?;
        io::Seek::rewind(&mut spool).map_err(at)?;
        let mut file = NewFile::create(path).map_err(at)?;
        file.write_all(&head).map_err(at)?;
        io::copy(&mut spool, &mut file).map_err(at)?;
        if let VectorFile::Npy(path) = self.output {
            let names = names_file(path);
            write_file(&names, json!(self.names).to_string())
                .map_err(|error| named(&names, error))?;
        }
        file.finish().map_err(at)
    }
}

/// A row's numbers as lists within lists.
fn nested(shape: &[usize], values: &[f32]) -> Value {
    match shape {
        [] | [_] => json!(values),
        [_, inner @ ..] => {
            let size = inner.iter().product::<usize>().max(1);
            values.chunks(size).map(|row| nested(inner, row)).collect()
        }
    }
}

/// What stands before the numbers of a safetensors file with the one tensor `features`, padded so that
/// they begin at a multiple of 8 bytes.
fn safetensors_head(shape: &[usize], names: &[String]) -> Vec<u8> {
    let bytes = shape.iter().product::<usize>() * size_of::<f32>();
    let head = json!({
        "__metadata__": { "names": json!(names).to_string() },
        "features": { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] },
    });
    let mut text = head.to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text.into_bytes());
    head
}

fn named(path: &Path, error: impl Display) -> Failure {
    Failure::Work(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_what_safetensors_reads() {
        let names = ["a.png".to_string(), "\"b\"\n.png".to_string()];
        let mut file = safetensors_head(&[2, 3], &names);
        assert_eq!(file.len() % 8, 0);
        file.extend((0..6u8).flat_map(|n| f32::from(n).to_le_bytes()));
        let read = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.tensor("features").unwrap().shape(), [2, 3]);
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
        let kept = &metadata.metadata().as_ref().unwrap()["names"];
        let kept: Vec<String> = serde_json::from_str(kept).unwrap();
        assert_eq!(kept, names);
    }
}
