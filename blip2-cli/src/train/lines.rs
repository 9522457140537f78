//! A training as lines of a log, where there is no terminal to draw in.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use blip2_io::dataset::BrokenRecord;
use blip2_train::{Record, Score, Watch};

use super::{pace::Pace, show};

/// Tells of a step every so often.
pub(super) struct Lines {
    steps: usize,
    pace: Pace,
    last: Option<(usize, Instant)>,
}

/// A log is told the twentieth parts of a training.
const PARTS: usize = 20;

/// A log of a long training is told something at least so often.
const AT_LEAST: Duration = Duration::from_secs(60);

impl Lines {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            steps,
            pace: Pace::default(),
            last: None,
        }
    }

    fn is_due(&self, step: usize) -> bool {
        let Some((last, at)) = self.last else {
            return true;
        };
        let part = (self.steps / PARTS).max(1);
        step + 1 >= self.steps || step >= last + part || at.elapsed() >= AT_LEAST
    }

    /// How long the rest takes.
    fn left(&self, step: usize) -> String {
        let left = self.pace.left(self.steps.saturating_sub(step + 1));
        left.map_or(String::new(), |left| {
            format!(", left {}", clock(left.as_secs_f64()))
        })
    }
}

/// Hours, minutes and seconds.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

impl Watch for Lines {
    fn stepped(&mut self, record: &Record) {
        let now = Instant::now();
        self.pace.stepped(record);
        if !self.is_due(record.step) {
            return;
        }
        self.last = Some((record.step, now));
        let Record { step, loss, lr, .. } = record;
        note!(
            "step {} of {}: loss {loss:.4}, rate {lr:.2e}{}{}",
            step + 1,
            self.steps,
            self.pace.told(),
            self.left(*step)
        );
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        note!("left out: {record}");
    }

    fn scored(&mut self, score: &Score) {
        self.pace.scored();
        note!("{}", show::scored(score));
    }

    fn resumed(&mut self, step: usize) {
        note!("going on after {step} steps");
    }

    fn planned(&mut self, steps: usize) {
        self.steps = steps;
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        note!("{}", show::passed_over(path, reason));
    }

    fn noted(&mut self, text: &str) {
        note!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_the_last_and_some_steps_between_are_told() {
        let mut lines = Lines::new(100);
        let told: Vec<usize> = (0..100)
            .filter(|&step| {
                let due = lines.is_due(step);
                if due {
                    lines.last = Some((step, Instant::now()));
                }
                due
            })
            .collect();
        assert_eq!(told[..3], [0, 5, 10]);
        assert_eq!(told.last(), Some(&99));
    }
}
