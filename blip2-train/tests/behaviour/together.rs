//! Several processes train as one does: the same steps, the same ends, whatever ends them.

use std::fs;

use blip2_core::CancelToken;
use blip2_io::dataset::{BrokenRecord, LoadedBatch, Loader, OnBroken};
use blip2_train::{
    AdamW, At, Ended, FolderLock, Group, Losses, Objective, Outcome, Recipe, Record, Scores,
    TrainError, Unfinished, Watch, train, train_together,
};

use crate::common::{
    threads::{Member, as_each},
    tiny::{Tiny, constant, furthest, loader, loss, tiny, weights},
};

fn alone(loader: &Loader, recipe: &Recipe) -> Outcome<Tiny> {
    train(tiny(), AdamW::default(), loader, recipe, &mut loss, &mut ()).unwrap()
}

fn as_one(
    member: &Member,
    loader: &Loader,
    recipe: &Recipe,
) -> Result<Outcome<Tiny>, Unfinished<Tiny>> {
    let optimizer = AdamW::default();
    train_together(
        member,
        tiny(),
        optimizer,
        loader,
        recipe,
        &mut loss,
        &mut (),
    )
}

fn assert_same(one: &Outcome<Tiny>, other: &Outcome<Tiny>) {
    assert_eq!(one.metrics.records.len(), other.metrics.records.len());
    for (a, b) in one.metrics.records.iter().zip(&other.metrics.records) {
        assert_eq!((a.step, a.epoch, a.examples), (b.step, b.epoch, b.examples));
        assert!((a.loss - b.loss).abs() < 1e-5, "{a:?} {b:?}");
        assert!((a.parts["square"] - b.parts["square"]).abs() < 1e-5);
        assert!((a.grad_norm - b.grad_norm).abs() < 1e-4, "{a:?} {b:?}");
    }
    assert!(furthest(&weights(&one.trained), &weights(&other.trained)) < 1e-5);
}

/// Batches that do not divide evenly, and a last one with fewer pictures than there are processes.
#[test]
fn any_number_of_processes_makes_the_steps_of_one() {
    let folder = tempfile::tempdir().unwrap();
    for (batch, accumulate, ema) in [(4, 1, None), (3, 1, Some(0.5)), (3, 2, None), (7, 1, None)] {
        let loader = loader(folder.path(), batch);
        let recipe = constant(9)
            .with_accumulate(accumulate)
            .with_ema(ema)
            .with_held_out(loader.clone());
        let one = alone(&loader, &recipe);
        for size in [2, 3] {
            for outcome in as_each(size, |member| as_one(member, &loader, &recipe).unwrap()) {
                assert_same(&one, &outcome);
            }
        }
    }
}

/// What is left out, and from where it goes on.
#[derive(Default)]
struct Told(Vec<String>, Vec<usize>);

impl Watch for Told {
    fn left_out(&mut self, record: &BrokenRecord) {
        self.0.push(record.place.clone());
    }

    fn resumed(&mut self, step: usize) {
        self.1.push(step);
    }
}

/// Pictures that cannot be decoded, one of which is all that a process has of a batch.
#[test]
fn pictures_that_are_left_out_are_left_out_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 3).on_broken(OnBroken::Skip);
    for broken in [1, 6] {
        fs::write(folder.path().join(format!("{broken}.png")), "no picture").unwrap();
    }
    let recipe = constant(8);
    let optimizer = AdamW::default;
    let mut told = Told::default();
    let one = train(tiny(), optimizer(), &loader, &recipe, &mut loss, &mut told).unwrap();
    let found = as_each(3, |member| {
        let mut told = Told::default();
        let outcome = train_together(
            member,
            tiny(),
            optimizer(),
            &loader,
            &recipe,
            &mut loss,
            &mut told,
        );
        (outcome.unwrap(), told.0)
    });
    for (outcome, left_out) in found {
        assert_same(&one, &outcome);
        assert_eq!(left_out, told.0);
    }
    assert_eq!(told.0.len(), 2);
}

/// Losses that are none, or an error, from a step on in one process alone; and its own scores.
struct Faulty {
    rank: usize,
    at: usize,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Nan,
    Refused,
    Score,
    Rising,
}

impl Objective<Tiny> for Faulty {
    fn losses(&mut self, model: &Tiny, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        let losses = loss(model, batch, at)?;
        if self.rank != 1 || at.step < self.at {
            return Ok(losses);
        }
        match self.fault {
            Fault::Nan => Ok((losses.total * f32::NAN).into()),
            Fault::Refused => Err(TrainError::Batch {
                reason: "no".into(),
            }),
            _ => Ok(losses),
        }
    }

    /// What the others find is not what counts.
    fn score(&mut self, _: &Tiny, _: &CancelToken) -> Result<Option<Scores>, TrainError> {
        match self.fault {
            Fault::Score if self.rank == 1 => Err(TrainError::Batch {
                reason: "no".into(),
            }),
            _ => Ok(Some((1.0 - self.rank as f64).into())),
        }
    }
}

fn with_fault(
    member: &Member,
    fault: Fault,
    loader: &Loader,
    recipe: &Recipe,
) -> Result<Outcome<Tiny>, Unfinished<Tiny>> {
    let mut objective = Faulty {
        rank: member.rank(),
        at: 3,
        fault,
    };
    let optimizer = AdamW::default();
    train_together(
        member,
        tiny(),
        optimizer,
        loader,
        recipe,
        &mut objective,
        &mut (),
    )
}

#[test]
fn all_end_where_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    for (name, fault) in [
        ("nan", Fault::Nan),
        ("refused", Fault::Refused),
        ("score", Fault::Score),
    ] {
        let states = folder.path().join(name);
        let recipe = constant(8)
            .with_states(&states)
            .with_save_every(2)
            .with_baseline(false)
            .with_evaluate_every(4);
        let found = as_each(2, |member| {
            with_fault(member, fault, &loader, &recipe).unwrap_err()
        });
        for (rank, unfinished) in found.iter().enumerate() {
            match (fault, &unfinished.error) {
                (Fault::Nan, TrainError::NotFinite { step: 3, .. }) => {}
                (Fault::Refused, TrainError::Batch { .. }) if rank == 1 => {}
                (Fault::Refused, TrainError::Elsewhere { rank: 1, .. }) if rank == 0 => {}
                (Fault::Score, TrainError::Score { step: 4, .. }) if rank == 1 => {}
                (Fault::Score, TrainError::Elsewhere { rank: 1, .. }) if rank == 0 => {}
                (_, error) => panic!("{name}, process {rank}: {error:?}"),
            }
        }
        // Of numbers that are none the state before is kept; else all steps that were made.
        let kept = match fault {
            Fault::Nan => 2,
            Fault::Refused => 3,
            _ => 4,
        };
        let outcome = found[0].outcome.as_ref().unwrap();
        assert_eq!(outcome.ended, Ended::Failed);
        let state = outcome.state.as_ref().unwrap();
        assert!(state.ends_with(format!("step-{kept:09}")), "{state:?}");
        // Process 0 has let the folder go.
        drop(FolderLock::take(&states).unwrap());
        let more = as_each(3, |member| {
            let mut told = Told::default();
            let optimizer = AdamW::default();
            let run = train_together(
                member,
                tiny(),
                optimizer,
                &loader,
                &recipe,
                &mut loss,
                &mut told,
            );
            (run.unwrap().steps, told.1)
        });
        assert_eq!(more[0], (8, vec![kept]));
        assert_eq!(more[2], (8, vec![]));
    }
}

/// Cancels one process after a step.
struct CancelAt(usize, CancelToken);

impl Watch for CancelAt {
    fn stepped(&mut self, record: &Record) {
        if record.step == self.0 {
            self.1.cancel();
        }
    }
}

#[test]
fn all_end_where_one_is_cancelled_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 3);
    let whole = alone(&loader, &constant(9));
    let states = folder.path().join("states");
    let recipe = constant(9).with_states(&states).with_save_every(0);
    // Of two processes the second, of one the first, of three the last.
    for (size, cancelled, steps) in [(2, 1, 3), (1, 0, 5), (3, 2, 7)] {
        let ended = as_each(size, |member| {
            let recipe = recipe.clone().with_cancel(CancelToken::new());
            let at = match member.rank() == cancelled {
                true => steps - 1,
                false => usize::MAX,
            };
            let mut watch = CancelAt(at, recipe.cancel.clone());
            let optimizer = AdamW::default();
            let run = train_together(
                member,
                tiny(),
                optimizer,
                &loader,
                &recipe,
                &mut loss,
                &mut watch,
            );
            let outcome = run.unwrap();
            (outcome.ended, outcome.steps)
        });
        assert!(
            ended.iter().all(|end| *end == (Ended::Cancelled, steps)),
            "{ended:?}"
        );
    }
    for outcome in as_each(2, |member| as_one(member, &loader, &recipe).unwrap()) {
        assert!(furthest(&weights(&whole.trained), &weights(&outcome.trained)) < 1e-5);
        let records = &outcome.metrics.records;
        if let Some(record) = records.iter().find(|record| record.step == 8) {
            assert!((record.loss - whole.metrics.records[8].loss).abs() < 1e-5);
        }
    }
}

#[test]
fn a_process_that_is_gone_ends_the_others_with_the_last_state_whole() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    let whole = alone(&loader, &constant(8));
    let recipe = constant(8)
        .with_states(folder.path().join("states"))
        .with_save_every(2);
    let ended = as_each(2, |member| {
        if member.rank() == 1 {
            // As if it had been killed in its fifth step.
            let own = recipe.clone().with_cancel(CancelToken::new());
            let mut dies = |model: &Tiny, batch: &LoadedBatch, at: At| {
                assert!(at.step < 5, "gone");
                loss(model, batch, at)
            };
            let optimizer = AdamW::default();
            let run = std::panic::AssertUnwindSafe(|| {
                train_together(member, tiny(), optimizer, &loader, &own, &mut dies, &mut ())
                    .map(|_| ())
                    .map_err(|_| ())
            });
            assert!(std::panic::catch_unwind(run).is_err());
            return None;
        }
        let unfinished = as_one(member, &loader, &recipe).unwrap_err();
        assert!(
            matches!(unfinished.error, TrainError::Group { .. }),
            "{unfinished:?}"
        );
        Some(unfinished.outcome.unwrap().steps)
    });
    assert_eq!(ended[0], Some(5));
    let outcome = alone(&loader, &recipe);
    assert!(furthest(&weights(&whole.trained), &weights(&outcome.trained)) < 1e-5);
}

#[test]
fn process_0s_score_counts_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    let recipe = constant(30).with_evaluate_every(2).with_patience(2);
    let ended = as_each(2, |member| {
        let outcome = with_fault(member, Fault::Rising, &loader, &recipe).unwrap();
        (outcome.ended, outcome.steps, outcome.best.unwrap().value)
    });
    assert_eq!(ended, [(Ended::Early, 6, 1.0); 2]);
}

#[test]
fn processes_with_different_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    let refused = as_each(2, |member| {
        let loader = loader.clone().batch(4 - member.rank());
        as_one(member, &loader, &constant(4)).unwrap_err().error
    });
    for error in refused {
        assert!(
            error.to_string().contains("process 1 has other data"),
            "{error}"
        );
    }
    let states = folder.path().join("states");
    let _lock = FolderLock::take(&states).unwrap();
    let in_use = as_each(2, |member| {
        let recipe = constant(4).with_states(&states);
        as_one(member, &loader, &recipe).unwrap_err().error
    });
    assert!(matches!(in_use[0], TrainError::InUse { .. }));
    assert!(matches!(in_use[1], TrainError::Elsewhere { rank: 0, .. }));
}
