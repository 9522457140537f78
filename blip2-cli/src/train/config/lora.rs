//! `[lora]`: which layers are adapted, and how.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use blip2_train::{Lora, LoraConfig, NamePattern};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};

use super::ranges::{at_least_one, below, within};
use crate::Failure;

/// An adapter is narrower than its layer.
const MOST_RANK: usize = 65536;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoraTable {
    pub(crate) rank: usize,
    pub(crate) alpha: Option<f64>,
    #[serde(default)]
    pub(crate) dropout: f64,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) targets: Vec<NamePattern>,
    #[serde(default)]
    pub(crate) rslora: bool,
    #[serde(default)]
    pub(crate) dora: bool,
    #[serde(default)]
    pub(crate) layers: Vec<usize>,
    #[serde(default)]
    pub(crate) rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    pub(crate) alpha_pattern: BTreeMap<String, f64>,
    pub(crate) start: Option<PathBuf>,
}

impl LoraTable {
    pub(crate) fn config(&self) -> LoraConfig {
        let alpha = self.alpha.unwrap_or(self.rank as f64);
        LoraConfig::new(self.rank, self.targets.iter().cloned())
            .with_alpha(alpha)
            .with_dropout(self.dropout)
            .with_rslora(self.rslora)
            .with_dora(self.dora)
            .with_layers_to_transform(self.layers.iter().copied())
            .with_rank_pattern(self.rank_pattern.clone())
            .with_alpha_pattern(self.alpha_pattern.clone())
    }

    /// Refuses numbers that make no sense.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let ranks = self.rank_pattern.iter();
        let ranks = ranks.map(|(layer, rank)| (format!("[lora] rank_pattern, {layer}"), *rank));
        for (key, rank) in ranks {
            within(
                &key,
                rank,
                (1..=MOST_RANK).contains(&rank),
                &format!("from 1 to {MOST_RANK}"),
            )?;
        }
        let alphas = self.alpha_pattern.iter();
        let alphas =
            alphas.map(|(layer, alpha)| (format!("[lora] alpha_pattern, {layer}"), *alpha));
        let own = self.alpha.map(|alpha| ("[lora] alpha".to_string(), alpha));
        for (key, alpha) in own.into_iter().chain(alphas) {
            let right = alpha > 0.0 && alpha.is_finite();
            within(&key, alpha, right, "above 0, and finite")?;
        }
        at_least_one("[lora] rank", self.rank)?;
        below("[lora] dropout", self.dropout, 1.0)
    }

    /// Refuses to go on from adapters of another kind than the file says: they are trained as they are.
    pub(crate) fn check_start(&self, started: &Lora) -> Result<(), Failure> {
        let start = started.config();
        let alpha = self.alpha.unwrap_or(start.lora_alpha);
        for (key, said, has) in [
            ("rank", self.rank as f64, start.r as f64),
            ("alpha", alpha, start.lora_alpha),
            ("dropout", self.dropout, start.lora_dropout),
        ] {
            if said != has {
                return Err(contradicted(key, &said.to_string(), &has.to_string()));
            }
        }
        for (key, said, has) in [
            ("rslora", self.rslora, start.use_rslora),
            ("dora", self.dora, start.use_dora),
        ] {
            if said != has {
                return Err(contradicted(key, &said.to_string(), &has.to_string()));
            }
        }
        let has: BTreeMap<String, usize> = start.rank_pattern.iter().cloned().collect();
        if self.rank_pattern != has {
            let (said, has) = (shown(&self.rank_pattern), shown(&has));
            return Err(contradicted("rank_pattern", &said, &has));
        }
        let has: BTreeMap<String, f64> = start.alpha_pattern.iter().cloned().collect();
        if self.alpha_pattern != has {
            let (said, has) = (shown(&self.alpha_pattern), shown(&has));
            return Err(contradicted("alpha_pattern", &said, &has));
        }
        // What is saved may name layer by layer, or by an expression, what the file names by the part that they are
        // in: what counts is which layers have adapters.
        let said = self.config();
        let has = |target: &NamePattern| {
            let said = LoraConfig::new(self.rank, [target.clone()]);
            let said = said.with_layers_to_transform(self.layers.iter().copied());
            started.saved_layers().any(|layer| said.targets(layer))
        };
        let all = started.saved_layers().all(|layer| said.targets(layer));
        match all && self.targets.iter().all(has) {
            true => Ok(()),
            false => Err(contradicted(
                "targets",
                &listed(&self.targets),
                &listed(&start.target_modules),
            )),
        }
    }
}

/// Targets as a list, or one alone.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NamePattern>, D::Error> {
    struct Targets;

    impl<'de> Visitor<'de> for Targets {
        type Value = Vec<NamePattern>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of layers, such as [\"query\", \"key\"], \"all-linear\" or a regular expression")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![NamePattern::from(text)])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut targets = Vec::new();
            while let Some(target) = list.next_element::<String>()? {
                targets.push(NamePattern::from(target));
            }
            Ok(targets)
        }
    }

    deserializer.deserialize_any(Targets)
}

fn contradicted(key: &str, said: &str, has: &str) -> Failure {
    Failure::Work(format!(
        "[lora] {key} = {said}, but the adapters in `start` have {has}, and are trained as they are: \
         say the same, or leave `start` out"
    ))
}

/// A table of one line.
fn shown<T: fmt::Display>(table: &BTreeMap<String, T>) -> String {
    let pairs: Vec<String> = table
        .iter()
        .map(|(key, value)| format!("{key:?} = {value}"))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn listed(targets: &[NamePattern]) -> String {
    let names: Vec<&str> = targets.iter().map(NamePattern::as_str).collect();
    format!("{names:?}")
}
