//! A small model of retrieval learns captions in the first stage, is written, and is opened again.

use std::path::Path;

use blip2_core::{Blip2Retrieval, CheckpointFolder, TextRows};
use blip2_io::{
    dataset::{Dataset, Loader, PictureFile},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, FirstStage, Objective, Recall, Recipe, Schedule, TrainError, Training, train,
};
use image::{Rgb, RgbImage};

use crate::common;

const COLORS: [(&str, [u8; 3]); 4] = [
    ("red", [230, 20, 20]),
    ("blue", [20, 20, 230]),
    ("rice", [235, 235, 225]),
    ("park", [30, 160, 40]),
];

fn folder() -> CheckpointFolder {
    CheckpointFolder::open(common::models().join("blip2_itr")).unwrap()
}

/// Two pictures of each colour, with a caption or two.
fn captioned(at: &Path) -> Dataset {
    let (mut pictures, mut examples) = (Vec::new(), Vec::new());
    for (number, (name, color)) in COLORS.iter().enumerate() {
        for shade in [0u8, 12] {
            let path = at.join(format!("{number}-{shade}.png"));
            let color = color.map(|level| level.saturating_sub(shade));
            RgbImage::from_pixel(32, 32, Rgb(color))
                .save(&path)
                .unwrap();
            let captions = match shade {
                0 => vec![format!("{name} {name}")],
                _ => vec![format!("{name} {name}"), name.to_string()],
            };
            examples.push((pictures.len(), None, captions));
            pictures.push(PictureFile::File(path));
        }
    }
    Dataset::new(pictures, examples).unwrap()
}

#[test]
fn pictures_and_captions_learn_to_find_each_other() {
    let place = tempfile::tempdir().unwrap();
    let data = captioned(place.path());
    let folder = folder();
    let training = Training::of(&folder).unwrap();
    let training = training.queries().part("vision_model");
    let trained = training.load_first_stage(0).unwrap();
    let processor = ImageProcessor::new(folder.image_processor().unwrap()).unwrap();
    let loader = Loader::new(data.clone(), processor.clone())
        .batch(7) // the last has a single pair
        .shuffled(1);
    let recall = Recall::at(2).with_batch(3);
    let objective = FirstStage::new(&folder).unwrap();
    let mut objective = objective
        .with_validation(data.clone(), recall.clone())
        .unwrap();
    let recipe = Recipe::new(240, Schedule::constant(2e-3))
        .with_evaluate_every(40)
        .with_seed(3);
    let optimizer = AdamW::default();
    let outcome = train(
        trained,
        optimizer,
        &loader,
        &recipe,
        &mut objective,
        &mut (),
    )
    .unwrap();
    let records = &outcome.metrics.records;
    let (first, last) = (&records[0], &records[238]);
    assert!(last.loss < 0.7 * first.loss, "{first:?} {last:?}");
    for part in ["itc", "itm", "itg"] {
        assert!(last.parts.contains_key(part), "{part}");
    }
    // Of each colour there are two pictures that look alike, and three texts.
    let best = outcome.best.unwrap().value;
    assert!(best > 0.9, "{best}");

    let out = place.path().join("model");
    outcome.trained.save(&out).unwrap();
    let saved = CheckpointFolder::open(&out).unwrap();
    let blip2 = Blip2Retrieval::from_pretrained(&out).unwrap();
    assert!(blip2.load_report().unused.is_empty());
    let texts = TextRows::of(&saved).unwrap();
    let found = recall.of(blip2.model(), &texts, &processor, &data);
    assert!((found.unwrap()[0].mean() - best).abs() < 1e-9);

    // The next training goes on with the head that this one made.
    let again = Training::of(&saved).unwrap().queries();
    let again = again.load_first_stage(1).unwrap();
    let (ours, theirs) = (outcome.trained.values(), again.values());
    for name in ["temp", "cls.predictions.transform.dense.weight"] {
        assert_eq!(ours[name], theirs[name], "{name}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = folder();
    let training = || Training::of(&folder).unwrap();
    let reason = |error: TrainError| error.to_string();
    let error = reason(training().load_first_stage(0).unwrap_err());
    assert!(error.contains("nothing would be trained"), "{error}");
    let error = reason(training().part("qfromer").load_first_stage(0).unwrap_err());
    assert!(error.contains("qfromer"), "{error}");

    let other = CheckpointFolder::open(common::models().join("blip2_opt")).unwrap();
    let error = Training::of(&other).unwrap().queries().load_first_stage(0);
    let error = reason(error.unwrap_err());
    assert!(error.contains("Blip2Pipeline"), "{error}");

    let path = place.path().join("a.png");
    RgbImage::new(32, 32).save(&path).unwrap();
    let text = |text: &str| vec![text.to_string()];
    for (question, captions, part) in [
        (None, Vec::new(), "no caption"),
        (None, text(" "), "no caption"),
        (None, text("a [SEP] b"), "[SEP]"),
        (Some("what is it?".to_string()), text("red"), "question"),
    ] {
        let picture = vec![PictureFile::File(path.clone())];
        let data = Dataset::new(picture, [(0, question, captions)]).unwrap();
        let objective = FirstStage::new(&folder).unwrap();
        let fault = objective.fault(&data.examples()[0]).unwrap();
        assert!(fault.contains(part), "{fault}");
    }
}

/// Recall is counted batch by batch, and passes over pictures that cannot be decoded.
#[test]
fn recall_is_of_all_whatever_the_batch() {
    let place = tempfile::tempdir().unwrap();
    let data = captioned(place.path());
    let folder = folder();
    let blip2 = Blip2Retrieval::from_pretrained(folder.path()).unwrap();
    let processor = ImageProcessor::new(folder.image_processor().unwrap()).unwrap();
    let texts = TextRows::of(&folder).unwrap();
    let recall = |k, batch| {
        let recall = Recall::at(k).with_others([12]).with_batch(batch);
        let found = recall.of(blip2.model(), &texts, &processor, &data);
        found.map(|found| {
            assert_eq!(found.iter().map(|own| own.k).collect::<Vec<_>>(), [k, 12]);
            assert_eq!(found[1].mean(), 1.0);
            [found[0].text_to_image, found[0].image_to_text]
        })
    };
    assert_eq!(recall(12, 5).unwrap(), [1.0; 2]);
    let [by_text, by_picture] = recall(2, 100).unwrap();
    assert!(by_text < 1.0 && by_picture < 1.0);
    for batch in [1, 5] {
        let found = recall(2, batch).unwrap();
        assert!((found[0] - by_text).abs() < 1e-9, "{found:?}");
        assert!((found[1] - by_picture).abs() < 1e-9, "{found:?}");
    }
    std::fs::write(place.path().join("3-12.png"), "no picture").unwrap();
    for batch in [1, 3] {
        assert_eq!(recall(12, batch).unwrap(), [1.0; 2]);
    }
}

/// Examples are in the batches: an objective trains on any data set, and what cannot be trained on is
/// refused before the first step.
#[test]
fn an_objective_is_of_no_data_set() {
    let place = tempfile::tempdir().unwrap();
    let (data, folder) = (captioned(place.path()), folder());
    let processor = ImageProcessor::new(folder.image_processor().unwrap()).unwrap();
    let mut objective = FirstStage::new(&folder).unwrap();
    let mut run = |data: Dataset| {
        let training = Training::of(&folder).unwrap().queries();
        let trained = training.load_first_stage(0).unwrap();
        let loader = Loader::new(data, processor.clone()).batch(3);
        let recipe = Recipe::new(1, Schedule::constant(1e-3));
        let optimizer = AdamW::default();
        let outcome = train(
            trained,
            optimizer,
            &loader,
            &recipe,
            &mut objective,
            &mut (),
        );
        outcome.map(|outcome| outcome.metrics.records[0].loss)
    };
    let (few, all) = (run(data.clone().first(3)), run(data.clone()));
    assert_eq!(few.unwrap(), all.unwrap());
    let wordless = [(0, None, vec!["red".to_string()]), (1, None, Vec::new())];
    let data = Dataset::new(data.pictures().to_vec(), wordless).unwrap();
    let error = TrainError::from(run(data).unwrap_err());
    assert!(matches!(error, TrainError::Data { .. }), "{error}");
    assert!(error.to_string().contains("example 1: "), "{error}");
}
