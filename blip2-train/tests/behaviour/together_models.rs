//! Two and three processes have the losses of one with every objective.

use std::path::Path;

use blip2_core::CheckpointFolder;
use blip2_io::{
    dataset::{Dataset, Loader, PictureFile},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, Alone, Answering, FirstStage, Group, LoraConfig, Metrics, Objective, Recall, Recipe,
    Schedule, Scoring, TrainError, Trained, Training, Validation, train_together,
};
use burn::module::Module;
use image::{Rgb, RgbImage};

use crate::common;
use crate::common::threads::as_each;

/// The words that the smallest tokenizers of the fixtures know.
const WORDS: [&str; 4] = ["red", "blue", "rice", "park"];

/// Ten pictures; of some there are several questions, or captions, and answers of different lengths.
fn data(at: &Path, asks: bool) -> Dataset {
    let (mut pictures, mut examples) = (Vec::new(), Vec::new());
    for number in 0..10usize {
        let path = at.join(format!("{number}.png"));
        let level = number as u8 * 23;
        RgbImage::from_fn(40, 32, |x, y| {
            Rgb([level, (x * 6) as u8, 255 - (y * 7) as u8])
        })
        .save(&path)
        .unwrap();
        pictures.push(PictureFile::File(path));
        let word = |place: usize| WORDS[(number + place) % 4];
        for question in 0..1 + number % 2 {
            let answers = match number % 3 {
                0 => vec![word(question).to_string()],
                1 => vec![format!("{} {}", word(0), word(1)), word(2).to_string()],
                _ => vec![format!("{} {} {}", word(2), word(1), word(question))],
            };
            let asked = asks.then(|| format!("{} ?", word(question + 1)));
            examples.push((number, asked, answers));
        }
    }
    Dataset::new(pictures, examples).unwrap()
}

fn folder(name: &str) -> CheckpointFolder {
    CheckpointFolder::open(common::models().join(name)).unwrap()
}

fn recipe() -> Recipe {
    Recipe::new(4, Schedule::constant(2e-3))
        .with_evaluate_every(2)
        .with_seed(11)
}

fn run<M: Module>(
    group: &dyn Group,
    loader: &Loader,
    recipe: &Recipe,
    trained: Trained<M>,
    mut objective: impl Objective<M>,
) -> Metrics {
    // With a smaller epsilon a parameter whose gradient is nothing but rounding takes a whole step, this way
    // or that: later losses would show the rounding and not the processes.
    let optimizer = AdamW::default().with_eps(1e-3);
    train_together(
        group,
        trained,
        optimizer,
        loader,
        recipe,
        &mut objective,
        &mut (),
    )
    .map_err(TrainError::from)
    .unwrap()
    .metrics
}

/// Compares what one process and several see.
fn as_one(name: &str, of: impl Fn(&dyn Group) -> Metrics + Sync) {
    let one = of(&Alone);
    assert!(one.records.len() >= 4, "{name}");
    for size in [2, 3] {
        for metrics in as_each(size, |member| of(member)) {
            for (a, b) in one.records.iter().zip(&metrics.records) {
                let near = (a.loss - b.loss).abs() < 1e-5 * a.loss.abs().max(1.0);
                assert!(near, "{name}, {size} processes: {a:?} {b:?}");
                let norms = (a.grad_norm / b.grad_norm - 1.0).abs();
                assert!(norms < 1e-4, "{name}, {size} processes: {a:?} {b:?}");
                for (part, value) in &a.parts {
                    let other = b.parts[part];
                    assert!(
                        (value - other).abs() < 1e-5,
                        "{name} {part}: {value} {other}"
                    );
                }
            }
            assert_eq!(one.scores.len(), metrics.scores.len(), "{name}");
            for (a, b) in one.scores.iter().zip(&metrics.scores) {
                assert_eq!(
                    (a.step, a.value, &a.others),
                    (b.step, b.value, &b.others),
                    "{name}"
                );
                // Of the same parameters nearly the same number; what a step rounds, later losses show as a
                // step's own loss does.
                let near = |(one, other): (f64, f64)| match a.step {
                    0 => (one - other).abs() < 1e-5,
                    _ => (one - other).abs() < 1e-5 * one.abs().max(1.0),
                };
                let losses = a.loss.zip(b.loss);
                assert!(losses.is_none_or(near), "{name}: {losses:?}");
            }
        }
    }
}

fn processor(folder: &CheckpointFolder) -> ImageProcessor {
    ImageProcessor::new(folder.image_processor().unwrap()).unwrap()
}

/// Trains on answers and captions; `load` says what of the model.
fn answers<M: blip2_train::Writes>(
    name: &str,
    asks: bool,
    load: impl Fn(Training) -> Result<Trained<M>, TrainError> + Sync,
) {
    let place = tempfile::tempdir().unwrap();
    let (folder, data) = (folder(name), data(place.path(), asks));
    let processor = processor(&folder);
    for by_picture in [false, true] {
        as_one(name, |group| {
            let loader = Loader::new(data.clone(), processor.clone())
                .batch(5)
                .shuffled(3);
            let held_out = Loader::new(data.clone(), processor.clone()).batch(4);
            let loader = match by_picture {
                true => loader.by_picture(2),
                false => loader,
            };
            let recipe = recipe().with_held_out(held_out).with_accumulate(2);
            let mut validation = Validation::new(data.clone(), Scoring::ExactMatch).with_batch(3);
            validation.generation = validation.generation.with_max_new_tokens(4);
            let objective = Answering::new(&folder)
                .unwrap()
                .with_label_smoothing(0.1)
                .with_validation(validation);
            let trained = load(Training::of(&folder).unwrap()).unwrap();
            run(group, &loader, &recipe, trained, objective)
        });
    }
}

#[test]
fn opt_by_adapters_and_by_parts() {
    answers("blip2_opt", true, |training| {
        let lora = LoraConfig::new(4, ["q_proj", "v_proj", "query"]).with_alpha(8.0);
        training.lora(lora, 3)?.load()
    });
    answers("blip2_opt", false, |training| training.bridge().load());
}

#[test]
fn t5_by_adapters_and_by_parts() {
    answers("blip2_t5", true, |training| {
        let lora = LoraConfig::new(4, ["q", "v"]).with_alpha(8.0);
        training.lora(lora, 3)?.part("language_projection").load()
    });
    answers("blip2_t5", false, |training| {
        training.part("vision_model").load()
    });
}

#[test]
fn instructblip_by_parts() {
    answers("instructblip_llama", true, |training| {
        training.bridge().load()
    });
    answers("instructblip_t5", true, |training| training.bridge().load());
}

#[test]
fn blip1_that_answers_and_that_describes() {
    answers("blip1_vqa", true, |training| {
        let lora = LoraConfig::new(4, ["query", "key"]).with_alpha(8.0);
        training.lora(lora, 3)?.load_blip1_answerer()
    });
    answers("blip1_caption", false, |training| {
        training.part("text_decoder").load_blip1_captioner()
    });
}

/// Contrast, hard negatives and recall are of the whole batch; a picture's negative may be another
/// process's.
#[test]
fn the_first_stage() {
    let place = tempfile::tempdir().unwrap();
    let (folder, data) = (folder("blip2_itr"), data(place.path(), false));
    let processor = processor(&folder);
    for vision in [false, true] {
        as_one("blip2_itr", |group| {
            // The last of an epoch has a single pair.
            let loader = Loader::new(data.clone(), processor.clone())
                .batch(7)
                .shuffled(3);
            let objective = FirstStage::new(&folder).unwrap();
            let recall = Recall::at(1).with_others([3]).with_batch(2);
            let objective = objective.with_validation(data.clone(), recall).unwrap();
            let training = Training::of(&folder).unwrap().queries();
            let training = match vision {
                true => training.part("vision_model"),
                false => training,
            };
            let trained = training.load_first_stage(0).unwrap();
            let held_out = Loader::new(data.clone(), processor.clone()).batch(4);
            let recipe = recipe().with_held_out(held_out);
            run(group, &loader, &recipe, trained, objective)
        });
    }
}
