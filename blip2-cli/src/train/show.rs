//! What a person sees of a training.

use std::{collections::BTreeSet, path::Path};

use blip2_core::{
    CheckpointFolder,
    memory::machine::{peak_resident, resident},
};
use blip2_io::dataset::{BrokenRecord, Dataset};
use blip2_train::{Ended, Named, Outcome, Record, Score, Trained, Watch};
use burn::module::Module;
use indicatif::{ProgressBar, ProgressStyle};

use super::{config::Config, pace::Pace};
use crate::Failure;

/// What will be trained, on what, and what it takes.
pub(super) fn plan<M: Module>(
    config: &Config,
    folder: &CheckpointFolder,
    trained: &Trained<M>,
    data: &Dataset,
    steps: usize,
) -> Result<(), Failure> {
    let count = |named: &Named| named.shape.iter().product::<usize>();
    let mut parts: Vec<(String, usize, usize)> = Vec::new();
    for named in trained.parameters() {
        let part = named.name.split('.').next().unwrap_or_default();
        let part = if named.is_lora() {
            format!("{part} (adapters)")
        } else {
            part.to_string()
        };
        match parts.iter_mut().find(|(name, _, _)| *name == part) {
            Some((_, tensors, numbers)) => {
                *tensors += 1;
                *numbers += count(named);
            }
            None => parts.push((part, 1, count(named))),
        }
    }
    let numbers: usize = parts.iter().map(|(_, _, numbers)| numbers).sum();
    let checkpoint = folder.checkpoint().map_err(Failure::work)?;
    let all: usize = checkpoint
        .names()
        .filter_map(|name| checkpoint.shape(name))
        .map(|shape| shape.iter().product::<usize>())
        .sum();
    note!(
        "model     {} ({:.1} M parameters)",
        folder.path().display(),
        all as f64 / 1e6
    );
    for (part, tensors, numbers) in &parts {
        note!("trained   {part}: {tensors} tensors, {numbers} numbers");
    }
    note!(
        "          {:.2} % of all",
        100.0 * numbers as f64 / all.max(1) as f64
    );
    let examples = data.examples().iter();
    let seen: BTreeSet<usize> = examples.clone().map(|own| own.picture).collect();
    // As they were read; of those that were left out since nothing is trained.
    let with_choices = examples.filter(|own| !own.choices.is_empty()).count();
    let choices = data.choices().min(with_choices);
    note!(
        "data      {} examples about {} pictures, {} left out",
        data.len(),
        seen.len(),
        data.broken().len()
    );
    if choices > 0 {
        note!(
            "          {choices} ask for one of given choices, and are trained on the right choice's words"
        );
    }
    let recipe = &config.recipe;
    note!(
        "recipe    {steps} steps of {} x {}, rate {:e}, {:?}",
        recipe.accumulate,
        recipe.batch,
        recipe.lr,
        recipe.schedule
    );
    // Each trained number has itself, its gradient and two moments; an average is one more.
    let copies = if recipe.ema.is_some() { 5 } else { 4 };
    let held = 4 * copies * numbers;
    note!(
        "memory    {:.2} GB for what is trained, {:.2} GB in use now, and the activations of a batch",
        held as f64 / 1e9,
        resident().unwrap_or(0) as f64 / 1e9
    );
    Ok(())
}

/// How many processes train together, if there is more than one.
pub(super) fn processes(size: usize, threads: usize) {
    if size > 1 {
        note!("processes {size}, this one with {threads} threads");
    }
}

/// What a step took that was tried.
pub(super) fn tried<M>(outcome: &Outcome<M>) {
    if outcome.steps > outcome.planned {
        fewer(outcome);
    } else if outcome.made == 0 {
        note!(
            "a step    none is left to make: {} of {} were made",
            outcome.steps,
            outcome.planned
        );
    } else if let Some(record) = outcome.metrics.records.last() {
        note!(
            "a step    {:.2} s, loss {:.4}, gradient {:.2}",
            record.seconds,
            record.loss,
            record.grad_norm
        );
    }
    if let Some(bytes) = peak_resident() {
        note!(
            "          {:.2} GB at the most, from loading to its end",
            bytes as f64 / 1e9
        );
    }
}

/// That more steps were made than the file asks for.
fn fewer<M>(outcome: &Outcome<M>) {
    note!(
        "note      {} steps are asked for, and {} were made before: none is made, and none taken back",
        outcome.planned,
        outcome.steps
    );
}

/// How a training ended.
pub(super) fn outcome<M>(outcome: &Outcome<M>) {
    if outcome.steps > outcome.planned {
        fewer(outcome);
    }
    if let Some(record) = outcome.metrics.records.last() {
        let how = match outcome.ended {
            Ended::Early => ", ended early: the score no longer rose",
            _ => "",
        };
        note!(
            "{} steps, {:.0} s, loss {:.4}{how}",
            record.step + 1,
            record.seconds,
            record.loss
        );
    }
    let Some(best) = &outcome.best else {
        return;
    };
    let before = match &outcome.before {
        Some(before) => format!(", {:.4} before the first", before.value),
        None => String::new(),
    };
    note!(
        "best score {:.4}, after {} steps{before}",
        best.value,
        best.step
    );
    if outcome
        .before
        .as_ref()
        .is_some_and(|before| before.value > best.value)
    {
        note!(
            "warning: training made the score worse; a lower rate, fewer steps or more data may help"
        );
    }
}

/// A score, with all that was found beside it.
pub(super) fn scored(score: &Score) -> String {
    let mut text = match score.step {
        0 => format!("before the first step: score {:.4}", score.value),
        step => format!("after {step} steps: score {:.4}", score.value),
    };
    if let Some(loss) = score.loss {
        text.push_str(&format!(", validation loss {loss:.4}"));
    }
    for (name, value) in &score.others {
        text.push_str(&format!(", {name} {value:.4}"));
    }
    text
}

/// A state that is not gone on from.
pub(super) fn passed_over(path: &Path, reason: &str) -> String {
    format!("passed over {}: {reason}", path.display())
}

/// A progress bar.
pub(super) struct Bar {
    bar: ProgressBar,
    pace: Pace,
}

impl Bar {
    pub(super) fn new(steps: usize) -> Self {
        let style =
            ProgressStyle::with_template("{pos}/{len} {bar:30} {elapsed}, left {eta}, {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            bar: ProgressBar::new(steps as u64).with_style(style),
            pace: Pace::default(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Bar {
    fn stepped(&mut self, record: &Record) {
        self.pace.stepped(record);
        self.bar.set_position(record.step as u64 + 1);
        let Record {
            loss,
            lr,
            grad_norm,
            ..
        } = record;
        self.bar.set_message(format!(
            "loss {loss:.4}, rate {lr:.1e}, gradient {grad_norm:.2}{}",
            self.pace.told()
        ));
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        self.bar.suspend(|| note!("left out: {record}"));
    }

    fn scoring(&mut self, _: usize) {
        self.bar.set_message("scoring");
    }

    fn scored(&mut self, score: &Score) {
        self.pace.scored();
        self.bar.suspend(|| note!("{}", scored(score)));
    }

    fn resumed(&mut self, step: usize) {
        self.bar.suspend(|| note!("going on after {step} steps"));
        // What it goes on from took none of this process's time.
        self.bar.set_position(step as u64);
        self.bar.reset_eta();
    }

    fn planned(&mut self, steps: usize) {
        self.bar.set_length(steps as u64);
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        self.bar.suspend(|| note!("{}", passed_over(path, reason)));
    }

    fn noted(&mut self, text: &str) {
        self.bar.suspend(|| note!("{text}"));
    }
}
