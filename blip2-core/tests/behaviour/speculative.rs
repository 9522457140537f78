//! Speculative decoding gives the answers of plain decoding.

use blip2_core::{
    Answer, Blip2Error, Blip2Pipeline, BlipCaptioner, GenerationConfig, Options, Precision,
    memory::Workload,
};
use blip2_testing::{fixture, picture};

use crate::common::pipeline;

fn speculative(name: &str) -> Blip2Pipeline {
    Blip2Pipeline::builder(fixture(name))
        .speculative(true)
        .load()
        .unwrap()
}

fn options(generation: GenerationConfig) -> Options {
    Options::default().with_generation(generation.with_max_new_tokens(24))
}

fn assert_same(found: &Answer, expected: &Answer, what: &str) {
    assert_eq!(found.text, expected.text, "{what}");
    assert_eq!(found.tokens, expected.tokens, "{what}");
    assert_eq!(found.finish_reason, expected.finish_reason, "{what}");
}

#[test]
fn answers_are_those_of_plain_decoding() {
    for name in [
        "blip2_opt",
        "blip2_t5",
        "blip2_t5_tied",
        "instructblip_llama",
        "instructblip_t5",
    ] {
        let (plain, ahead) = (pipeline(name), speculative(name));
        let config = GenerationConfig::default;
        for (n, options) in [
            options(config()),
            options(config().with_do_sample(true).with_seed(3)),
            options(config().with_repetition_penalty(1.5)),
            options(config().with_num_beams(3)),
        ]
        .into_iter()
        .enumerate()
        {
            let what = format!("{name}, options {n}");
            let expected = plain.answer_with(&picture(1), "what?", &options).unwrap();
            let found = ahead.answer_with(&picture(1), "what?", &options).unwrap();
            assert_same(&found, &expected, &what);
            let drafted = found.timings.drafted;
            assert_eq!(drafted.is_some(), n < 3, "{what}");
            assert!(found.timings.accepted <= drafted, "{what}");

            let stream = |blip2: &Blip2Pipeline| -> String {
                let stream = blip2.stream_with(&picture(1), "what?", &options);
                stream.unwrap().map(Result::unwrap).collect()
            };
            if n < 3 {
                assert_eq!(stream(&ahead), stream(&plain), "{what}");
            }
        }
        // A batch is decoded as ever.
        let pictures = [&picture(1), &picture(2)];
        let both = ahead.caption_batch(pictures, &Options::default()).unwrap();
        for (picture, found) in pictures.into_iter().zip(both) {
            assert_eq!(found.timings.drafted, None);
            assert_same(&found, &plain.caption(picture).unwrap(), name);
        }
    }
}

#[test]
fn the_draft_is_in_the_prediction() {
    let (plain, ahead) = (pipeline("blip2_opt"), speculative("blip2_opt"));
    let (without, with) = [&plain, &ahead]
        .map(|blip2| blip2.memory().predict(&Workload::default()))
        .into();
    let narrow = plain.memory().with_precision(Precision::Int4);
    let draft = narrow.weights(Some("language_model"));
    assert_eq!(with.weights, without.weights + draft);
    assert_eq!(with.caches, 2 * without.caches);
    assert_eq!(with.image_peak(), without.image_peak() + draft);
}

#[test]
fn what_has_no_use_for_a_draft_refuses_it() {
    let refused = |error: Blip2Error| {
        let told = error.to_string();
        assert!(told.contains("speculative"), "{told}");
    };
    let narrow = Blip2Pipeline::builder(fixture("blip2_opt"))
        .precision(Precision::Int4)
        .speculative(true);
    refused(narrow.load().unwrap_err());
    let small = BlipCaptioner::builder(fixture("blip1_caption")).speculative(true);
    refused(small.load().unwrap_err());
    let model = pipeline("blip2_opt").model().clone();
    let given = Blip2Pipeline::builder(fixture("blip2_opt")).model(model);
    refused(given.speculative(true).load().unwrap_err());
}
