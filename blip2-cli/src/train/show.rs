//! What a person sees of a training.

use blip2_core::{CheckpointFolder, memory::machine::peak_resident};
use blip2_io::dataset::{BrokenRecord, Dataset};
use blip2_train::{Named, Outcome, Record, Score, Trained, Watch};
use burn::module::Module;
use indicatif::{ProgressBar, ProgressStyle};

use super::config::Config;
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
    eprintln!(
        "model     {} ({:.1} M parameters)",
        folder.path().display(),
        all as f64 / 1e6
    );
    for (part, tensors, numbers) in &parts {
        eprintln!("trained   {part}: {tensors} tensors, {numbers} numbers");
    }
    eprintln!(
        "          {:.2} % of all",
        100.0 * numbers as f64 / all.max(1) as f64
    );
    eprintln!(
        "data      {} examples about {} pictures, {} left out",
        data.len(),
        data.pictures().len(),
        data.broken().len()
    );
    let recipe = &config.recipe;
    eprintln!(
        "recipe    {steps} steps of {} x {}, rate {:e}, {:?}",
        recipe.accumulate, recipe.batch, recipe.lr, recipe.schedule
    );
    // Each trained number has itself, its gradient and two moments; an average is one more.
    let copies = if recipe.ema.is_some() { 5 } else { 4 };
    let held = 4 * copies * numbers;
    eprintln!(
        "memory    {:.2} GB for what is trained, {:.2} GB in use now, and the activations of a batch",
        held as f64 / 1e9,
        resident().unwrap_or(0) as f64 / 1e9
    );
    Ok(())
}

/// What a step took that was tried.
pub(super) fn tried<M>(outcome: &Outcome<M>) {
    if let Some(record) = outcome.metrics.records.last() {
        eprintln!(
            "a step    {:.2} s, loss {:.4}, gradient {:.2}",
            record.seconds, record.loss, record.grad_norm
        );
    }
    if let Some(bytes) = peak_resident() {
        eprintln!(
            "          {:.2} GB at the most, from loading to its end",
            bytes as f64 / 1e9
        );
    }
}

/// Bytes of this process in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}

/// How a training ended.
pub(super) fn outcome<M>(outcome: &Outcome<M>) {
    let last = outcome.metrics.records.last();
    if let Some(record) = last {
        let early = if outcome.stopped_early {
            ", ended early"
        } else {
            ""
        };
        eprintln!(
            "{} steps, {:.0} s, loss {:.4}{early}",
            record.step + 1,
            record.seconds,
            record.loss
        );
    }
    if let Some(best) = &outcome.best {
        eprintln!("best score {:.4}, after {} steps", best.value, best.step);
    }
}

/// A progress bar.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(steps: usize) -> Result<Self, Failure> {
        let bar = ProgressBar::new(steps as u64);
        let style = "{pos}/{len} {bar:30} {elapsed}, left {eta}, {msg}";
        bar.set_style(ProgressStyle::with_template(style).map_err(Failure::work)?);
        Ok(Self(bar))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Bar {
    fn stepped(&mut self, record: &Record) {
        self.0.set_position(record.step as u64 + 1);
        let Record {
            loss,
            lr,
            grad_norm,
            ..
        } = record;
        self.0.set_message(format!(
            "loss {loss:.4}, rate {lr:.1e}, gradient {grad_norm:.2}"
        ));
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        self.0.suspend(|| eprintln!("left out: {record}"));
    }

    fn scored(&mut self, score: &Score) {
        self.0
            .suspend(|| eprintln!("after {} steps: score {:.4}", score.step, score.value));
    }

    fn resumed(&mut self, step: usize) {
        self.0.suspend(|| eprintln!("going on after {step} steps"));
    }
}
