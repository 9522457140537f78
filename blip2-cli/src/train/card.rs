//! The model card beside what was trained, as the hub and PEFT have it: `README.md`.

use std::{fmt::Write as _, path::Path};

use blip2_core::ModelKind;
use blip2_train::{Metrics, Outcome, Score};

use super::config::Config;
use crate::Failure;

const CARD: &str = "README.md";

/// What a card is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Model,
    Adapter,
}

/// What the cards of a training say.
pub(super) struct Card {
    /// The base as the file names it.
    base: String,
    kind: ModelKind,
    examples: usize,
    /// The file, with what it leaves out.
    config: String,
    /// What questions are put into.
    template: Option<String>,
    results: String,
}

impl Card {
    pub(super) fn new<M>(
        config: &Config,
        kind: ModelKind,
        examples: usize,
        outcome: &Outcome<M>,
    ) -> Result<Self, Failure> {
        let base = config.model()?.display().to_string();
        Ok(Self {
            base,
            kind,
            examples,
            config: toml::to_string(config).map_err(Failure::work)?,
            template: config.train.template.clone(),
            results: results(
                &outcome.metrics,
                outcome.before.as_ref(),
                outcome.best.as_ref(),
                outcome.steps,
            ),
        })
    }

    /// Writes the card into a folder, in the place of the base's own.
    pub(super) fn write(&self, of: Of, folder: &Path) -> Result<(), Failure> {
        let text = self.text(of);
        blip2_train::write_file(&folder.join(CARD), text.as_bytes()).map_err(Failure::work)
    }

    fn text(&self, of: Of) -> String {
        let Self {
            base,
            examples,
            config,
            results,
            ..
        } = self;
        let version = env!("CARGO_PKG_VERSION");
        let (what, relation, library, tags) = match of {
            Of::Adapter => ("Adapters (LoRA) on", "adapter", "peft", "- lora\n"),
            Of::Model => ("A model fine-tuned from", "finetune", "transformers", ""),
        };
        let (command, task) = match self.kind {
            ModelKind::BlipCaption => ("caption photo.jpg", "image-to-text"),
            ModelKind::Blip2Retrieval | ModelKind::BlipRetrieval => (
                "match photo.jpg \"a text\"",
                "zero-shot-image-classification",
            ),
            _ => (
                "answer photo.jpg \"a question\"",
                "visual-question-answering",
            ),
        };
        let command = match of {
            Of::Adapter => format!("blip2 {command} --model BASE --adapter THIS_FOLDER"),
            Of::Model => format!("blip2 {command} --model THIS_FOLDER"),
        };
        let asked = match &self.template {
            Some(template) => format!(
                "Questions are asked as `{template}`, which `blip2.json` in this folder says to \
                 blip2; other programs must be told.\n\n"
            ),
            None => String::new(),
        };
        let quoted = serde_json::Value::from(base.as_str());
        format!(
            "---\nbase_model: {quoted}\nbase_model_relation: {relation}\nlibrary_name: {library}\n\
             pipeline_tag: {task}\ntags:\n{tags}- blip2\n---\n\n\
             # {what} {base}\n\n\
             Trained with blip2 {version} on {examples} examples.\n\n\
             ```sh\n{command}\n```\n\n{asked}\
             ## Results\n\n{results}\n\
             ## Recipe\n\n```toml\n{config}```\n"
        )
    }
}

/// The loss and the scores, as a table.
fn results(
    metrics: &Metrics,
    before: Option<&Score>,
    best: Option<&Score>,
    steps: usize,
) -> String {
    let mut table = String::from("| | after steps | |\n|---|---|---|\n");
    let mut row = |what: &str, step: usize, value: f64| {
        // Writing to a text does not fail.
        let _ = writeln!(table, "| {what} | {step} | {value:.4} |");
    };
    if let Some(first) = metrics.records.first() {
        row("loss", first.step, first.loss);
    }
    if let Some(last) = metrics.records.last() {
        row("loss", last.step.max(steps), last.loss);
    }
    if let Some(before) = before {
        row("score before", before.step, before.value);
    }
    if let Some(best) = best {
        row("score", best.step, best.value);
        if let Some(loss) = best.loss {
            row("loss on the validation data", best.step, loss);
        }
        for (name, value) in &best.others {
            row(name, best.step, *value);
        }
    }
    table
}
