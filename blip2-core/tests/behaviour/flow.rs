//! A stream of pictures, answered as places become free.

use std::panic::{self, AssertUnwindSafe};

use blip2_core::{
    Answer, AnswerFlow, Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, CancelToken,
    FinishReason, GenerationConfig, Options, inspect::inspect, memory::Workload,
};
use blip2_testing::fixture;
use image::RgbImage;

use crate::common::pipeline;

fn picture(n: usize) -> RgbImage {
    blip2_testing::picture(n as u32)
}

/// What a test's iterator gives.
type Read<Q> = Result<(RgbImage, Q), Fault>;

#[derive(Debug)]
enum Fault {
    NoSuchFile(usize),
    Model(Blip2Error),
}

impl From<Blip2Error> for Fault {
    fn from(error: Blip2Error) -> Self {
        Self::Model(error)
    }
}

/// Lengths from one token to a dozen, some sampled, and a beam search.
fn options(n: usize) -> Options {
    let config = GenerationConfig::default().with_max_new_tokens(1 + n * 5 % 12);
    Options::default().with_generation(match n % 5 {
        1 => config.with_do_sample(true).with_seed(n as u64),
        3 => config.with_num_beams(3),
        _ => config,
    })
}

fn assert_same(found: &Answer, expected: &Answer, what: &str) {
    assert_eq!(found.tokens, expected.tokens, "{what}");
    assert_eq!(found.text, expected.text, "{what}");
    assert_eq!(found.finish_reason, expected.finish_reason, "{what}");
}

#[test]
fn each_picture_gets_what_it_gets_alone() {
    for name in ["blip2_opt", "blip2_t5", "instructblip_llama"] {
        let blip2 = pipeline(name);
        for (places, in_order) in [(1, false), (3, true), (3, false), (40, true)] {
            let asked = (0..14).map(|n| -> Read<String> {
                match n % 6 {
                    4 => Err(Fault::NoSuchFile(n)),
                    _ => Ok((picture(n), "what is it?".repeat(1 + n % 2))),
                }
            });
            let flow = AnswerFlow::new(&blip2)
                .with_places(places)
                .in_order(in_order)
                .with_options_of(options);
            let mut found: Vec<_> = flow.answers(asked).collect();
            if in_order {
                assert!(found.is_sorted_by_key(|(n, _)| *n), "{name}");
            }
            found.sort_by_key(|(n, _)| *n);
            assert_eq!(found.len(), 14);
            for (place, (n, answer)) in found.into_iter().enumerate() {
                assert_eq!(place, n);
                if n % 6 == 4 {
                    assert!(matches!(answer, Err(Fault::NoSuchFile(at)) if at == n));
                    continue;
                }
                let question = "what is it?".repeat(1 + n % 2);
                let expected = blip2.answer_with(&picture(n), &question, &options(n));
                let what = format!("{name}, picture {n}, {places} places");
                assert_same(&answer.unwrap(), &expected.unwrap(), &what);
            }
        }
    }
}

#[test]
fn blip1_answers_and_describes() {
    let blip = BlipAnswerer::from_pretrained(fixture("blip1_vqa")).unwrap();
    let asked = (0..7).map(|n| -> Read<String> { Ok((picture(n), "what?".repeat(1 + n % 3))) });
    let flow = AnswerFlow::new(&blip).with_places(3).in_order(true);
    for (n, answer) in flow.answers(asked) {
        let expected = blip
            .answer(&picture(n), &"what?".repeat(1 + n % 3))
            .unwrap();
        assert_same(&answer.unwrap(), &expected, &format!("question {n}"));
    }
    let blip = BlipCaptioner::from_pretrained(fixture("blip1_caption")).unwrap();
    let prompt = |n: usize| (n % 3 == 1).then(|| "a picture of a".to_string());
    let pictures = (0..7).map(move |n| -> Read<_> { Ok((picture(n), prompt(n))) });
    let found: Vec<_> = AnswerFlow::new(&blip)
        .with_places(2)
        .captions(pictures)
        .collect();
    assert_eq!(found.len(), 7);
    for (n, answer) in found {
        let expected = match prompt(n) {
            Some(prompt) => blip.prompt(&picture(n), &prompt),
            None => blip.caption(&picture(n)),
        };
        assert_same(
            &answer.unwrap(),
            &expected.unwrap(),
            &format!("caption {n}"),
        );
    }
}

#[test]
fn beam_searches_run_together() {
    for name in ["blip2_opt", "blip2_t5"] {
        let blip2 = pipeline(name);
        let config = GenerationConfig::default()
            .with_num_beams(3)
            .with_num_return_sequences(2)
            .with_max_new_tokens(9);
        let options = Options::default().with_generation(config);
        let pictures = (0..7).map(|n| -> Read<_> { Ok((picture(n), None)) });
        let flow = AnswerFlow::new(&blip2)
            .with_places(4)
            .with_options(options.clone());
        let found: Vec<_> = flow.captions(pictures).collect();
        assert_eq!(found.len(), 7);
        for (n, answer) in found {
            let expected = blip2.caption_with(&picture(n), &options).unwrap();
            let (found, what) = (answer.unwrap(), format!("{name}, picture {n}"));
            assert_same(&found, &expected, &what);
            assert_same(&found.alternatives[0], &expected.alternatives[0], &what);
        }
    }
}

#[test]
fn what_is_wrong_with_a_picture_is_its_own_result() {
    let blip2 = pipeline("blip2_opt");
    let texts = ["what?", " ", "is it raining?"];
    let asked = texts.map(|text| -> Read<String> { Ok((picture(1), text.to_string())) });
    let flow = AnswerFlow::new(&blip2).in_order(true);
    let found: Vec<_> = flow.answers(asked.into_iter()).collect();
    assert!(found[0].1.is_ok() && found[2].1.is_ok());
    let refused = &found[1].1;
    assert!(matches!(
        refused,
        Err(Fault::Model(Blip2Error::EmptyQuestion))
    ));

    let empty = RgbImage::new(0, 0);
    let pictures = [picture(1), empty, picture(2)].map(|image| -> Read<_> { Ok((image, None)) });
    let found: Vec<_> = AnswerFlow::new(&blip2)
        .in_order(true)
        .captions(pictures.into_iter())
        .collect();
    let ok: Vec<bool> = found.iter().map(|(_, answer)| answer.is_ok()).collect();
    assert_eq!(ok, [true, false, true]);
}

#[test]
fn a_flow_that_is_cancelled_ends_with_what_there_is() {
    let blip2 = pipeline("blip2_t5");
    let cancel = CancelToken::new();
    let options = Options::default().with_cancel(cancel.clone());
    let endless = std::iter::repeat_with(|| -> Read<_> { Ok((picture(1), None)) });
    let mut flowing = AnswerFlow::new(&blip2)
        .with_places(2)
        .with_options(options)
        .captions(endless);
    assert_ne!(
        flowing.next().unwrap().1.unwrap().finish_reason,
        FinishReason::Cancelled
    );
    cancel.cancel();
    // All that is running, and whatever comes, ends at once.
    let stopped = flowing.by_ref().skip(2).take(5);
    for (_, answer) in stopped {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.finish_reason, answer.tokens.len()),
            (FinishReason::Cancelled, 0)
        );
    }
}

/// Where there is memory for some answers and not for all that there are places for, fewer grow.
#[test]
fn little_memory_leaves_places_empty() {
    let plan = pipeline("blip2_opt");
    let peak = |batch| {
        let work = Workload::default().with_batch(batch).with_new_tokens(60);
        inspect(fixture("blip2_opt")).unwrap().peak_memory(&work)[0].1
    };
    let limited = Blip2Pipeline::builder(fixture("blip2_opt"))
        .memory_limit(peak(4))
        .load()
        .unwrap();
    let long = GenerationConfig::default().with_max_new_tokens(60);
    let options = Options::default().with_generation(long);
    let all: Vec<_> = (0..40).map(picture).collect();
    assert!(limited.caption_batch(&all, &options).is_err());
    let pictures = (0..40).map(|n| -> Read<_> { Ok((picture(n), None)) });
    let flow = AnswerFlow::new(&limited)
        .with_places(40)
        .with_options(options.clone());
    let found: Vec<_> = flow.captions(pictures).collect();
    assert_eq!(found.len(), 40);
    for (n, answer) in found {
        let expected = plan.caption_with(&picture(n), &options).unwrap();
        assert_same(&answer.unwrap(), &expected, &format!("picture {n}"));
    }
}

#[test]
fn a_panic_of_the_iterator_is_no_end_of_it() {
    let blip2 = pipeline("blip2_opt");
    let pictures = (0..3).map(|n| -> Read<Option<String>> {
        assert!(n < 2, "the third is broken");
        Ok((picture(n), None))
    });
    let flowing = AnswerFlow::new(&blip2).captions(pictures);
    let counted = panic::catch_unwind(AssertUnwindSafe(|| flowing.count()));
    assert!(counted.is_err());
}
