//! How fast a training goes, and what it holds.

use std::time::{Duration, Instant};

use blip2_core::memory::machine::peak_resident;
use blip2_train::Record;

/// The time that steps took, without evaluations.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last step, or evaluation, ended.
    last: Option<Instant>,
    spent: Duration,
    steps: usize,
    examples: usize,
}

impl Pace {
    /// A step was made. The first of a process is not counted: it prepares much that others use.
    pub(super) fn stepped(&mut self, record: &Record) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.spent += now - last;
            self.steps += 1;
            self.examples += record.examples;
        }
    }

    /// An evaluation ended, whose time is none of the steps'.
    pub(super) fn scored(&mut self) {
        if self.last.is_some() {
            self.last = Some(Instant::now());
        }
    }

    /// How long this number of steps takes; `None` while nobody knows.
    pub(super) fn left(&self, steps: usize) -> Option<Duration> {
        let each = self.spent.checked_div(u32::try_from(self.steps).ok()?)?;
        Some(each.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX)))
    }

    /// Examples a second and the most memory up to now, each after a comma, as far as they are known.
    pub(super) fn told(&self) -> String {
        let seconds = self.spent.as_secs_f64();
        let mut text = String::new();
        if seconds > 0.0 {
            let rate = self.examples as f64 / seconds;
            text.push_str(&format!(", {rate:.1} examples/s"));
        }
        if let Some(bytes) = peak_resident() {
            text.push_str(&format!(", {:.2} GB", bytes as f64 / 1e9));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_a_pace_and_evaluations_have_no_part_in_it() {
        let mut pace = Pace::default();
        assert!(pace.left(3).is_none());
        let start = Instant::now();
        pace.last = Some(start);
        (pace.spent, pace.steps, pace.examples) = (Duration::from_secs(8), 4, 32);
        assert_eq!(pace.left(3), Some(Duration::from_secs(6)));
        assert!(
            pace.told().starts_with(", 4.0 examples/s"),
            "{}",
            pace.told()
        );
        pace.scored();
        assert!(pace.last > Some(start) && pace.spent == Duration::from_secs(8));
    }
}
