//! Some epochs are some epochs, whatever the size of batches was on the way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{collections::BTreeMap, path::Path};

use blip2_core::CancelToken;
use blip2_io::dataset::LoadedBatch;
use blip2_train::{
    AdamW, At, Ended, Outcome, Recipe, Record, Schedule, TrainError, WarmupCosine, Watch, train,
};
use common::tiny::{Tiny, loader, loss, tiny};

const EPOCHS: usize = 3;
const EXAMPLES: usize = 8;

/// How often each example was seen in each epoch.
type Seen = BTreeMap<(u64, usize), usize>;

/// Cancels after a number of steps, and hears how many there are.
struct Ear {
    stop: usize,
    cancel: CancelToken,
    planned: Option<usize>,
    noted: usize,
}

impl Watch for Ear {
    fn stepped(&mut self, record: &Record) {
        if record.step + 1 == self.stop {
            self.cancel.cancel();
        }
    }

    fn planned(&mut self, steps: usize) {
        self.planned = Some(steps);
    }

    fn noted(&mut self, _: &str) {
        self.noted += 1;
    }
}

struct Size {
    batch: usize,
    accumulate: usize,
    /// After how many steps in all it ends.
    stop: usize,
}

fn schedule(planned: usize) -> Schedule {
    WarmupCosine::new(1e-2, planned).into()
}

/// Trains on, with batches of this size.
fn goes_on(place: &Path, size: &Size, by_epochs: bool, seen: &mut Seen) -> (Outcome<Tiny>, Ear) {
    let loader = loader(place, size.batch);
    let planned = EPOCHS * loader.batches().div_ceil(size.accumulate);
    let cancel = CancelToken::new();
    let recipe = Recipe::new(planned, schedule(planned))
        .with_by_epochs(by_epochs)
        .with_accumulate(size.accumulate)
        .with_states(place.join("states"))
        .with_cancel(cancel.clone());
    let mut ear = Ear {
        stop: size.stop,
        cancel,
        planned: None,
        noted: 0,
    };
    let mut objective = |model: &Tiny, batch: &LoadedBatch, at: At| {
        for shown in &batch.examples {
            *seen.entry((at.epoch, shown.number)).or_default() += 1;
        }
        loss(model, batch, at)
    };
    let optimizer = AdamW::default();
    let outcome = train(
        tiny(),
        optimizer,
        &loader,
        &recipe,
        &mut objective,
        &mut ear,
    );
    (outcome.map_err(TrainError::from).unwrap(), ear)
}

fn size(batch: usize, accumulate: usize, stop: usize) -> Size {
    Size {
        batch,
        accumulate,
        stop,
    }
}

const END: usize = usize::MAX;

#[test]
fn each_example_is_seen_once_in_each_epoch() {
    for (name, sizes, steps) in [
        ("as it is", vec![size(2, 1, END)], 12),
        ("the same again", vec![size(2, 1, 5), size(2, 1, END)], 12),
        // Four of eight are left: 3 and 1, and two epochs of 3, 3 and 2.
        ("larger batches", vec![size(2, 1, 2), size(3, 1, END)], 10),
        ("smaller batches", vec![size(4, 1, 3), size(1, 1, END)], 15),
        // Two are left of the first epoch, and are a step.
        ("accumulated", vec![size(2, 1, 3), size(2, 2, END)], 8),
        ("at an epoch's end", vec![size(2, 1, 4), size(8, 1, END)], 6),
        ("after a part", vec![size(3, 1, 3), size(2, 1, END)], 11),
        (
            "three sizes",
            vec![size(2, 1, 2), size(3, 1, 3), size(1, 1, 5), size(8, 1, END)],
            7,
        ),
        // And once more of a size that it had before.
        (
            "there and back",
            vec![size(2, 1, 2), size(4, 1, 4), size(2, 1, END)],
            10,
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut seen = Seen::new();
        let mut last = None;
        for size in &sizes {
            let (outcome, ear) = goes_on(place.path(), size, true, &mut seen);
            assert_eq!(ear.planned.is_some(), ear.noted > 0, "{name}");
            last = Some(outcome);
        }
        let outcome = last.unwrap();
        assert_eq!(outcome.ended, Ended::Complete, "{name}");
        assert_eq!((outcome.steps, outcome.planned), (steps, steps), "{name}");
        assert_eq!(seen.len(), EPOCHS * EXAMPLES, "{name}: {seen:?}");
        assert!(seen.values().all(|&times| times == 1), "{name}: {seen:?}");
        // The rate falls to where a training of the last size alone would have brought it.
        let size = sizes.last().unwrap();
        let planned = EPOCHS * EXAMPLES.div_ceil(size.batch).div_ceil(size.accumulate);
        let rate = outcome.metrics.records.last().unwrap().lr;
        assert_eq!(rate, schedule(planned).at(planned - 1), "{name}");
        // Nothing is left of it.
        let (again, _) = goes_on(place.path(), size, true, &mut seen);
        assert_eq!((again.made, again.steps), (0, steps), "{name}");
    }
}

/// A number of steps is that number.
#[test]
fn steps_that_are_given_stay_what_they_are() {
    let place = tempfile::tempdir().unwrap();
    let mut seen = Seen::new();
    goes_on(place.path(), &size(2, 1, 2), false, &mut seen);
    let (outcome, ear) = goes_on(place.path(), &size(4, 1, END), false, &mut seen);
    assert_eq!((outcome.steps, outcome.planned), (6, 6));
    assert_eq!((ear.planned, ear.noted), (None, 0));
}
