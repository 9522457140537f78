//! The names of shards and tables: one, several, or patterns of them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use blip2_io::dataset::DatasetError;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};

/// The most names that a range in braces may stand for.
const MOST: u64 = 100_000;

/// Names of files, with `*` for anything and `{000..146}` for a range, as WebDataset writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Shards(Vec<String>);

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Shards;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the name of a file, as \"train-*.tar\" or \"train-*.parquet\", or a list of names",
        )
    }

    fn visit_str<E>(self, name: &str) -> Result<Shards, E> {
        Ok(Shards(vec![name.into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Shards, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = members.next_element()? {
            names.push(name);
        }
        Ok(Shards(names))
    }
}

impl Shards {
    /// The files that there are, in the order of the names, and of each pattern in that of the alphabet.
    pub(super) fn files(&self, base: &Path) -> Result<Vec<PathBuf>, DatasetError> {
        let mut files = Vec::new();
        for name in &self.0 {
            let failed = |kind, reason: String| DatasetError::Read {
                path: base.join(name),
                source: io::Error::new(kind, reason),
            };
            let names = ranged(name).map_err(|text| failed(io::ErrorKind::InvalidInput, text))?;
            for name in names {
                // The folder of the file may have any name; an absolute name is its own.
                let base = glob::Pattern::escape(&base.to_string_lossy());
                let pattern = Path::new(&base).join(&name);
                // As macOS leaves them beside files that it copies (`._train.parquet`).
                let shown = glob::MatchOptions {
                    require_literal_leading_dot: true,
                    ..glob::MatchOptions::new()
                };
                let found = glob::glob_with(&pattern.to_string_lossy(), shown);
                let found = found.map_err(|error| {
                    let text = format!("it is no pattern of names: {error}");
                    failed(io::ErrorKind::InvalidInput, text)
                })?;
                let before = files.len();
                files.extend(found.filter_map(Result::ok));
                if files.len() == before {
                    let text = format!("there is no file `{name}`");
                    return Err(failed(io::ErrorKind::NotFound, text));
                }
            }
        }
        Ok(files)
    }
}

/// The names that a name with a range in braces stands for.
fn ranged(name: &str) -> Result<Vec<String>, String> {
    let braces = name
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (range, after))) = braces else {
        return Ok(vec![name.into()]);
    };
    let numbers = range
        .split_once("..")
        .and_then(|(first, last)| Some((first.len(), number(first)?, number(last)?)));
    let Some((width, first, last)) = numbers else {
        return Err(format!("`{{{range}}}` is no range as `{{000..146}}`"));
    };
    if last < first || last - first >= MOST {
        return Err(format!(
            "the range `{{{range}}}` must rise, and stand for no more than {MOST} names"
        ));
    }
    let one = |number| format!("{before}{number:0width$}{after}");
    Ok((first..=last).map(one).collect())
}

fn number(text: &str) -> Option<u64> {
    let digits = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ranges_and_patterns_are_found_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        // A folder with a bracket is a folder, and no pattern.
        let base = folder.path().join("a[1]");
        std::fs::create_dir(&base).unwrap();
        for name in ["t-08.tar", "t-09.tar", "t-10.tar", "v.tar", "._v.tar"] {
            std::fs::write(base.join(name), "").unwrap();
        }
        let files = |names: &[&str]| {
            let shards = Shards(names.iter().map(|name| name.to_string()).collect());
            let files = shards.files(&base)?;
            let name = |file: PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
            Ok::<_, DatasetError>(files.into_iter().map(name).collect::<Vec<_>>())
        };
        assert_eq!(
            files(&["t-{09..10}.tar"]).unwrap(),
            ["t-09.tar", "t-10.tar"]
        );
        assert_eq!(files(&["v.tar", "t-*.tar"]).unwrap().len(), 4);
        // A hidden file is read where it is named.
        assert_eq!(files(&["*.tar"]).unwrap().len(), 4);
        assert_eq!(files(&["._v.tar"]).unwrap(), ["._v.tar"]);
        for (name, said) in [
            ("t-{09..11}.tar", "there is no file `t-11.tar`"),
            ("x*.tar", "there is no file `x*.tar`"),
            ("t-{a..b}.tar", "is no range as"),
            ("t-{2..1}.tar", "must rise"),
            ("t-{0..999999999}.tar", "no more than 100000 names"),
        ] {
            let error = files(&[name]).unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
    }

    #[test]
    fn shards_are_a_name_or_a_list() {
        #[derive(Debug, Deserialize)]
        struct Table {
            shards: Shards,
        }
        let read = |text: &str| toml::from_str::<Table>(text);
        assert_eq!(
            read("shards = 'a'").unwrap().shards,
            read("shards = ['a']").unwrap().shards
        );
        let error = read("shards = 7").unwrap_err().to_string();
        assert!(error.contains("the name of a file"), "{error}");
    }
}
