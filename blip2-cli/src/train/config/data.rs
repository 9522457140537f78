//! Where examples are, in the file of a training.

use std::{
    fs,
    path::{Path, PathBuf},
};

use blip2_io::dataset::{ChoiceAnswers, Columns, Dataset, DatasetError, OnBroken, Split};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ranges::within, shards::Shards};
use crate::Failure;

/// Where examples are, by their kind, which files [say](super::kinds) as a key among the others.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DataConfig {
    #[serde(alias = "json", alias = "json-list")]
    JsonLines {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        columns: Columns,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Csv {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        columns: Columns,
        delimiter: Option<char>,
        #[serde(default)]
        on_broken: OnBroken,
    },
    #[serde(rename = "imagefolder", alias = "image-folder")]
    ImageFolder {
        folder: PathBuf,
        #[serde(default)]
        columns: Columns,
        #[serde(default)]
        on_broken: OnBroken,
    },
    #[serde(rename = "webdataset", alias = "web-dataset")]
    WebDataset {
        shards: Shards,
        #[serde(default)]
        columns: Columns,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Parquet {
        files: Shards,
        split: Option<String>,
        pictures: Option<PathBuf>,
        #[serde(default)]
        columns: Columns,
        #[serde(default)]
        on_broken: OnBroken,
    },
    IconqaTest {
        folder: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    #[serde(alias = "ok-vqa")]
    VqaV2 {
        questions: PathBuf,
        annotations: Option<PathBuf>,
        pictures: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    AOkvqa {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        answers: ChoiceAnswers,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Vizwiz {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        answerable_only: bool,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Gqa {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        full_answers: bool,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Textvqa {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    CocoCaptions {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Karpathy {
        file: PathBuf,
        pictures: PathBuf,
        split: String,
        #[serde(default)]
        restval: bool,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Textcaps {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    Flickr30k {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    EasyVqa {
        path: PathBuf,
        split: Split,
        #[serde(default)]
        on_broken: OnBroken,
    },
}

/// A folder, if it is one, with files in it.
fn with_files(folder: PathBuf, files: [&str; 2]) -> Vec<PathBuf> {
    let files = match folder.is_dir() {
        true => files.map(|name| folder.join(name)).into(),
        false => Vec::new(),
    };
    [folder].into_iter().chain(files).collect()
}

/// The keys of files and folders.
const PATHS: [&str; 8] = [
    "file",
    "files",
    "folder",
    "path",
    "pictures",
    "questions",
    "annotations",
    "shards",
];

/// What is said of data that cannot be used, with the way to use the rest of it.
pub(crate) fn unusable(error: DatasetError, on_broken: OnBroken) -> Failure {
    let may_skip = on_broken == OnBroken::Fail && matches!(error, DatasetError::Broken { .. });
    match (Failure::work(error), may_skip) {
        (Failure::Work(text), true) => Failure::Work(format!(
            "{text}\n`on_broken = \"skip\"` in the table of this data leaves such records out"
        )),
        (failure, _) => failure,
    }
}

impl DataConfig {
    /// Reads the data set; relative paths are those of `base`.
    pub(crate) fn read(&self, base: &Path) -> Result<Dataset, Failure> {
        self.check_written_out()?;
        let data = self.dataset(base);
        data.map_err(|error| unusable(error, self.on_broken()))
    }

    /// Refuses names that a shell would have to complete.
    fn check_written_out(&self) -> Result<(), Failure> {
        // The kind stands around its keys.
        let around = serde_json::to_value(self).map_err(Failure::work)?;
        let tables = around.as_object().into_iter().flat_map(Map::values);
        for (table, key) in tables.flat_map(|table| PATHS.map(|key| (table, key))) {
            let own = table.get(key).into_iter();
            let names = own.flat_map(|value| match value {
                Value::Array(all) => all.iter().collect(),
                one => vec![one],
            });
            let is_short = |name: &str| Path::new(name).starts_with("~");
            if let Some(name) = names.filter_map(Value::as_str).find(|name| is_short(name)) {
                return Err(Failure::Work(format!(
                    "`{key}` is {name:?}, and `~` is a name that only a shell knows: write that folder out"
                )));
            }
        }
        Ok(())
    }

    fn dataset(&self, base: &Path) -> Result<Dataset, DatasetError> {
        let at = |path: &PathBuf| base.join(path);
        let on_broken = self.on_broken();
        match self {
            Self::JsonLines {
                file,
                pictures,
                columns,
                ..
            } => Dataset::json_records(at(file), at(pictures), columns, on_broken),
            Self::Csv {
                file,
                pictures,
                columns,
                delimiter,
                ..
            } => {
                let delimiter = delimiter.and_then(|char| u8::try_from(char).ok());
                Dataset::csv(at(file), at(pictures), columns, delimiter, on_broken)
            }
            Self::ImageFolder {
                folder, columns, ..
            } => Dataset::image_folder(at(folder), columns, on_broken),
            Self::WebDataset {
                shards, columns, ..
            } => Dataset::web_dataset(&shards.files(base)?, columns, on_broken),
            #[cfg(feature = "tables")]
            Self::Parquet {
                files,
                split,
                pictures,
                columns,
                ..
            } => {
                let pictures = pictures.as_ref().map(at);
                let (files, split) = (files.files(base)?, split.as_deref());
                Dataset::parquet(&files, split, pictures.as_deref(), columns, on_broken)
            }
            #[cfg(not(feature = "tables"))]
            Self::Parquet { files, .. } => {
                let path = files.files(base)?.into_iter().next();
                Err(DatasetError::Read {
                    path: path.unwrap_or_default(),
                    source: std::io::Error::new(
                        std::io::ErrorKind::Unsupported,
                        "this program was built without Parquet; build it with the feature `tables`",
                    ),
                })
            }
            Self::IconqaTest { folder, .. } => Dataset::iconqa_test(at(folder), on_broken),
            Self::VqaV2 {
                questions,
                annotations,
                pictures,
                ..
            } => {
                let annotations = annotations.as_ref().map(at);
                Dataset::vqa_v2(
                    at(questions),
                    annotations.as_deref(),
                    at(pictures),
                    on_broken,
                )
            }
            Self::AOkvqa {
                file,
                pictures,
                answers,
                ..
            } => Dataset::a_okvqa(at(file), at(pictures), *answers, on_broken),
            Self::Vizwiz {
                file,
                pictures,
                answerable_only,
                ..
            } => Dataset::vizwiz(at(file), at(pictures), *answerable_only, on_broken),
            Self::Gqa {
                file,
                pictures,
                full_answers,
                ..
            } => Dataset::gqa(at(file), at(pictures), *full_answers, on_broken),
            Self::Textvqa { file, pictures, .. } => {
                Dataset::textvqa(at(file), at(pictures), on_broken)
            }
            Self::CocoCaptions { file, pictures, .. } => {
                Dataset::coco_captions(at(file), at(pictures), on_broken)
            }
            Self::Karpathy {
                file,
                pictures,
                split,
                restval,
                ..
            } => Dataset::karpathy(at(file), at(pictures), split, *restval, on_broken),
            Self::Textcaps { file, pictures, .. } => {
                Dataset::textcaps(at(file), at(pictures), on_broken)
            }
            Self::Flickr30k { file, pictures, .. } => {
                Dataset::flickr30k(at(file), at(pictures), on_broken)
            }
            Self::EasyVqa { path, split, .. } => Dataset::easy_vqa(at(path), *split, on_broken),
        }
    }

    /// The files and folders that are read, those that are found in a folder too; relative paths are those of `base`.
    pub(crate) fn paths(&self, base: &Path) -> Vec<PathBuf> {
        let paths: Vec<&PathBuf> = match self {
            Self::JsonLines { file, pictures, .. }
            | Self::Csv { file, pictures, .. }
            | Self::AOkvqa { file, pictures, .. }
            | Self::Vizwiz { file, pictures, .. }
            | Self::Gqa { file, pictures, .. }
            | Self::Textvqa { file, pictures, .. }
            | Self::CocoCaptions { file, pictures, .. }
            | Self::Karpathy { file, pictures, .. }
            | Self::Textcaps { file, pictures, .. }
            | Self::Flickr30k { file, pictures, .. } => vec![file, pictures],
            Self::ImageFolder { folder, .. } => {
                return with_files(base.join(folder), ["metadata.jsonl", "metadata.csv"]);
            }
            Self::IconqaTest { folder, .. } => {
                let folder = base.join(folder);
                let items = fs::read_dir(&folder).into_iter().flatten().flatten();
                let items: Vec<_> = items.map(|item| item.path().join("data.json")).collect();
                return [folder].into_iter().chain(items).collect();
            }
            // That there is none of them is told when they are read.
            Self::WebDataset { shards, .. } => return shards.files(base).unwrap_or_default(),
            Self::Parquet {
                files, pictures, ..
            } => {
                let pictures = pictures.iter().map(|own| base.join(own));
                let files = files.files(base).unwrap_or_default();
                return files.into_iter().chain(pictures).collect();
            }
            Self::VqaV2 {
                questions,
                annotations,
                pictures,
                ..
            } => {
                let annotations = annotations.iter();
                [questions, pictures]
                    .into_iter()
                    .chain(annotations)
                    .collect()
            }
            Self::EasyVqa { path, .. } => {
                let files = ["train/questions.json", "test/questions.json"];
                return with_files(base.join(path), files);
            }
        };
        paths.into_iter().map(|path| base.join(path)).collect()
    }

    /// A folder in which every folder is read as a record: nothing else may lie in it.
    pub(crate) fn folder_of_records(&self, base: &Path) -> Option<PathBuf> {
        match self {
            Self::IconqaTest { folder, .. } => Some(base.join(folder)),
            _ => None,
        }
    }

    /// What becomes of examples that cannot be used.
    pub(crate) fn on_broken(&self) -> OnBroken {
        match self {
            Self::JsonLines { on_broken, .. }
            | Self::Csv { on_broken, .. }
            | Self::ImageFolder { on_broken, .. }
            | Self::WebDataset { on_broken, .. }
            | Self::Parquet { on_broken, .. }
            | Self::IconqaTest { on_broken, .. }
            | Self::VqaV2 { on_broken, .. }
            | Self::AOkvqa { on_broken, .. }
            | Self::Vizwiz { on_broken, .. }
            | Self::Gqa { on_broken, .. }
            | Self::Textvqa { on_broken, .. }
            | Self::CocoCaptions { on_broken, .. }
            | Self::Karpathy { on_broken, .. }
            | Self::Textcaps { on_broken, .. }
            | Self::Flickr30k { on_broken, .. }
            | Self::EasyVqa { on_broken, .. } => *on_broken,
        }
    }

    /// From how many examples that wait each next one is drawn, where nothing is said of it: pictures in
    /// tables are read a row group at a time.
    pub(crate) fn usual_buffer(&self) -> Option<usize> {
        matches!(self, Self::Parquet { .. }).then_some(1000)
    }

    /// Refuses what no table could be cut by, in this table of the file.
    pub(super) fn check(&self, table: &str) -> Result<(), Failure> {
        match self {
            Self::Csv {
                delimiter: Some(char),
                ..
            } => within(
                &format!("[{table}] delimiter"),
                char.escape_default(),
                char.is_ascii() && !matches!(char, '"' | '\n' | '\r'),
                "one ASCII character, and no quote or line's end",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_for_a_shell_is_refused_by_its_key() {
        for (text, key) in [
            ("[json-lines]\nfile = '~/t.jsonl'\npictures = 'p'", "file"),
            ("[json-lines]\nfile = 't.jsonl'\npictures = '~'", "pictures"),
            ("[webdataset]\nshards = ['a.tar', '~/b.tar']", "shards"),
        ] {
            let data: DataConfig = toml::from_str(text).unwrap();
            match data.read(Path::new("")) {
                Err(Failure::Work(said)) => {
                    assert!(said.contains(&format!("`{key}` is \"~")), "{said}");
                }
                _ => panic!("{text}"),
            }
        }
    }

    #[test]
    fn data_that_cannot_be_used_is_told_with_how_to_use_the_rest() {
        let broken = || {
            let pictures = Vec::new();
            Dataset::new(pictures, [(0, None, vec!["a dog".into()])]).unwrap_err()
        };
        for (on_broken, is_told) in [(OnBroken::Fail, true), (OnBroken::Skip, false)] {
            match unusable(broken(), on_broken) {
                Failure::Work(said) => {
                    assert_eq!(said.contains("on_broken = \"skip\""), is_told, "{said}");
                }
                _ => panic!("no failure of the work"),
            }
        }
    }
}
