//! What a training was, written beside its states, and what has changed when it goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use blip2_core::Checkpoint;
use blip2_io::dataset::Dataset;
use blip2_train::told_by;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::Config;
use crate::Failure;

/// What a training was: enough to make it again, and to say what changed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Account {
    /// This program's version.
    blip2: String,
    seed: u64,
    /// The base model's weights.
    model: String,
    /// What is trained on.
    data: Data,
    /// The file, with what it leaves out.
    config: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Data {
    examples: usize,
    fingerprint: String,
}

impl Account {
    pub(super) fn of(config: &Config, base: &Checkpoint, data: &Dataset) -> Result<Self, Failure> {
        Ok(Self {
            blip2: env!("CARGO_PKG_VERSION").into(),
            seed: config.recipe.seed,
            model: base.fingerprint(&[""], ""),
            data: Data {
                examples: data.len(),
                fingerprint: data.fingerprint(),
            },
            config: written(config)?,
        })
    }

    /// What an earlier run left in its file or, where that is gone or damaged, in the last of its states.
    pub(super) fn load(path: &Path, states: &Path) -> Option<Self> {
        let own = fs::read(path).ok();
        let own = own.and_then(|text| serde_json::from_slice(&text).ok());
        own.or_else(|| serde_json::from_value(told_by(states)?).ok())
    }

    /// The same, for states to hold.
    pub(super) fn value(&self) -> Result<Value, Failure> {
        serde_json::to_value(self).map_err(Failure::work)
    }

    /// The base model's fingerprint.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(Failure::work)?;
        blip2_train::write_file(path, &text).map_err(Failure::work)
    }

    /// Refuses to go on from states of another base model, and tells what else has changed since
    /// `before`.
    pub(super) fn compare(&self, before: &Self) -> Result<Vec<String>, Failure> {
        if self.model != before.model {
            let text = "the states in `out` were trained over another `model`, whose weights are not \
                        these: give that one, or another `out`";
            return Err(Failure::Work(text.into()));
        }
        let mut told = Vec::new();
        let mut tell = |key: &str, was: &str, is: &str| {
            if was != is {
                told.push(format!("{key} was {was}, and is {is}"));
            }
        };
        tell("blip2's version", &before.blip2, &self.blip2);
        let (was, is) = (&before.data, &self.data);
        let examples = |data: &Data| format!("{} examples ({})", data.examples, data.fingerprint);
        tell("the data", &examples(was), &examples(is));
        let (was, is) = (flat(&before.config), flat(&self.config));
        let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let nothing = String::from("left out");
        for key in keys {
            let value = |of: &BTreeMap<String, String>| of.get(key).unwrap_or(&nothing).clone();
            tell(key, &value(&was), &value(&is));
        }
        Ok(told)
    }
}

/// The file as it is read again: with the digits that are written of its numbers.
fn written(config: &Config) -> Result<Value, Failure> {
    let text = serde_json::to_string(config).map_err(Failure::work)?;
    serde_json::from_str(&text).map_err(Failure::work)
}

/// The values of a file by their dotted keys; what is null is left out.
fn flat(value: &Value) -> BTreeMap<String, String> {
    fn add(into: &mut BTreeMap<String, String>, key: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(table) => {
                for (name, value) in table {
                    let dot = if key.is_empty() { "" } else { "." };
                    add(into, &format!("{key}{dot}{name}"), value);
                }
            }
            other => {
                into.insert(key.to_string(), other.to_string());
            }
        }
    }
    let mut found = BTreeMap::new();
    add(&mut found, "", value);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn account(model: &str, config: Value) -> Account {
        let data = Data {
            examples: 8,
            fingerprint: "a".into(),
        };
        Account {
            blip2: "0.1.0".into(),
            seed: 0,
            model: model.into(),
            data,
            config,
        }
    }

    #[test]
    fn what_changed_is_told_by_its_key() {
        let before = account(
            "m",
            json!({"out": "x", "recipe": {"lr": 1e-4, "ema": null}}),
        );
        let now = account("m", json!({"out": "x", "recipe": {"lr": 1e-2, "ema": 0.9}}));
        let told = now.compare(&before).unwrap();
        assert_eq!(
            told,
            [
                "recipe.ema was left out, and is 0.9",
                "recipe.lr was 0.0001, and is 0.01"
            ]
        );
        assert!(now.compare(&now).unwrap().is_empty());
        assert!(account("other", json!({})).compare(&before).is_err());
    }
}
