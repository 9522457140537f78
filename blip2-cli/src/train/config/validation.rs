//! What is evaluated, in the file of a training.

use blip2_train::Scoring;
use serde::{
    Deserialize, Serialize, Serializer,
    de::{IntoDeserializer, value::Error as ValueError},
};

use super::{
    data::DataConfig,
    kinds,
    ranges::{at_least_one, within},
};
use crate::Failure;

/// More tokens than any answer has, and than any model's context holds.
const MOST_TOKENS: usize = 1 << 20;

/// As many as decoding takes.
const MOST_BEAMS: usize = 1024;

/// More than any machine answers together.
const MOST_BATCH: usize = 1 << 16;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidationConfig {
    #[serde(serialize_with = "kinds::within")]
    pub(crate) data: DataConfig,
    pub(crate) score: ScoreName,
    #[serde(default)]
    pub(crate) scores: Vec<ScoreName>,
    #[serde(default = "yes")]
    pub(crate) loss: bool,
    #[serde(default = "usual_tokens")]
    pub(crate) max_new_tokens: usize,
    #[serde(default = "one")]
    pub(crate) beams: usize,
    #[serde(default = "usual_batch")]
    pub(crate) batch: usize,
    pub(crate) first: Option<usize>,
    #[serde(default = "yes")]
    pub(crate) before: bool,
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

impl ScoreName {
    /// Whether it is of answers that the model writes.
    pub(crate) fn is_of_written(self) -> bool {
        match self {
            Self::Answers(scoring) => !scoring.chooses(),
            Self::Recall(_) => false,
        }
    }
}

impl TryFrom<String> for ScoreName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if let Some(k) = name.strip_prefix("recall@") {
            let k = k.parse().ok().filter(|&k: &usize| k > 0);
            let k = k.ok_or_else(|| format!("`{name}` is not `recall@` and a number above 0"))?;
            return Ok(Self::Recall(k));
        }
        if let Some(reason) = elsewhere(&name) {
            return Err(format!(
                "`{name}` is not computed here: {reason}; score by others, write the captions with \
                 `blip2 eval --results FILE`, and have `pycocoevalcap` find it of that file"
            ));
        }
        let scoring = Scoring::deserialize(name.as_str().into_deserializer());
        scoring
            .map(Self::Answers)
            .map_err(|error: ValueError| format!("{error}, or `recall@1`, `recall@5`, …"))
    }
}

/// Why a score of captions that papers report is left to its own program.
fn elsewhere(name: &str) -> Option<&'static str> {
    match name.to_ascii_lowercase().as_str() {
        "meteor" => Some("it compares by WordNet's synonyms and by 60 MB of paraphrases"),
        "spice" => Some("it compares graphs of what Stanford's parser finds in captions"),
        _ => None,
    }
}

impl Serialize for ScoreName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Answers(scoring) => scoring.serialize(serializer),
            Self::Recall(k) => serializer.serialize_str(&format!("recall@{k}")),
        }
    }
}

impl ValidationConfig {
    /// The scores that are told beside `score`, each once.
    pub(crate) fn others(&self) -> Vec<ScoreName> {
        let mut others = Vec::new();
        for score in &self.scores {
            if self.score != *score && !others.contains(score) {
                others.push(*score);
            }
        }
        others
    }

    /// Refuses numbers by which nothing could be scored.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.data.check("validation.data")?;
        for (key, value, most) in [
            (
                "[validation] max_new_tokens",
                self.max_new_tokens,
                MOST_TOKENS,
            ),
            ("[validation] beams", self.beams, MOST_BEAMS),
            ("[validation] batch", self.batch, MOST_BATCH),
        ] {
            let range = format!("from 1 to {most}");
            within(key, value, (1..=most).contains(&value), &range)?;
        }
        at_least_one("[validation] first", self.first.unwrap_or(1))
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

fn yes() -> bool {
    true
}
