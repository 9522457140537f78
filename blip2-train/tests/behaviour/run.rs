//! The loop on a model of one layer: what accumulates, averages, ends early, and is told.

use std::fs;

use blip2_core::CancelToken;
use blip2_io::dataset::{BrokenRecord, LoadedBatch, Loader, OnBroken};
use blip2_train::{
    AdamW, At, Ended, Losses, Metrics, Objective, Outcome, Recipe, Record, Score, Scores,
    TrainError, WarmupCosine, Watch, train,
};

use crate::common::tiny::{Tiny, constant, furthest, loader, loss, tiny, weights};

fn run(batch: usize, recipe: &Recipe) -> Outcome<Tiny> {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), batch);
    train(
        tiny(),
        AdamW::default(),
        &loader,
        recipe,
        &mut loss,
        &mut (),
    )
    .unwrap()
}

#[test]
fn several_batches_make_the_step_of_one_as_large() {
    let whole = run(4, &constant(6));
    let parts = run(2, &constant(6).with_accumulate(2));
    let difference = furthest(&weights(&whole.trained), &weights(&parts.trained));
    assert!(difference < 1e-5, "{difference}");
    for (a, b) in whole.metrics.records.iter().zip(&parts.metrics.records) {
        assert!((a.loss - b.loss).abs() < 1e-5);
        assert!((a.grad_norm / b.grad_norm - 1.0).abs() < 1e-3);
    }
    let records = &whole.metrics.records;
    assert_eq!(
        (records.len(), records[5].epoch, records[5].step),
        (6, 2, 5)
    );
    assert!(records[5].loss < records[0].loss);
    let csv = whole.metrics.csv();
    assert!(
        csv.starts_with("step,epoch,lr,loss,grad_norm,seconds,square,score\n"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 7);
    assert!(whole.metrics.curve_svg().unwrap().contains("<svg"));
    assert!(Metrics::default().curve_svg().is_none());
}

#[test]
fn an_average_follows_slowly() {
    let plain = run(4, &constant(5));
    let average = run(4, &constant(5).with_ema(0.9));
    // By hand: the first decays are (1 + n) / (10 + n).
    let mut expected = Vec::new();
    for step in 0..5 {
        let now = weights(&run(4, &constant(step + 1)).trained);
        if step == 0 {
            expected = now;
            continue;
        }
        let decay = (1.0 + step as f32) / (10.0 + step as f32);
        for (own, now) in expected.iter_mut().zip(now) {
            *own = decay * *own + (1.0 - decay) * now;
        }
    }
    assert!(furthest(&weights(&average.trained), &expected) < 1e-6);
    assert!(furthest(&weights(&plain.trained), &expected) > 1e-4);
}

/// A score that rises twice and then falls.
struct Falling(Vec<f64>);

impl Objective<Tiny> for Falling {
    fn losses(&mut self, model: &Tiny, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        loss(model, batch, at)
    }

    fn score(&mut self, _: &Tiny, _: &CancelToken) -> Result<Option<Scores>, TrainError> {
        Ok(self.0.pop().map(Scores::from))
    }
}

#[derive(Default)]
struct Heard(Vec<usize>, Vec<Score>);

impl Watch for Heard {
    fn stepped(&mut self, record: &Record) {
        self.0.push(record.step);
    }

    fn scored(&mut self, score: &Score) {
        self.1.push(score.clone());
    }
}

#[test]
fn without_progress_it_ends_early_and_keeps_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    let recipe = constant(100)
        .with_baseline(false)
        .with_evaluate_every(2)
        .with_patience(2);
    let mut heard = Heard::default();
    let mut scores = Falling(vec![0.9, 0.4, 0.3, 0.5, 0.2]);
    let outcome = train(
        tiny(),
        AdamW::default(),
        &loader,
        &recipe,
        &mut scores,
        &mut heard,
    )
    .unwrap();
    assert_eq!(outcome.ended, Ended::Early);
    let best = outcome.best.unwrap();
    assert_eq!((best.step, best.value), (4, 0.5));
    assert_eq!(heard.0.len(), 8);
    assert_eq!(heard.1.len(), 4);
    assert_eq!(
        weights(&outcome.trained),
        weights(&run(4, &constant(4)).trained)
    );
    assert!(
        outcome
            .metrics
            .csv()
            .lines()
            .nth(4)
            .unwrap()
            .ends_with(",0.5")
    );
}

#[test]
fn a_state_keeps_the_average_and_the_best() {
    let (folder, states) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let loader = loader(folder.path(), 3);
    let recipe = |steps| {
        constant(steps)
            .with_states(states.path())
            .with_ema(0.8)
            .with_baseline(false)
            .with_evaluate_every(2)
            .with_save_every(4)
    };
    let mut score = Falling(vec![0.1, 0.2, 0.3, 0.4, 0.9, 0.5]);
    let go = |steps, score: &mut Falling| {
        train(
            tiny(),
            AdamW::default(),
            &loader,
            &recipe(steps),
            score,
            &mut (),
        )
        .unwrap()
    };
    let first = go(4, &mut score);
    assert_eq!(first.best.as_ref().unwrap().value, 0.9);
    let second = go(12, &mut score);
    assert_eq!(second.best, first.best);
    assert_eq!(weights(&second.trained), weights(&first.trained));
    assert_eq!(second.metrics.records.len(), 12);
    assert_eq!(second.metrics.scores.len(), 6);
    let lines = fs::read_to_string(states.path().join("scores.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 6);
}

#[test]
fn what_is_no_number_is_told_with_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    let mut broken = |model: &Tiny, batch: &LoadedBatch, at: At| {
        let factor = if at.step == 3 { f32::NAN } else { 1.0 };
        Ok(Losses::from(loss(model, batch, at)?.total * factor))
    };
    let error = train(
        tiny(),
        AdamW::default(),
        &loader,
        &constant(9),
        &mut broken,
        &mut (),
    );
    let error = TrainError::from(error.unwrap_err());
    assert!(matches!(error, TrainError::NotFinite { step: 3, .. }));
    assert!(
        error.to_string().contains("a learning rate of 1e-2"),
        "{error}"
    );
    for recipe in [
        constant(1).with_accumulate(0),
        constant(1).with_ema(1.0),
        constant(1).with_clip(-1.0),
        constant(1).with_patience(0),
        constant(0),
        Recipe::new(30, WarmupCosine::new(0.01, 30).with_warmup(100)),
    ] {
        let refused = train(
            tiny(),
            AdamW::default(),
            &loader,
            &recipe,
            &mut loss,
            &mut (),
        );
        assert!(refused.is_err(), "{recipe:?}");
    }
}

/// Pictures that cannot be decoded are told once and left out, a batch of them included.
#[test]
fn what_is_broken_is_left_out_where_that_is_asked() {
    #[derive(Default)]
    struct Told(Vec<String>);
    impl Watch for Told {
        fn left_out(&mut self, record: &BrokenRecord) {
            self.0.push(record.to_string());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (batch, per_epoch) in [(1, 6), (3, 3)] {
        let loader = loader(folder.path(), batch);
        for level in [2, 5] {
            fs::write(folder.path().join(format!("{level}.png")), "no picture").unwrap();
        }
        let run = |loader: &Loader, told: &mut Told| {
            let recipe = constant(2 * per_epoch);
            train(tiny(), AdamW::default(), loader, &recipe, &mut loss, told)
        };
        let mut told = Told::default();
        assert!(run(&loader, &mut told).is_err());
        let loader = loader.on_broken(OnBroken::Skip);
        let outcome = run(&loader, &mut told).unwrap();
        assert_eq!(outcome.metrics.records.len(), 2 * per_epoch);
        assert_eq!(told.0.len(), 2, "{:?}", told.0);
        assert!(told.0.iter().any(|text| text.contains("2.png")));
    }
}
