//! The file that `blip2 train` reads.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use blip2_core::Precision;
use blip2_io::dataset::{Augmentation, Dataset, DatasetError, OnBroken, Split};
use blip2_train::{
    AdamW, Exponential, LoraConfig, NamePattern, Recipe, Schedule, Scoring, WarmupCosine,
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};

use crate::Failure;

/// A commented example; every key that may be left out has its default there.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// How a model is trained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) model: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) data: DataConfig,
    pub(crate) validation: Option<ValidationConfig>,
    #[serde(default)]
    pub(crate) train: TrainConfig,
    pub(crate) lora: Option<LoraTable>,
    #[serde(default)]
    pub(crate) recipe: RecipeConfig,
}

/// Where examples are.
#[derive(Debug, Clone, Deserialize)]
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

    /// What becomes of pictures that cannot be decoded.
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidationConfig {
    pub(crate) data: DataConfig,
    pub(crate) score: ScoreName,
    #[serde(default = "usual_tokens")]
    pub(crate) max_new_tokens: usize,
    #[serde(default = "one")]
    pub(crate) beams: usize,
    #[serde(default = "usual_batch")]
    pub(crate) batch: usize,
    pub(crate) first: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrainConfig {
    pub(crate) objective: ObjectiveName,
    pub(crate) parts: Vec<NamePattern>,
    pub(crate) precision: Option<PrecisionName>,
    pub(crate) vision_precision: Option<PrecisionName>,
    pub(crate) lm_precision: Option<PrecisionName>,
    pub(crate) template: Option<String>,
    pub(crate) device: Option<String>,
}

/// What a model is trained for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ObjectiveName {
    /// The language model's answers and captions.
    #[default]
    Answers,
    /// Contrast, matching and generation, of a checkpoint of retrieval.
    FirstStage,
}

/// How a model is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum ScoreName {
    /// Its answers or captions.
    Answers(Scoring),
    /// Pictures and texts that find each other among the first `k`.
    Recall(usize),
}

impl TryFrom<String> for ScoreName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if let Some(k) = name.strip_prefix("recall@") {
            let k = k.parse().ok().filter(|&k: &usize| k > 0);
            let k = k.ok_or_else(|| format!("`{name}` is not `recall@` and a number above 0"))?;
            return Ok(Self::Recall(k));
        }
        let scoring = Scoring::deserialize(name.as_str().into_deserializer());
        scoring
            .map(Self::Answers)
            .map_err(|error: ValueError| format!("{error}, or `recall@1`, `recall@5`, …"))
    }
}

/// A precision by its name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PrecisionName(pub(crate) Precision);

impl TryFrom<String> for PrecisionName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let precision = name.parse::<Precision>();
        precision.map(Self).map_err(|error| error.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoraTable {
    pub(crate) rank: usize,
    pub(crate) alpha: Option<f64>,
    #[serde(default)]
    pub(crate) dropout: f64,
    pub(crate) targets: Vec<NamePattern>,
    pub(crate) start: Option<PathBuf>,
}

impl LoraTable {
    pub(crate) fn config(&self) -> LoraConfig {
        let alpha = self.alpha.unwrap_or(self.rank as f64);
        LoraConfig::new(self.rank, self.targets.iter().cloned())
            .with_alpha(alpha)
            .with_dropout(self.dropout)
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RecipeConfig {
    pub(crate) steps: Option<usize>,
    pub(crate) epochs: f64,
    pub(crate) batch: usize,
    pub(crate) questions_per_picture: Option<usize>,
    pub(crate) accumulate: usize,
    pub(crate) schedule: ScheduleName,
    pub(crate) lr: f64,
    pub(crate) min_lr: f64,
    pub(crate) warmup: usize,
    pub(crate) gamma: f64,
    pub(crate) weight_decay: f32,
    pub(crate) no_decay: Vec<NamePattern>,
    pub(crate) betas: [f32; 2],
    pub(crate) layer_decay: f64,
    pub(crate) rates: BTreeMap<NamePattern, f64>,
    pub(crate) clip: f64,
    pub(crate) ema: Option<f64>,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) label_smoothing: f64,
    pub(crate) evaluate_every: usize,
    pub(crate) patience: Option<usize>,
    pub(crate) save_every: usize,
    pub(crate) seed: u64,
    pub(crate) workers: Option<usize>,
    pub(crate) augmentation: Augmentation,
}

impl Default for RecipeConfig {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: 3.0,
            batch: 16,
            questions_per_picture: None,
            accumulate: 1,
            schedule: ScheduleName::WarmupCosine,
            lr: 1e-4,
            min_lr: 0.0,
            warmup: 100,
            gamma: 0.9,
            weight_decay: 0.05,
            no_decay: Vec::new(),
            betas: [0.9, 0.999],
            layer_decay: 1.0,
            rates: BTreeMap::new(),
            clip: 1.0,
            ema: None,
            gradient_checkpointing: false,
            label_smoothing: 0.0,
            evaluate_every: 0,
            patience: None,
            save_every: 200,
            seed: 0,
            workers: None,
            augmentation: Augmentation::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScheduleName {
    Constant,
    WarmupCosine,
    Exponential,
}

impl RecipeConfig {
    /// How many steps are made where an epoch has `per_epoch`.
    pub(crate) fn steps(&self, per_epoch: usize) -> usize {
        let epochs = (self.epochs * per_epoch as f64).ceil() as usize;
        self.steps.unwrap_or(epochs).max(1)
    }

    /// The recipe, but for where its states are.
    pub(crate) fn recipe(&self, steps: usize, per_epoch: usize) -> Recipe {
        Recipe::new(steps, self.schedule(steps, per_epoch))
            .with_accumulate(self.accumulate)
            .with_clip(Some(self.clip).filter(|clip| *clip != 0.0))
            .with_ema(self.ema)
            .with_gradient_checkpointing(self.gradient_checkpointing)
            .with_evaluate_every(self.evaluate_every)
            .with_patience(self.patience)
            .with_save_every(self.save_every)
            .with_seed(self.seed)
    }

    pub(crate) fn optimizer(&self) -> AdamW {
        let optimizer = AdamW::default()
            .with_betas(self.betas)
            .with_weight_decay(self.weight_decay)
            .with_no_decay(self.no_decay.iter().cloned())
            .with_layer_decay(self.layer_decay);
        let rates = self.rates.iter();
        rates.fold(optimizer, |optimizer, (pattern, factor)| {
            optimizer.with_rate(pattern.clone(), *factor)
        })
    }

    fn schedule(&self, steps: usize, per_epoch: usize) -> Schedule {
        let lr = self.lr;
        match self.schedule {
            ScheduleName::Constant => Schedule::constant(lr),
            ScheduleName::WarmupCosine => WarmupCosine::new(lr, steps)
                .with_min(self.min_lr)
                .with_warmup(self.warmup.min(steps))
                .into(),
            ScheduleName::Exponential => Exponential::new(lr, self.gamma, per_epoch.max(1)).into(),
        }
    }
}

fn usual_tokens() -> usize {
    20
}

fn one() -> usize {
    1
}

fn usual_batch() -> usize {
    16
}

impl Config {
    /// Reads a file; what is unknown in it is refused, with its line.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Work(format!("{}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| Failure::Work(format!("{}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the example says of defaults is so.
    #[test]
    fn the_example_is_read_and_tells_the_defaults() {
        let config: Config = toml::from_str(EXAMPLE).unwrap();
        let usual = RecipeConfig::default();
        let recipe = config.recipe;
        assert_eq!(format!("{recipe:?}"), format!("{usual:?}"));
        assert!(config.lora.is_some() && config.validation.is_some());
    }

    #[test]
    fn unknown_keys_are_refused() {
        for (from, to) in [
            ("[recipe]", "[recipe]\nlearning_rate = 1"),
            ("rank = 16", "rank = 16\nr = 1"),
        ] {
            assert!(EXAMPLE.contains(from));
            let text = EXAMPLE.replacen(from, to, 1);
            let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }
}
