//! An evaluation that something breaks of: a picture that can no longer be decoded, or whoever cancels.

use std::{
    fs,
    path::{Path, PathBuf},
};

use blip2_core::{Blip2Pipeline, CancelToken, GenerationConfig};
use blip2_io::dataset::{Dataset, OnBroken};
use blip2_train::{Evaluator, Scoring, TrainError, answer_all};
use image::{Rgb, RgbImage};

use crate::common;

const COUNT: usize = 6;

fn picture(at: &Path, number: usize) -> PathBuf {
    at.join(format!("{number}.png"))
}

/// Pictures with a question about each, and choices.
fn data(at: &Path) -> Dataset {
    let lines = (0..COUNT).map(|number| {
        let level = number as u8 * 40;
        let shown = RgbImage::from_pixel(40, 32, Rgb([level, 255 - level, 90]));
        shown.save(picture(at, number)).unwrap();
        format!(
            "{{\"image\": \"{number}.png\", \"question\": \"red rice?\", \"answer\": \"park\", \
             \"choices\": [\"park\", \"blue\"]}}\n"
        )
    });
    fs::write(at.join("held.jsonl"), lines.collect::<String>()).unwrap();
    Dataset::json_lines(at.join("held.jsonl"), at, OnBroken::Fail).unwrap()
}

fn model() -> Blip2Pipeline {
    let folder = common::models().join("blip2_opt");
    Blip2Pipeline::builder(folder).load().unwrap()
}

fn short() -> GenerationConfig {
    GenerationConfig::default().with_max_new_tokens(3)
}

fn evaluator(data: &Dataset) -> Evaluator<'_> {
    Evaluator::new(data)
        .with_scores([Scoring::ExactMatch, Scoring::MultipleChoice])
        .with_generation(short())
        .with_batch(2)
}

#[test]
fn what_breaks_meanwhile_is_left_out_or_loses_no_answer() {
    let place = tempfile::tempdir().unwrap();
    let (data, model) = (data(place.path()), model());
    let all = answer_all(&model, &data, &short(), 2, |_| {}).unwrap();
    let broken = picture(place.path(), 4);
    let whole = fs::read(&broken).unwrap();
    // The beginning of the file is as it was: what it is can be told, and not what it shows.
    let breaks = |_| fs::write(&broken, &whole[..60]).unwrap();

    let skips = evaluator(&data).with_on_broken(OnBroken::Skip);
    let found = skips.evaluate(&model, breaks).unwrap();
    assert_eq!(found.data.len(), COUNT - 1);
    assert_eq!(found.data.broken(), found.left_out);
    let [record] = &found.left_out[..] else {
        panic!("{:?}", found.left_out);
    };
    assert_eq!(record.place, "line 5");
    assert!(record.reason.contains("4.png"), "{record}");
    let left: Vec<&String> = (0..COUNT).filter(|&n| n != 4).map(|n| &all[n]).collect();
    assert_eq!(found.answers.iter().collect::<Vec<_>>(), left);
    assert_eq!(found.evaluations.len(), 2);
    for evaluation in &found.evaluations {
        assert_eq!(evaluation.each.len(), COUNT - 1);
    }

    fs::write(&broken, &whole).unwrap();
    let failed = evaluator(&data).evaluate(&model, breaks).unwrap_err();
    assert!(matches!(failed.error, TrainError::Data(_)), "{failed}");
    for part in ["held.jsonl", "line 5", "4.png"] {
        assert!(failed.to_string().contains(part), "{failed}");
    }
    assert_eq!(failed.answered.answers, all[..4]);
    let examples = failed.answered.data.examples();
    assert_eq!(examples, &data.examples()[..4]);
    assert!(failed.answered.evaluations.is_empty());

    // One that breaks while choices are ranked takes no written answer along.
    fs::write(&broken, &whole).unwrap();
    let mut heard = 0;
    let failed = evaluator(&data).evaluate(&model, |_| {
        heard += 1;
        if heard > 3 {
            breaks(0);
        }
    });
    assert_eq!(failed.unwrap_err().answered.answers, all);
}

#[test]
fn whoever_cancels_has_what_was_answered() {
    let place = tempfile::tempdir().unwrap();
    let (data, model) = (data(place.path()), model());
    let cancel = CancelToken::new();
    let asks = evaluator(&data).with_cancel(cancel.clone());
    let failed = asks.answer(&model, |_| cancel.cancel()).unwrap_err();
    assert!(matches!(failed.error, TrainError::Cancelled));
    // The batch that was being answered when it was cancelled is whole.
    assert_eq!(failed.answered.answers.len(), 4);
}

#[test]
fn where_nothing_is_left_it_fails() {
    let place = tempfile::tempdir().unwrap();
    let (data, model) = (data(place.path()), model());
    for number in 0..COUNT {
        fs::write(picture(place.path(), number), "broken").unwrap();
    }
    let skips = evaluator(&data).with_on_broken(OnBroken::Skip);
    let failed = skips.evaluate(&model, |_| {}).unwrap_err();
    assert!(failed.to_string().contains("line 6"), "{failed}");
    assert!(failed.answered.answers.is_empty());
    assert!(failed.answered.data.is_empty());
}
