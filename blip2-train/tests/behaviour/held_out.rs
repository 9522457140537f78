//! The loss of the first stage on pairs that it is not trained on.

use std::path::Path;

use blip2_core::{CancelToken, CheckpointFolder, model::Blip2ForPretraining};
use blip2_io::{
    dataset::{Dataset, LoadedBatch, Loader, PictureFile},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, Alone, At, FirstStage, Losses, Metrics, Objective, Recall, Recipe, Schedule, Scores,
    TrainError, Training, train_together,
};
use image::{Rgb, RgbImage};

use crate::common;

/// Pictures of which each has a caption.
fn data(at: &Path, count: usize, shift: u8) -> Dataset {
    let pictures = (0..count).map(|number| {
        let path = at.join(format!("{shift}-{number}.png"));
        let level = (number as u8 * 23).wrapping_add(shift);
        let pixel = |x, y| Rgb([level, (x * 6) as u8, 255 - (y * 7) as u8]);
        RgbImage::from_fn(40, 32, pixel).save(&path).unwrap();
        PictureFile::File(path)
    });
    let words = ["red", "blue", "rice", "park", "red rice", "blue park"];
    let pictures: Vec<_> = pictures.collect();
    let examples = (0..count).map(|number| {
        let caption = words[number % words.len()].to_string();
        (number, None, vec![caption])
    });
    Dataset::new(pictures, examples.collect::<Vec<_>>()).unwrap()
}

/// The first stage, which writes down the losses that it is asked for.
struct Told(FirstStage, Vec<(f64, f64)>);

impl Objective<Blip2ForPretraining> for Told {
    fn losses(
        &mut self,
        model: &Blip2ForPretraining,
        batch: &LoadedBatch,
        at: At,
    ) -> Result<Losses, TrainError> {
        let losses = self.0.losses(model, batch, at)?;
        let loss = f64::from(losses.total.clone().into_scalar::<f32>());
        self.1.push((batch.examples.len() as f64, loss));
        Ok(losses)
    }

    fn score(
        &mut self,
        _: &Blip2ForPretraining,
        _: &CancelToken,
    ) -> Result<Option<Scores>, TrainError> {
        Ok(Some(1.0.into()))
    }
}

fn trained(
    loader: &Loader,
    recipe: &Recipe,
    objective: &mut impl Objective<Blip2ForPretraining>,
) -> Metrics {
    let folder = CheckpointFolder::open(common::models().join("blip2_itr")).unwrap();
    let trained = Training::of(&folder).unwrap().queries();
    let trained = trained.load_first_stage(0).unwrap();
    let optimizer = AdamW::default();
    train_together(
        &Alone,
        trained,
        optimizer,
        loader,
        recipe,
        objective,
        &mut (),
    )
    .map_err(TrainError::from)
    .unwrap()
    .metrics
}

#[test]
fn it_is_the_mean_over_pairs_and_falls_where_what_is_learnt_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(common::models().join("blip2_itr")).unwrap();
    let processor = ImageProcessor::new(folder.image_processor().unwrap()).unwrap();
    let (data, other) = (data(place.path(), 6, 0), data(place.path(), 7, 90));
    let loader = |data: &Dataset, batch| Loader::new(data.clone(), processor.clone()).batch(batch);
    let recipe = |held_out| {
        Recipe::new(6, Schedule::constant(2e-3))
            .with_evaluate_every(6)
            .with_baseline(true)
            .with_held_out(held_out)
    };
    let first_stage = || {
        let objective = FirstStage::new(&folder).unwrap();
        objective.with_validation(other.clone(), Recall::at(1))
    };

    // The last of its batches has a single pair, which has no negatives.
    let held_out = recipe(loader(&other, 3));
    let metrics = trained(&loader(&data, 6), &held_out, &mut first_stage().unwrap());
    let losses: Vec<f64> = metrics
        .scores
        .iter()
        .map(|score| score.loss.unwrap())
        .collect();
    assert_eq!(losses.len(), 2);
    assert!(losses.iter().all(|loss| loss.is_finite()));

    let mut told = Told(FirstStage::new(&folder).unwrap(), Vec::new());
    trained(&loader(&data, 6), &held_out, &mut told);
    // Those before the first step.
    let before = &told.1[..3];
    assert_eq!(
        before.iter().map(|(count, _)| *count).collect::<Vec<_>>(),
        [3.0, 3.0, 1.0]
    );
    let sum: f64 = before.iter().map(|(count, loss)| count * loss).sum();
    assert!((losses[0] - sum / 7.0).abs() < 1e-6, "{losses:?} {sum}");

    // Of what it is trained on, it falls.
    let same = recipe(loader(&data, 6));
    let metrics = trained(&loader(&data, 6), &same, &mut first_stage().unwrap());
    let losses: Vec<f64> = metrics
        .scores
        .iter()
        .map(|score| score.loss.unwrap())
        .collect();
    assert!(losses[1] < losses[0], "{losses:?}");
}
