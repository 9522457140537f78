//! `bad/manifest.toml`.

use std::{collections::BTreeMap, fs};

use blip2_testing::workspace;
use serde::Deserialize;

/// Cases that begin with the same files and are brought to the program in the same way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// What is spoilt.
    pub(crate) about: String,
    /// A checkpoint of `fixtures/`, copied to the folder `model`.
    pub(crate) fixture: Option<String>,
    /// Other files of the repository that are copied: name and where it is.
    #[serde(default)]
    pub(crate) copy: BTreeMap<String, String>,
    /// Texts that are written: name and content.
    #[serde(default)]
    pub(crate) text: BTreeMap<String, String>,
    /// The command line of cases that have none.
    #[serde(default)]
    run: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

/// One spoilt input: what is done to the group's files, in the order of the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// A file or folder that is removed.
    pub(crate) remove: Option<String>,
    /// A file that gets another name: from, to.
    pub(crate) rename: Option<[String; 2]>,
    /// Files of `bad/files` that are put in: name and file.
    #[serde(default)]
    pub(crate) put: BTreeMap<String, String>,
    /// Texts that are written: name and content.
    #[serde(default)]
    pub(crate) text: BTreeMap<String, String>,
    /// The file that the fields below change.
    pub(crate) file: Option<String>,
    /// Is kept of it: so many bytes.
    pub(crate) cut: Option<usize>,
    /// Bytes that are written over it: where, and which, in hexadecimal digits.
    pub(crate) bytes: Option<(usize, String)>,
    /// A key of a JSON file, a path with dots, that gets the value `to`, or goes without one.
    pub(crate) key: Option<String>,
    /// The value as it is written, which need not be JSON.
    pub(crate) to: Option<String>,
    /// A text of the file in place of which `with` is written.
    pub(crate) replace: Option<String>,
    #[serde(default)]
    pub(crate) with: String,
    /// The text that begins the file, that many times: what nests deeply is short to write.
    pub(crate) repeat: Option<(String, usize)>,
    /// Another command line than the group's.
    #[serde(default)]
    run: Vec<String>,
    /// What the program must say.
    says: Vec<String>,
}

impl Case {
    pub(crate) fn command<'a>(&'a self, group: &'a Group) -> &'a [String] {
        match self.run.is_empty() {
            true => &group.run,
            false => &self.run,
        }
    }

    pub(crate) fn says(&self) -> impl Iterator<Item = &str> {
        self.says.iter().map(String::as_str)
    }
}

/// All groups of the manifest.
pub(crate) fn groups() -> Vec<Group> {
    #[derive(Deserialize)]
    struct Manifest {
        group: Vec<Group>,
    }
    let path = workspace().join("bad/manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    let manifest: Manifest = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    manifest.group
}
