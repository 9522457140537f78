//! Nothing of a training is lost, whatever ends it: a score that fails, numbers that are none, someone
//! who cancels, a state that a fault of the disk spoilt, another process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use blip2_core::CancelToken;
use blip2_io::dataset::{LoadedBatch, Loader};
use blip2_train::{
    AdamW, At, Ended, FolderLock, Lora, LoraConfig, Losses, Objective, Outcome, Recipe, Record,
    Schedule, Score, Scores, TrainError, TrainPlan, Trained, Unfinished, Watch, train,
};
use burn::tensor::{Tensor, TensorData};
use safetensors::{SafeTensors, serialize_to_file, tensor::TensorView};
use serde_json::Value;

use crate::common::tiny::{Tiny, constant, furthest, loader, loss, tiny, tiny_of, weights};

/// Squares of distances, and a score that a closure gives of how often it was asked.
struct Scored<F> {
    score: F,
    asked: usize,
    measure: &'static str,
    broken_at: usize,
}

impl<F: FnMut(usize) -> Result<f64, TrainError>> Scored<F> {
    fn by(score: F) -> Self {
        Self {
            score,
            asked: 0,
            measure: "guesses",
            broken_at: usize::MAX,
        }
    }
}

impl<F: FnMut(usize) -> Result<f64, TrainError>> Objective<Tiny> for Scored<F> {
    fn losses(&mut self, model: &Tiny, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        let factor = if at.step >= self.broken_at {
            f32::NAN
        } else {
            1.0
        };
        Ok(Losses::from(loss(model, batch, at)?.total * factor))
    }

    fn score(&mut self, _: &Tiny, _: &CancelToken) -> Result<Option<Scores>, TrainError> {
        self.asked += 1;
        Ok(Some((self.score)(self.asked)?.into()))
    }

    fn measure(&self) -> Option<String> {
        Some(self.measure.into())
    }
}

fn fails() -> TrainError {
    let reason = "the pictures are gone".into();
    TrainError::Batch { reason }
}

/// Hears what is told, and cancels after a number of steps.
#[derive(Default)]
struct Ear {
    scores: Vec<Score>,
    noted: Vec<String>,
    passed_over: Vec<PathBuf>,
    resumed: Option<usize>,
    cancels: Option<(usize, CancelToken)>,
}

impl Watch for Ear {
    fn stepped(&mut self, record: &Record) {
        if let Some((step, token)) = &self.cancels
            && record.step + 1 == *step
        {
            token.cancel();
        }
    }

    fn scored(&mut self, score: &Score) {
        self.scores.push(score.clone());
    }

    fn resumed(&mut self, step: usize) {
        self.resumed = Some(step);
    }

    fn noted(&mut self, text: &str) {
        self.noted.push(text.to_string());
    }

    fn passed_over(&mut self, path: &Path, _: &str) {
        self.passed_over.push(path.to_path_buf());
    }
}

/// A folder with pictures and one with states.
struct Place {
    pictures: tempfile::TempDir,
    states: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            pictures: tempfile::tempdir().unwrap(),
            states: tempfile::tempdir().unwrap(),
        }
    }

    fn loader(&self) -> Loader {
        loader(self.pictures.path(), 3)
    }

    fn recipe(&self, steps: usize) -> Recipe {
        constant(steps).with_states(self.states.path())
    }

    fn run(
        &self,
        recipe: &Recipe,
        objective: &mut impl Objective<Tiny>,
        ear: &mut Ear,
    ) -> Result<Outcome<Tiny>, Unfinished<Tiny>> {
        let optimizer = AdamW::default();
        train(tiny(), optimizer, &self.loader(), recipe, objective, ear)
    }

    /// The weights after so many steps that nothing interrupted.
    fn whole(&self, steps: usize) -> Vec<f32> {
        let recipe = constant(steps);
        let outcome = self.run(&recipe, &mut loss, &mut Ear::default()).unwrap();
        weights(&outcome.trained)
    }

    fn state(&self, step: usize) -> PathBuf {
        self.states.path().join(format!("step-{step:09}"))
    }
}

#[test]
fn a_score_that_fails_loses_no_step() {
    let place = Place::new();
    let recipe = place.recipe(5).with_baseline(false);
    let mut broken = Scored::by(|_| Err(fails()));
    let unfinished = place.run(&recipe, &mut broken, &mut Ear::default());
    let unfinished = unfinished.unwrap_err();
    let text = unfinished.error.to_string();
    assert!(
        text.contains("after 5 steps") && text.contains("are gone"),
        "{text}"
    );
    let outcome = unfinished.outcome.unwrap();
    assert_eq!((outcome.steps, outcome.ended), (5, Ended::Failed));
    assert_eq!(outcome.metrics.records.len(), 5);
    assert_eq!(weights(&outcome.trained), place.whole(5));
    assert_eq!(outcome.state.unwrap(), place.state(5));
    assert!(place.states.path().join("metrics.jsonl").exists());

    // The evaluation is made again, and no step.
    let mut ear = Ear::default();
    let mut score = Scored::by(|_| Ok(0.5));
    let outcome = place.run(&recipe, &mut score, &mut ear).unwrap();
    assert_eq!(ear.resumed, Some(5));
    assert_eq!((outcome.best.unwrap().step, score.asked), (5, 1));
    assert_eq!(weights(&outcome.trained), place.whole(5));
}

#[test]
fn numbers_that_are_none_leave_the_best_model_and_the_metrics() {
    let place = Place::new();
    let recipe = place.recipe(9).with_evaluate_every(1);
    let mut broken = Scored::by(|asked| Ok([0.1, 0.2, 0.9, 0.5, 0.4][asked - 1]));
    broken.broken_at = 4;
    let unfinished = place.run(&recipe, &mut broken, &mut Ear::default());
    let unfinished = unfinished.unwrap_err();
    assert!(matches!(
        unfinished.error,
        TrainError::NotFinite { step: 4, .. }
    ));
    let text = unfinished.error.to_string();
    assert!(text.contains("a learning rate of 1e-2"), "{text}");
    let outcome = unfinished.outcome.unwrap();
    assert_eq!(outcome.best.unwrap().step, 2);
    assert_eq!(outcome.before.unwrap().value, 0.1);
    assert_eq!(weights(&outcome.trained), place.whole(2));
    let lines = fs::read_to_string(place.states.path().join("scores.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 5);
    // The parameters that gave them are no state to go on from.
    assert_eq!(outcome.state.unwrap(), place.state(3));
    assert!(!place.state(4).exists());
}

/// What spoils the parameters in the last step is told by no loss: they are looked at themselves.
#[test]
fn a_last_step_that_spoils_the_model_is_told_and_no_state_is_kept_of_it() {
    let place = Place::new();
    place
        .run(&place.recipe(2), &mut loss, &mut Ear::default())
        .unwrap();
    for ema in [None, Some(0.5)] {
        let spoiling = Schedule::constant(1e300);
        let recipe = Recipe::new(3, spoiling)
            .with_states(place.states.path())
            .with_ema(ema);
        let spoilt = place.run(&recipe, &mut loss, &mut Ear::default());
        let spoilt = spoilt.unwrap_err();
        let text = spoilt.error.to_string();
        assert!(text.contains("a number of `layer."), "{text}");
        assert!(
            text.contains("at step 3, at a learning rate of 1e300"),
            "{text}"
        );
        let outcome = spoilt.outcome.unwrap();
        assert_eq!((outcome.steps, outcome.ended), (3, Ended::Failed));
        assert_eq!(outcome.state.unwrap(), place.state(2));
        assert!(!place.state(3).exists());
    }
    // The state before goes on along its curve.
    let outcome = place.run(&place.recipe(4), &mut loss, &mut Ear::default());
    assert_eq!(weights(&outcome.unwrap().trained), place.whole(4));
}

#[test]
fn who_cancels_goes_on_along_the_same_curve() {
    let place = Place::new();
    let token = CancelToken::new();
    let recipe = place.recipe(100).with_cancel(token.clone());
    let mut ear = Ear {
        cancels: Some((4, token)),
        ..Ear::default()
    };
    let outcome = place.run(&recipe, &mut loss, &mut ear).unwrap();
    assert_eq!((outcome.steps, outcome.ended), (4, Ended::Cancelled));
    assert_eq!(outcome.state.unwrap(), place.state(4));
    let mut ear = Ear::default();
    let outcome = place.run(&place.recipe(7), &mut loss, &mut ear).unwrap();
    assert_eq!(ear.resumed, Some(4));
    assert_eq!(weights(&outcome.trained), place.whole(7));
    // In the midst of an evaluation too.
    let place = Place::new();
    let mut cancelled = Scored::by(|_| Err(TrainError::Cancelled));
    let recipe = place.recipe(6).with_baseline(false).with_evaluate_every(2);
    let outcome = place.run(&recipe, &mut cancelled, &mut Ear::default());
    assert_eq!(outcome.unwrap().ended, Ended::Cancelled);
    assert!(place.state(2).exists());
}

/// Rewrites a file of tensors.
fn rewritten(path: &Path, change: impl Fn(&str, Vec<usize>) -> Option<Vec<usize>>) {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().filter_map(|(name, view)| {
        let shape = change(name, view.shape().to_vec())?;
        Some((
            name.to_string(),
            TensorView::new(view.dtype(), shape, view.data()).unwrap(),
        ))
    });
    let tensors: Vec<_> = tensors.collect();
    serialize_to_file(tensors, metadata, path).unwrap();
}

/// A state that is damaged is passed over for the one before, and the curve is the same.
#[test]
fn a_damaged_state_falls_back_to_the_one_before() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 9] = [
        ("truncated", |state| {
            let path = state.join("trained.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("without a file", |state| {
            fs::remove_file(state.join("optimizer.safetensors")).unwrap();
        }),
        ("without its hashes", |state| {
            fs::remove_file(state.join("contents.json")).unwrap();
        }),
        ("without its hashes and with another bit", |state| {
            fs::remove_file(state.join("contents.json")).unwrap();
            let path = state.join("trained.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 0x40;
            fs::write(&path, bytes).unwrap();
        }),
        ("without a tensor", |state| {
            rewritten(&state.join("trained.safetensors"), |name, shape| {
                (name != "layer.bias").then_some(shape)
            });
        }),
        ("without a moment", |state| {
            rewritten(&state.join("optimizer.safetensors"), |name, shape| {
                (name != "layer.bias|m").then_some(shape)
            });
        }),
        ("without any moment", |state| {
            rewritten(&state.join("optimizer.safetensors"), |name, shape| {
                (!name.starts_with("layer.bias")).then_some(shape)
            });
        }),
        ("reshaped", |state| {
            rewritten(&state.join("average.kept.safetensors"), |_, shape| {
                Some(vec![shape.iter().product()])
            });
        }),
        ("no text", |state| {
            fs::write(state.join("progress.json"), "{").unwrap();
        }),
    ];
    for (name, damage) in damages {
        let place = Place::new();
        let recipe = |steps| place.recipe(steps).with_ema(0.5).with_save_every(2);
        let run = |steps| {
            let mut ear = Ear::default();
            let outcome = place.run(&recipe(steps), &mut loss, &mut ear);
            (outcome, ear)
        };
        run(4).0.unwrap();
        damage(&place.state(4));
        let (outcome, ear) = run(6);
        assert_eq!(ear.resumed, Some(2), "{name}");
        assert_eq!(ear.passed_over, [place.state(4)], "{name}");
        let expected = Place::new();
        let expected = expected.run(&constant(6).with_ema(0.5), &mut loss, &mut Ear::default());
        let weights = |outcome: Result<Outcome<Tiny>, _>| -> Vec<f32> {
            let outcome: Outcome<Tiny> = outcome.map_err(|_: Unfinished<Tiny>| ()).unwrap();
            weights(&outcome.trained)
        };
        assert_eq!(weights(outcome), weights(expected), "{name}");
        // Both damaged: nothing begins anew in silence.
        damage(&place.state(4));
        damage(&place.state(6));
        let error = run(8).0.unwrap_err().error;
        assert!(
            error.to_string().contains("step-000000006"),
            "{name}: {error}"
        );
    }
}

/// Gives a file that was changed no hash that would tell.
fn forged(state: &Path, name: &str) {
    let path = state.join("contents.json");
    let mut contents: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    contents["files"].as_object_mut().unwrap().remove(name);
    fs::write(&path, contents.to_string()).unwrap();
}

/// What a state says of other files, and of how often it was trained, is not believed.
#[test]
fn a_state_reads_nothing_but_itself_and_counts_from_1() {
    let refused = |damage: &dyn Fn(&Path)| {
        let place = Place::new();
        let run = |steps| place.run(&place.recipe(steps), &mut loss, &mut Ear::default());
        run(2).unwrap();
        damage(&place.state(2));
        run(4).unwrap_err().to_string()
    };
    for name in [
        "/dev/zero",
        "../step-000000002/progress.json",
        "..",
        "",
        "a/",
    ] {
        let hashes = format!(r#"{{"files":{{"{name}":"0"}}}}"#);
        let said = refused(&|state| fs::write(state.join("contents.json"), &hashes).unwrap());
        assert!(said.contains("none of a state"), "{name}: {said}");
    }
    for time in [f32::NAN, f32::INFINITY, -1.0, 0.0, 1.5, 3.0] {
        let said = refused(&|state| {
            let path = state.join("optimizer.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let number = file.tensor("layer.bias|t").unwrap().data().as_ptr();
            let place = number.addr() - bytes.as_ptr().addr();
            bytes[place..place + 4].copy_from_slice(&time.to_le_bytes());
            fs::write(&path, bytes).unwrap();
            forged(state, "optimizer.safetensors");
        });
        assert!(said.contains("of 2 steps"), "{time}: {said}");
    }
    let said = refused(&|state| {
        let far = format!(r#"{{"step":{}}}"#, usize::MAX);
        fs::write(state.join("progress.json"), far).unwrap();
        forged(state, "progress.json");
    });
    assert!(said.contains("than any training has"), "{said}");
}

#[test]
fn a_folder_that_is_trained_in_is_refused() {
    let place = Place::new();
    let lock = FolderLock::take(place.states.path()).unwrap();
    let recipe = place.recipe(2);
    let error = place.run(&recipe, &mut loss, &mut Ear::default());
    let text = error.unwrap_err().to_string();
    let process = format!("process {}", std::process::id());
    assert!(text.contains(&process), "{text}");
    drop(lock);
    assert!(place.run(&recipe, &mut loss, &mut Ear::default()).is_ok());
}

/// The best model before is scored again as scores are now, and steps and moments are kept.
#[test]
fn scores_of_another_kind_are_found_again_of_the_best_model() {
    let run = |again: f64, last: f64| {
        let place = Place::new();
        let mut first = Scored::by(|_| Ok(0.9));
        let recipe = place.recipe(2).with_baseline(false);
        place.run(&recipe, &mut first, &mut Ear::default()).unwrap();
        let mut other = Scored::by(|asked| Ok([again, last][asked - 1]));
        other.measure = "marks";
        let mut ear = Ear::default();
        let recipe = place.recipe(4).with_baseline(false);
        let outcome = place.run(&recipe, &mut other, &mut ear).unwrap();
        assert_eq!(ear.resumed, Some(2));
        assert!(ear.noted.iter().any(|text| text.contains("scored again")));
        let best = outcome.best.clone().unwrap();
        assert_eq!(weights(&outcome.trained), place.whole(best.step));
        (best.step, best.value)
    };
    assert_eq!(run(12.0, 11.0), (2, 12.0));
    assert_eq!(run(12.0, 13.0), (4, 13.0));
}

/// Where nothing is scored any more, no later model could be known to be better.
#[test]
fn a_best_model_is_not_gone_on_from_without_scores() {
    let place = Place::new();
    let mut first = Scored::by(|_| Ok(0.9));
    place
        .run(&place.recipe(2), &mut first, &mut Ear::default())
        .unwrap();
    let error = place.run(&place.recipe(4), &mut loss, &mut Ear::default());
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("guesses") && text.contains("nothing is scored now"),
        "{text}"
    );
}

/// Of equal scores the model with the lower loss on the validation data is the best, or else the first.
#[test]
fn equal_scores_are_told_apart_by_their_losses() {
    let best = |held_out: bool| {
        let place = Place::new();
        let held_out = held_out.then(|| place.loader());
        let recipe = place
            .recipe(6)
            .with_evaluate_every(2)
            .with_held_out(held_out);
        let mut nothing_right = Scored::by(|_| Ok(0.0));
        let outcome = place.run(&recipe, &mut nothing_right, &mut Ear::default());
        let outcome = outcome.unwrap();
        let losses = outcome.metrics.scores.iter().filter_map(|score| score.loss);
        let losses: Vec<f64> = losses.collect();
        let step = outcome.best.clone().unwrap().step;
        assert_eq!(weights(&outcome.trained), place.whole(step));
        (step, losses)
    };
    // The first loss is of the model as it came; the others are of the steps 2, 4 and 6.
    let (step, losses) = best(true);
    let trained = losses[1..].iter().enumerate();
    let lowest = trained.min_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0;
    assert!(
        lowest > 0,
        "the first of equal scores has the lowest loss: {losses:?}"
    );
    assert_eq!(step, 2 * (lowest + 1), "{losses:?}");
    assert_eq!(best(false), (2, Vec::new()));
}

#[test]
fn adapters_of_another_scale_are_refused() {
    let place = Place::new();
    let adapted = |alpha: f64| -> Trained<Tiny> {
        let config = LoraConfig::new(2, ["layer"]).with_alpha(alpha);
        let lora = Lora::fresh(config, 0).unwrap();
        tiny_of(&TrainPlan::new(blip2_train::Selection::none()).with_lora(&lora))
    };
    let run = |alpha, steps| {
        let optimizer = AdamW::default();
        let recipe = place.recipe(steps);
        train(
            adapted(alpha),
            optimizer,
            &place.loader(),
            &recipe,
            &mut loss,
            &mut (),
        )
    };
    run(4.0, 2).unwrap();
    let text = run(8.0, 4).unwrap_err().to_string();
    assert!(
        text.contains("alpha / rank = 2") && text.contains("4"),
        "{text}"
    );
    assert!(run(4.0, 4).is_ok());
}

#[test]
fn the_score_before_the_first_step_is_told_and_not_kept() {
    let place = Place::new();
    let mut worse = Scored::by(|asked| Ok([0.9, 0.3, 0.4][asked - 1]));
    let mut ear = Ear::default();
    let recipe = place.recipe(4).with_evaluate_every(2);
    let outcome = place.run(&recipe, &mut worse, &mut ear).unwrap();
    let told: Vec<usize> = ear.scores.iter().map(|score| score.step).collect();
    assert_eq!(told, [0, 2, 4]);
    assert_eq!(outcome.before.unwrap().value, 0.9);
    assert_eq!(outcome.best.unwrap().value, 0.4);
    assert_eq!(weights(&outcome.trained), place.whole(4));
}

/// Examples weigh alike, in whatever batches they come, and what an epoch has left makes a step.
#[test]
fn uneven_batches_make_the_step_of_one_as_large() {
    let folder = tempfile::tempdir().unwrap();
    let run = |batch, accumulate, steps| {
        let loader = loader(folder.path(), batch);
        let recipe = constant(steps).with_accumulate(accumulate);
        let optimizer = AdamW::default();
        train(tiny(), optimizer, &loader, &recipe, &mut loss, &mut ()).unwrap()
    };
    let whole = run(8, 1, 3);
    for batch in [3, 5] {
        let parts = run(batch, 3, 3);
        let epochs: Vec<u64> = parts
            .metrics
            .records
            .iter()
            .map(|record| record.epoch)
            .collect();
        assert_eq!(epochs, [0, 1, 2]);
        let difference = furthest(&weights(&whole.trained), &weights(&parts.trained));
        assert!(difference < 1e-5, "{difference}");
        for (a, b) in whole.metrics.records.iter().zip(&parts.metrics.records) {
            assert!((a.loss - b.loss).abs() < 1e-5, "{} {}", a.loss, b.loss);
        }
    }
    // Four batches are steps of three and of one.
    let epochs = run(2, 3, 4).metrics.records;
    let epochs: Vec<u64> = epochs.iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [0, 0, 1, 1]);
}

/// A batch weighs by what its loss is the mean of.
#[test]
fn batches_weigh_by_what_they_count() {
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), 4);
    // Of each batch all but the first example count for nothing.
    let mut seen = Vec::new();
    let mut weighed = |model: &Tiny, batch: &LoadedBatch, _: At| {
        let number = batch.examples[0].number as f32;
        seen.push(number);
        let sum = model
            .layer
            .forward(Tensor::<2>::ones([1, 48], &Default::default()));
        let constant = TensorData::from([number]);
        Ok(Losses {
            weight: Some(f64::from(number)),
            ..Losses::from(sum.sum() * 0.0 + Tensor::<1>::from_data(constant, &Default::default()))
        })
    };
    let recipe = constant(1).with_accumulate(2);
    let outcome = train(
        tiny(),
        AdamW::default(),
        &loader,
        &recipe,
        &mut weighed,
        &mut (),
    );
    let loss = outcome.unwrap().metrics.records[0].loss;
    let (a, b) = (seen[0], seen[1]);
    let expected = f64::from((a * a + b * b) / (a + b));
    assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
}
