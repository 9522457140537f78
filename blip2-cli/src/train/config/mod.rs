//! The file that `blip2 train` and `blip2 eval` read.

mod data;
mod idle;
mod keys;
mod kinds;
mod lora;
mod misread;
mod ranges;
mod recipe;
mod shards;
mod validation;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use blip2_core::Precision;
use blip2_train::NamePattern;
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::{Failure, words};

pub(crate) use data::{DataConfig, unusable};
pub(crate) use lora::LoraTable;
pub(crate) use recipe::RecipeConfig;
pub(crate) use validation::{ScoreName, ValidationConfig};

/// A commented example; every key that may be left out has its default there.
pub(crate) const EXAMPLE: &str = include_str!("../example.toml");

/// How a model is trained and evaluated.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Evaluation may be told of it beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<PathBuf>,
    /// Evaluation writes nothing.
    pub(crate) out: Option<PathBuf>,
    /// Whether curves for TensorBoard are written.
    #[serde(default = "yes")]
    pub(crate) tensorboard: bool,
    /// Evaluation has data of its own.
    #[serde(serialize_with = "kinds::within_if_any")]
    pub(crate) data: Option<DataConfig>,
    pub(crate) validation: Option<ValidationConfig>,
    #[serde(default)]
    pub(crate) train: TrainConfig,
    pub(crate) lora: Option<LoraTable>,
    #[serde(default)]
    pub(crate) recipe: RecipeConfig,
    /// The keys that the file has.
    #[serde(skip)]
    written: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
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

impl TrainConfig {
    /// What is not trained is held in, where that is not `f32`.
    pub(crate) fn unusual_precision(&self) -> Option<String> {
        let both = self.precision.map_or(Precision::F32, |name| name.0);
        let part = |own: Option<PrecisionName>| own.map_or(both, |name| name.0);
        let parts = [part(self.vision_precision), part(self.lm_precision)];
        let is_usual = both == Precision::F32 && parts == [Precision::F32; 2];
        (!is_usual).then(|| format!("{both} ({}, {})", parts[0], parts[1]))
    }
}

fn yes() -> bool {
    true
}

/// What a model is trained for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ObjectiveName {
    /// The language model's answers and captions.
    #[default]
    Answers,
    /// Contrast, matching and generation, of a checkpoint of retrieval.
    FirstStage,
}

/// A precision by its name.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PrecisionName(pub(crate) Precision);

impl TryFrom<String> for PrecisionName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let precision = name.parse::<Precision>();
        precision.map(Self).map_err(|error| error.to_string())
    }
}

impl From<PrecisionName> for String {
    fn from(name: PrecisionName) -> Self {
        name.0.to_string()
    }
}

impl Config {
    /// Reads a file; what is unknown in it is refused, with its line, and numbers that make no sense
    /// are refused by their keys.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |text: String| Failure::Work(format!("{}: {text}", path.display()));
        let text = std::fs::read(path).map_err(|error| failed(words::of_system(&error)))?;
        let text = decoded(text).map_err(failed)?;
        let config = Self::parse(&text).map_err(failed)?;
        match config.check() {
            Err(Failure::Work(text)) => Err(failed(text)),
            checked => checked.map(|()| config),
        }
    }

    /// What a file's text says; what is unknown in it is told with its line.
    fn parse(text: &str) -> Result<Self, String> {
        let config = parsed(text).map_err(|fault| misread::told(text, &fault))?;
        let written = keys::written(text);
        Ok(Self { written, ..config })
    }

    fn check(&self) -> Result<(), Failure> {
        self.recipe.check()?;
        if let Some(lora) = &self.lora {
            lora.check()?;
        }
        if let Some(data) = &self.data {
            data.check("data")?;
        }
        if let Some(validation) = &self.validation {
            validation.check()?;
        } else if self.recipe.patience.is_some() {
            let text = "[recipe] patience waits for a score: give a [validation], or leave it out";
            return Err(Failure::Work(text.into()));
        }
        Ok(())
    }

    /// The model that the file names.
    pub(crate) fn model(&self) -> Result<&Path, Failure> {
        let lacks =
            "the file has no `model`, a line above its first table: the folder of a checkpoint";
        let model = self.model.as_deref();
        let model = model.ok_or_else(|| Failure::Work(lacks.into()))?;
        match model.starts_with("~") {
            false => Ok(model),
            true => {
                let text =
                    "`model` begins with `~`, which only a shell knows: write that folder out";
                Err(Failure::Work(text.into()))
            }
        }
    }

    /// What a training must have, and an evaluation need not.
    pub(crate) fn trained_on(&self) -> Result<(&Path, &DataConfig), Failure> {
        let lacks = |text: &str| Failure::Work(text.to_string());
        let out = self.out.as_deref().ok_or_else(|| {
            lacks("the file has no `out`, which says where the trained model is written")
        })?;
        if out.as_os_str().is_empty() {
            return Err(lacks(
                "`out` is empty, and says where the trained model is written: name a folder",
            ));
        }
        if out.starts_with("~") {
            // A folder of that name is never meant.
            return Err(lacks(
                "`out` begins with `~`, which only a shell knows: write that folder out",
            ));
        }
        let data = self
            .data
            .as_ref()
            .ok_or_else(|| lacks("the file has no [data], which says what is trained on"))?;
        Ok((out, data))
    }
}

/// What a file's text says, but for which keys it has.
fn parsed(text: &str) -> Result<Config, misread::Fault> {
    let mut root = DeTable::parse(text)?;
    kinds::around(root.get_mut())?;
    Ok(Config::deserialize(toml::Deserializer::from(root))?)
}

/// The text of a file, which TOML wants in UTF-8.
fn decoded(bytes: Vec<u8>) -> Result<String, String> {
    if blip2_io::is_utf16(&bytes) {
        return Err("it is UTF-16; save it as UTF-8".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        format!("line {line}: a character is not in UTF-8; save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_encoding_is_told_which_is_due() {
        let said = |bytes: &[u8]| decoded(bytes.to_vec()).unwrap_err();
        assert!(said(b"\xff\xfem\0").contains("it is UTF-16; save it as UTF-8"));
        assert!(said(b"\xfe\xff\0m").contains("it is UTF-16; save it as UTF-8"));
        let latin = said(b"model = \"m\"\nout = \"f\xfcr\"\n");
        assert!(
            latin.contains("line 2: a character is not in UTF-8; save"),
            "{latin}"
        );
        assert_eq!(decoded("für".into()).unwrap(), "für");
    }

    /// What the example says of defaults is so.
    #[test]
    fn the_example_is_read_and_tells_the_defaults() {
        let config = parsed(EXAMPLE).unwrap();
        config.check().unwrap();
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
            let error = parsed(&text).unwrap_err();
            assert!(error.message.contains("unknown field"), "{error:?}");
        }
    }

    /// Numbers that make no sense are refused by their keys when the file is read.
    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for (from, to, key) in [
            ("# steps = 1000", "steps = 0", "steps"),
            ("epochs = 3.0", "epochs = -1", "epochs"),
            ("epochs = 3.0", "epochs = nan", "epochs"),
            ("epochs = 3.0", "epochs = inf", "epochs"),
            ("batch = 16  ", "batch = 0", "batch"),
            (
                "# questions_per_picture = 4",
                "questions_per_picture = 0",
                "questions_per_picture",
            ),
            ("# workers = 2", "workers = 1000000000", "workers"),
            (
                "# shuffle_buffer = 1000",
                "shuffle_buffer = 0",
                "shuffle_buffer",
            ),
            ("lr = 1e-4", "lr = -1.0", "lr"),
            ("lr = 1e-4", "lr = nan", "lr"),
            ("min_lr = 0.0", "min_lr = 1", "min_lr"),
            ("min_lr = 0.0", "min_lr = -1.0", "min_lr"),
            ("warmup = 0.03", "warmup = 1.5", "warmup"),
            ("gamma = 0.9", "gamma = nan", "gamma"),
            (
                "label_smoothing = 0.0",
                "label_smoothing = 1.0",
                "label_smoothing",
            ),
            (
                "label_smoothing = 0.0",
                "label_smoothing = -0.5",
                "label_smoothing",
            ),
            (
                "max_new_tokens = 20",
                "max_new_tokens = 0",
                "max_new_tokens",
            ),
            ("beams = 1", "beams = 0", "beams"),
            ("beams = 1", "beams = 1000000", "beams"),
            (
                "max_new_tokens = 20",
                "max_new_tokens = 99999999",
                "max_new_tokens",
            ),
            ("accumulate = 1", "accumulate = 0", "accumulate"),
            ("betas = [0.9, 0.999]", "betas = [0.9, 1.0]", "betas"),
            ("betas = [0.9, 0.999]", "betas = [-0.1, 0.9]", "betas"),
            ("betas = [0.9, 0.999]", "betas = [nan, 0.9]", "betas"),
            ("clip = 1.0", "clip = -1.0", "clip"),
            ("clip = 1.0", "clip = nan", "clip"),
            ("weight_decay = 0.05", "weight_decay = inf", "weight_decay"),
            ("layer_decay = 1.0", "layer_decay = 1.5", "layer_decay"),
            ("# first = 1000", "first = 0", "first"),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            let config = parsed(&EXAMPLE.replacen(from, to, 1)).unwrap();
            let Err(Failure::Work(text)) = config.check() else {
                panic!("accepted: {to}");
            };
            assert!(text.contains(&format!("] {key} = ")), "{text}");
        }
    }

    /// What is written of a file into cards and accounts is read again.
    #[test]
    fn what_is_written_of_a_file_is_a_file() {
        let data =
            "kind = \"csv\"\nfile = \"a.csv\"\npictures = \"p\"\ncolumns = { question = \"q\" }\n";
        let text =
            format!("[data]\n{data}[validation]\nscore = \"vqa\"\n[validation.data]\n{data}");
        let config = parsed(&text).unwrap();
        let written = toml::to_string(&config).unwrap();
        assert_eq!(written.matches("kind = \"csv\"").count(), 2, "{written}");
        let again = parsed(&written).unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
        let value = serde_json::to_value(&config).unwrap();
        assert_eq!(value["data"]["kind"], "csv");
        assert_eq!(value["validation"]["data"]["columns"]["question"], "q");
    }

    /// The table of the examples that are at fault is named.
    #[test]
    fn delimiters_are_refused_by_their_table() {
        let data = "kind = \"csv\"\nfile = \"a\"\npictures = \"p\"\ndelimiter = '\"'\n";
        for (text, part) in [
            (format!("[data]\n{data}"), "[data] delimiter"),
            (
                format!("[validation]\nscore = \"vqa\"\n[validation.data]\n{data}"),
                "[validation.data] delimiter",
            ),
        ] {
            let Err(Failure::Work(said)) = parsed(&text).unwrap().check() else {
                panic!("accepted: {text}");
            };
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn out_is_a_folder_that_can_be_meant() {
        for (out, part) in [("\"\"", "empty"), ("\"~/runs\"", "`~`")] {
            let config = parsed(&format!("out = {out}\n")).unwrap();
            let Err(Failure::Work(text)) = config.trained_on() else {
                panic!("accepted: {out}");
            };
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn warm_up_is_a_number_of_steps_or_a_part_of_them() {
        let read = |text: &str| toml::from_str::<RecipeConfig>(text).unwrap();
        let rate = |text: &str, step| read(text).recipe(100, 10).schedule.at(step);
        assert_eq!(rate("lr = 1.0\nwarmup = 50", 25), 0.5);
        assert_eq!(rate("lr = 1.0\nwarmup = 0.5", 25), 0.5);
        assert_eq!(rate("lr = 1.0", 3), 1.0);
        assert!(read("lr = 1.0").recipe(1, 1).validate().is_ok());
    }
}
