//! Some epochs are some epochs, whatever the size of batches was on the way.

use std::{collections::BTreeMap, path::Path};

use blip2_core::CancelToken;
use blip2_io::dataset::{LoadedBatch, Loader};
use blip2_train::{
    AdamW, At, Ended, Outcome, Recipe, Record, Schedule, TrainError, WarmupCosine, Watch, train,
};

use crate::common::tiny::{Tiny, asking, loader, loss, tiny};

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
    goes_on_with(&loader(place, size.batch), place, size, by_epochs, seen)
}

fn goes_on_with(
    loader: &Loader,
    place: &Path,
    size: &Size,
    by_epochs: bool,
    seen: &mut Seen,
) -> (Outcome<Tiny>, Ear) {
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
        let mut batch = batch.clone();
        batch.examples.dedup_by_key(|shown| shown.row);
        loss(model, &batch, at)
    };
    let optimizer = AdamW::default();
    let outcome = train(tiny(), optimizer, loader, &recipe, &mut objective, &mut ear);
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

/// Epochs of pictures and of examples have no place in common.
#[test]
fn an_epoch_of_something_else_goes_on_at_the_same_share() {
    const QUESTIONS: usize = 3;
    // The size of batches, and how many questions about a picture where each is shown once.
    for (name, (batch, questions, stop), (then, asked), steps, notes) in [
        // Half of 24 examples, then half of 8 pictures; 5 steps are left, where all would have been 6.
        ("to pictures", (4, None, 3), (4, Some(2)), 3 + 1 + 2 * 2, 2),
        // A quarter of 8 pictures, then three quarters of 24 examples: as many steps as from the beginning.
        ("to examples", (2, Some(2), 1), (6, None), 1 + 3 + 2 * 4, 1),
        // Pictures keep their order.
        ("more of each", (2, Some(2), 2), (2, Some(3)), 3 * 4, 0),
    ] {
        let place = tempfile::tempdir().unwrap();
        let loader = |batch, questions: Option<usize>| {
            let loader = asking(place.path(), batch, QUESTIONS);
            match questions {
                Some(questions) => loader.by_picture(questions),
                None => loader,
            }
        };
        let mut seen = Seen::new();
        let (before, now) = (size(batch, 1, stop), size(then, 1, END));
        let first = loader(batch, questions);
        goes_on_with(&first, place.path(), &before, true, &mut seen);
        let second = loader(then, asked);
        let (outcome, ear) = goes_on_with(&second, place.path(), &now, true, &mut seen);
        assert_eq!(
            (outcome.ended, outcome.steps),
            (Ended::Complete, steps),
            "{name}"
        );
        assert_eq!(ear.noted, notes, "{name}");
        let of = |epoch| seen.keys().filter(move |own| own.0 == epoch).count();
        let whole = EXAMPLES * asked.unwrap_or(QUESTIONS);
        assert_eq!((of(1), of(2)), (whole, whole), "{name}: {seen:?}");
        if questions.is_some() == asked.is_some() {
            assert_eq!(of(0), 4 * 2 + 4 * 3, "{name}: {seen:?}");
        }
        // Nothing more is told of it later.
        let (again, ear) = goes_on_with(&second, place.path(), &now, true, &mut seen);
        assert_eq!(again.made, 0, "{name}");
        assert!(ear.noted <= 1, "{name}");
    }
}
