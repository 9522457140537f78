//! What would not fit is refused before it is allocated.

use blip2_core::{
    Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, BlipRetrieval, CompareOptions,
    GenerationConfig, ModelKind, Options, Precision, PrecisionPlan, Preset,
    config::BlipConfig,
    inspect::inspect,
    memory::{Fit, MemoryPlan, NotEnoughMemory, Workload},
};
use blip2_testing::{fixture, picture};

fn refusal<T: std::fmt::Debug>(result: Result<T, Blip2Error>) -> NotEnoughMemory {
    match result {
        Err(Blip2Error::Memory(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_model_larger_than_the_limit_is_refused_in_no_time() {
    // 47 GB in f32: were anything allocated, the test would take the machine down.
    let start = std::time::Instant::now();
    let error = refusal(
        Blip2Pipeline::builder_random(Preset::Blip2FlanT5Xxl, 0)
            .precision(Precision::F32)
            .memory_limit(30_000_000_000)
            .load(),
    );
    assert!(start.elapsed().as_secs() < 10);
    assert!(error.predicted > 48_000_000_000, "{error}");
    assert_eq!(error.allowed, 30_000_000_000);
    assert!(matches!(error.fits[..], [Fit::Precision(_)]), "{error}");
}

#[test]
fn a_batch_that_would_not_fit_is_refused_and_a_smaller_one_runs() {
    let images: Vec<_> = (0..64).map(picture).collect();
    let options = Options::default().with_generation(GenerationConfig::default().with_num_beams(8));
    for name in ["blip2_opt", "blip2_t5"] {
        let plan = inspect(fixture(name)).unwrap();
        let one = plan.peak_memory(&Workload::default())[0].1;
        let blip2 = Blip2Pipeline::builder(fixture(name))
            .memory_limit(one + (1 << 20))
            .load()
            .unwrap();
        let error = refusal(blip2.caption_batch(&images, &options));
        assert_eq!(error.allowed, one + (1 << 20));
        let batch = error.fits.iter().find_map(|fit| match fit {
            Fit::Batch(batch) => Some(*batch),
            _ => None,
        });
        let batch = batch.unwrap_or_else(|| panic!("{name}: {error}"));
        assert!((1..64).contains(&batch), "{name}: {error}");
        let answers = blip2.caption_batch(&images[..batch], &options).unwrap();
        assert_eq!(answers.len(), batch);
        refusal(blip2.caption_batch(&images[..=batch], &options));
        assert!(blip2.caption(&images[0]).is_ok(), "{name}");
    }
}

#[test]
fn a_blip1_is_refused_before_it_is_loaded_and_a_batch_before_it_runs() {
    let images: Vec<_> = (0..64).map(picture).collect();
    let beams = GenerationConfig::default().with_num_beams(8);
    let options = Options::default().with_generation(beams);
    macro_rules! refuses {
        ($name:literal, $member:ty, |$model:ident, $images:ident| $call:expr) => {
            let builder = || <$member>::builder(fixture($name));
            let plan = inspect(fixture($name)).unwrap();
            let one = plan.peak_memory(&Workload::default())[0].1;
            let error = refusal(builder().memory_limit(one - 1).load());
            assert_eq!((error.predicted, error.allowed), (one, one - 1), $name);
            let limit = one + (1 << 20);
            let $model = builder().memory_limit(limit).load().unwrap();
            assert_eq!($model.memory().predict(&Workload::default()).peak(), one);
            let mut batch = images.len();
            loop {
                let $images = &images[..batch];
                let result = $call;
                if let Ok(found) = &result {
                    assert_eq!(found.len(), batch, $name);
                    break;
                }
                // What fits of the stage that is refused first may be too much for the next.
                let error = refusal(result);
                let fits = error.fits.iter().find_map(|fit| match fit {
                    Fit::Batch(batch) => Some(*batch),
                    _ => None,
                });
                let fits = fits.unwrap_or_else(|| panic!("{}: {error}", $name));
                assert!((1..batch).contains(&fits), "{}: {error}", $name);
                batch = fits;
            }
            assert!(batch < images.len(), $name);
            let endless = Workload::default().with_batch(1 << 40);
            assert!($model.check_memory(&endless).is_err());
        };
    }
    refuses!("blip1_vqa", BlipAnswerer, |model, images| {
        let pairs = images.iter().map(|image| (image, "what is this?"));
        model.answer_batch(pairs, &options)
    });
    refuses!("blip1_caption", BlipCaptioner, |model, images| {
        model.caption_batch(images, &options)
    });
    refuses!("blip1_itr", BlipRetrieval, |model, images| {
        let options = CompareOptions::default();
        model.encode_batch(images, &options)
    });
}

#[test]
fn predictions_of_a_blip1_grow_with_everything_that_is_asked() {
    let config = BlipConfig::default();
    for kind in [ModelKind::BlipAnswer, ModelKind::BlipCaption] {
        let plan = MemoryPlan::of_blip1(&config, kind, Precision::Bf16).unwrap();
        let one = Workload::default();
        let peak = |work: Workload| plan.predict(&work).peak();
        for more in [
            one.with_batch(64),
            one.with_batch(8).with_beams(64),
            one.with_batch(64).with_prompt_tokens(400),
            one.with_batch(64).with_new_tokens(400).with_beams(8),
            one.with_image_size([1400, 1400]),
        ] {
            let less = one.with_batch(more.batch);
            let grows = peak(more) > peak(less) || more == less && peak(more) > peak(one);
            assert!(grows, "{kind} {more:?}");
        }
        assert!(peak(one.with_batch(usize::MAX)) > 1 << 55);
        let wide = plan.with_precision(Precision::F32);
        for part in ["vision_model", "text_decoder"] {
            assert!(
                plan.weights(Some(part)) < wide.weights(Some(part)),
                "{kind} {part}"
            );
        }
        let predicted = plan.predict(&one);
        assert!(predicted.explained_peak() > predicted.peak());
    }
    let other = MemoryPlan::of_blip1(&config, ModelKind::Blip2, Precision::F32);
    assert!(matches!(other, Err(Blip2Error::Setting { .. })));
}

#[test]
fn without_a_limit_of_ones_own_the_machines_holds() {
    // A prompt of which the scores alone would take terabytes.
    let blip2 = Blip2Pipeline::from_pretrained(fixture("blip2_t5")).unwrap();
    let long = "cat ".repeat(1 << 18);
    let result = blip2.prompt(&picture(0), &long);
    if cfg!(target_os = "linux") {
        assert!(refusal(result).predicted > 1 << 40);
    }
}

#[test]
fn predictions_grow_with_everything_that_is_asked() {
    let config = Preset::Blip2FlanT5Xl.config();
    let plan = MemoryPlan::new(&config, Precision::Bf16).unwrap();
    let one = Workload::default();
    let peak = |work: Workload| plan.predict(&work).peak();
    for more in [
        one.with_batch(64),
        one.with_beams(64),
        one.with_prompt_tokens(4000),
        one.with_new_tokens(20_000),
        one.with_image_size([1400, 1400]),
    ] {
        assert!(peak(more) > peak(one), "{more:?}");
    }
    // Absurd numbers are too much, not an overflow.
    let absurd = one.with_batch(usize::MAX);
    assert!(peak(absurd) > 1 << 55);

    let wide = plan.with_precision(Precision::F32);
    let mixed = plan.with_precision(
        PrecisionPlan::default()
            .with_vision(Precision::F32)
            .with_language_model(Precision::Bf16),
    );
    assert!(plan.weights(None) < mixed.weights(None));
    assert!(mixed.weights(None) < wide.weights(None));
    assert_eq!(
        plan.weights(Some("qformer")),
        wide.weights(Some("qformer")),
        "the Q-Former is f32 always"
    );
    let matrices = wide.weights(Some("language_model"));
    assert!(plan.weights(Some("language_model")) < matrices * 51 / 100);
}
