//! Where examples are, in the file of a training.

use std::path::{Path, PathBuf};

use blip2_io::dataset::{Dataset, DatasetError, OnBroken, Split};
use serde::{Deserialize, Serialize};

/// Where examples are.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DataConfig {
    JsonLines {
        file: PathBuf,
        pictures: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    IconqaTest {
        folder: PathBuf,
        #[serde(default)]
        on_broken: OnBroken,
    },
    VqaV2 {
        questions: PathBuf,
        annotations: Option<PathBuf>,
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
    EasyVqa {
        path: PathBuf,
        split: Split,
        #[serde(default)]
        on_broken: OnBroken,
    },
}

impl DataConfig {
    /// Reads the data set; relative paths are those of `base`.
    pub(crate) fn read(&self, base: &Path) -> Result<Dataset, DatasetError> {
        match self {
            Self::JsonLines {
                file,
                pictures,
                on_broken,
            } => Dataset::json_lines(base.join(file), base.join(pictures), *on_broken),
            Self::IconqaTest { folder, on_broken } => {
                Dataset::iconqa_test(base.join(folder), *on_broken)
            }
            Self::VqaV2 {
                questions,
                annotations,
                pictures,
                on_broken,
            } => {
                let annotations = annotations.as_ref().map(|path| base.join(path));
                let pictures = base.join(pictures);
                Dataset::vqa_v2(
                    base.join(questions),
                    annotations.as_deref(),
                    pictures,
                    *on_broken,
                )
            }
            Self::CocoCaptions {
                file,
                pictures,
                on_broken,
            } => Dataset::coco_captions(base.join(file), base.join(pictures), *on_broken),
            Self::EasyVqa {
                path,
                split,
                on_broken,
            } => Dataset::easy_vqa(base.join(path), *split, *on_broken),
        }
    }

    /// The files and folders that are read; relative paths are those of `base`.
    pub(crate) fn paths(&self, base: &Path) -> Vec<PathBuf> {
        let paths: Vec<&PathBuf> = match self {
            Self::JsonLines { file, pictures, .. } | Self::CocoCaptions { file, pictures, .. } => {
                vec![file, pictures]
            }
            Self::IconqaTest { folder, .. } => vec![folder],
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
            Self::EasyVqa { path, .. } => vec![path],
        };
        paths.into_iter().map(|path| base.join(path)).collect()
    }

    /// What becomes of examples that cannot be used.
    pub(crate) fn on_broken(&self) -> OnBroken {
        match self {
            Self::JsonLines { on_broken, .. }
            | Self::IconqaTest { on_broken, .. }
            | Self::VqaV2 { on_broken, .. }
            | Self::CocoCaptions { on_broken, .. }
            | Self::EasyVqa { on_broken, .. } => *on_broken,
        }
    }
}
