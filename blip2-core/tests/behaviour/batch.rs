//! Requests that have nothing to do with one another, answered together.

use blip2_core::{
    Answer, AnswerBatch, AnswerRequest, Answers, Blip2Error, BlipAnswerer, BlipCaptioner,
    CancelToken, FinishReason, GenerationConfig, Options, Seen, Writer,
};
use blip2_testing::{fixture, picture};

use crate::common::pipeline;

const QUESTIONS: [&str; 4] = [
    "what?",
    "how many cats are there, and where are they sitting?",
    "is it raining?",
    "what color?",
];

fn options(n: usize) -> Options {
    let config = GenerationConfig::default().with_max_new_tokens(3 + 4 * n);
    Options::default().with_generation(match n {
        1 => config
            .with_do_sample(true)
            .with_temperature(1.4)
            .with_seed(5),
        2 => config.with_do_sample(true).with_num_return_sequences(2),
        3 => config.with_num_beams(3).with_num_return_sequences(2),
        _ => config,
    })
}

/// Runs requests to their end; the text that was streamed of each one's first sequence.
fn run<P: Writer>(requests: Vec<AnswerRequest<P>>) -> (Vec<Answer>, Vec<String>) {
    let mut batch = AnswerBatch::start(requests).unwrap();
    let mut texts = vec![String::new(); batch.len()];
    let mut answers: Vec<Option<Answer>> = vec![None; batch.len()];
    while !batch.is_finished() {
        for piece in batch.step().unwrap() {
            if piece.sequence == 0 {
                texts[piece.request].push_str(&piece.text);
            }
        }
        for (request, answer) in batch.take_ended() {
            assert!(answers[request].replace(answer.unwrap()).is_none());
        }
    }
    (answers.into_iter().map(Option::unwrap).collect(), texts)
}

fn assert_same(found: &Answer, expected: &Answer, what: &str) {
    assert_eq!(found.text, expected.text, "{what}");
    assert_eq!(found.tokens, expected.tokens, "{what}");
    assert_eq!(found.finish_reason, expected.finish_reason, "{what}");
    assert_eq!(found.score, expected.score, "{what}");
    assert_eq!(
        found.alternatives.len(),
        expected.alternatives.len(),
        "{what}"
    );
    for (found, expected) in found.alternatives.iter().zip(&expected.alternatives) {
        assert_same(found, expected, what);
    }
}

/// Asks about two pictures by turns.
fn asks_as_alone<P: Answers>(what: &str, seen: [Seen<P>; 2]) {
    let ask = |n: usize| (&seen[n % 2], QUESTIONS[n % 4], options(n % 4));
    let requests = (0..8).map(|n| {
        let (seen, question, options) = ask(n);
        seen.request(question, &options).unwrap()
    });
    let (answers, texts) = run(requests.collect());
    for n in 0..8 {
        let (seen, question, options) = ask(n);
        let expected = seen.ask_with(question, &options).unwrap();
        assert_same(&answers[n], &expected, &format!("{what}, request {n}"));
        assert_eq!(texts[n].trim(), expected.text, "{what}, request {n}");
    }
}

#[test]
fn each_request_gets_what_it_gets_alone() {
    for name in [
        "blip2_opt",
        "blip2_t5",
        "instructblip_t5",
        "instructblip_llama",
    ] {
        let blip2 = pipeline(name);
        asks_as_alone(name, [1, 2].map(|n| blip2.look(&picture(n)).unwrap()));
        // Looked at together, too.
        let both = [&picture(1), &picture(2)];
        let together = blip2.look_batch(both, &Options::default()).unwrap();
        for (seen, picture) in together.iter().zip(both) {
            let expected = blip2.look(picture).unwrap();
            assert_eq!(seen.size_in_bytes(), expected.size_in_bytes());
            let (found, expected) = (seen.ask("what?"), expected.ask("what?"));
            assert_same(&found.unwrap(), &expected.unwrap(), name);
        }
    }
    let blip = BlipAnswerer::from_pretrained(fixture("blip1_vqa")).unwrap();
    asks_as_alone("blip1_vqa", [1, 2].map(|n| blip.look(&picture(n)).unwrap()));
}

/// Eight requests of every kind, of which two begin at a time, two steps after those before.
fn joins_as_alone<P: Answers>(what: &str, seen: [Seen<P>; 2]) {
    let ask = |n: usize| (&seen[n % 2], QUESTIONS[n % 4], options(n % 4));
    let mut batch = AnswerBatch::start(Vec::new()).unwrap();
    for first in [0, 2, 4, 6] {
        let requests = [first, first + 1].map(|n| {
            let (seen, question, options) = ask(n);
            seen.request(question, &options).unwrap()
        });
        batch.has_room(&requests).unwrap();
        batch
            .join(AnswerBatch::start(requests.into()).unwrap())
            .unwrap();
        assert_eq!(batch.len(), first + 2);
        batch.step().unwrap();
        batch.step().unwrap();
    }
    while !batch.is_finished() {
        batch.step().unwrap();
    }
    assert_eq!(batch.growing(), 0);
    for (n, found) in batch.into_answers().into_iter().enumerate() {
        let (seen, question, options) = ask(n);
        let (found, expected) = (found.unwrap(), seen.ask_with(question, &options).unwrap());
        assert_same(&found, &expected, &format!("{what}, request {n}"));
        assert!(found.timings.prefill.is_some() && found.timings.decode.is_some());
    }
}

#[test]
fn requests_join_a_batch_that_runs() {
    for name in [
        "blip2_opt",
        "blip2_t5",
        "instructblip_t5",
        "instructblip_llama",
    ] {
        let blip2 = pipeline(name);
        joins_as_alone(name, [1, 2].map(|n| blip2.look(&picture(n)).unwrap()));
    }
    let blip = BlipAnswerer::from_pretrained(fixture("blip1_vqa")).unwrap();
    joins_as_alone("blip1_vqa", [1, 2].map(|n| blip.look(&picture(n)).unwrap()));

    let of = |name: &str| {
        let seen = pipeline(name).look(&picture(1)).unwrap();
        AnswerBatch::start(vec![seen.request("what?", &Options::default()).unwrap()]).unwrap()
    };
    let refused = of("blip2_opt")
        .join(of("blip2_opt"))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("several models"), "{refused}");
}

#[test]
fn captions_and_prompts_run_with_questions() {
    let blip2 = pipeline("blip2_opt");
    let seen = blip2.look(&picture(1)).unwrap();
    let options = Options::default();
    let requests = vec![
        seen.request_caption(&options).unwrap(),
        seen.request_prompt("a photo of", &options).unwrap(),
        seen.request("what?", &options).unwrap(),
    ];
    let (answers, _) = run(requests);
    assert_same(&answers[0], &seen.caption().unwrap(), "caption");
    assert_same(&answers[1], &seen.prompt("a photo of").unwrap(), "prompt");
    assert_same(&answers[2], &seen.ask("what?").unwrap(), "question");

    let blip = BlipCaptioner::from_pretrained(fixture("blip1_caption")).unwrap();
    let seen = blip.look(&picture(1)).unwrap();
    let requests = vec![
        seen.request_caption(&options).unwrap(),
        seen.request_prompt("a picture of a small", &options)
            .unwrap(),
    ];
    let (answers, _) = run(requests);
    assert_same(&answers[0], &seen.caption().unwrap(), "caption of BLIP-1");
    let expected = seen.prompt("a picture of a small").unwrap();
    assert_same(&answers[1], &expected, "prompt of BLIP-1");
}

#[test]
fn company_takes_no_room_from_a_request_near_the_end_of_the_context() {
    let blip2 = pipeline("blip2_opt");
    let seen = blip2.look(&picture(1)).unwrap();
    // As many tokens as fit behind a short question, and a long one that leaves less.
    let until_full = GenerationConfig::default().with_max_new_tokens(10_000);
    let options = Options::default().with_generation(until_full);
    let long = "what is it, and where, and when, and whose, and why? ".repeat(2);
    let expected = seen.ask_with("what?", &options).unwrap();
    assert_eq!(expected.finish_reason, FinishReason::ContextFull);
    let requests = vec![
        seen.request("what?", &options).unwrap(),
        seen.request(&long, &options).unwrap(),
    ];
    let (answers, _) = run(requests);
    assert_same(&answers[0], &expected, "short");
    assert_same(
        &answers[1],
        &seen.ask_with(&long, &options).unwrap(),
        "long",
    );
}

#[test]
fn one_that_is_cancelled_ends_with_what_it_has_and_the_others_go_on() {
    let blip2 = pipeline("blip2_t5");
    let seen = blip2.look(&picture(1)).unwrap();
    let cancel = CancelToken::new();
    let stopped = Options::default().with_cancel(cancel.clone());
    let late = CancelToken::new();
    late.cancel();
    let requests = vec![
        seen.request("what?", &Options::default()).unwrap(),
        seen.request("what?", &stopped).unwrap(),
        seen.request("what?", &Options::default().with_cancel(late))
            .unwrap(),
    ];
    let mut batch = AnswerBatch::start(requests).unwrap();
    batch.step().unwrap();
    batch.step().unwrap();
    cancel.cancel();
    while !batch.is_finished() {
        batch.step().unwrap();
    }
    let answers: Vec<Answer> = batch
        .into_answers()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_same(
        &answers[0],
        &seen.ask("what?").unwrap(),
        "the one that went on",
    );
    assert_eq!(answers[1].finish_reason, FinishReason::Cancelled);
    assert_eq!(answers[1].tokens, answers[0].tokens[..2]);
    assert_eq!(
        (answers[2].finish_reason, answers[2].tokens.len()),
        (FinishReason::Cancelled, 0)
    );
}

#[test]
fn what_cannot_be_answered_is_refused_before_it_joins() {
    let blip2 = pipeline("blip2_opt");
    let seen = blip2.look(&picture(1)).unwrap();
    let options = Options::default();
    assert!(matches!(
        seen.request(" ", &options),
        Err(Blip2Error::EmptyQuestion)
    ));
    let none = Options::default().with_generation(GenerationConfig::default().with_num_beams(0));
    assert!(seen.request("what?", &none).is_err());
    let other = pipeline("blip2_opt").look(&picture(1)).unwrap();
    let mixed = [&seen, &other].map(|seen| seen.request("what?", &options).unwrap());
    let refused = AnswerBatch::start(mixed.into()).unwrap_err().to_string();
    assert!(refused.contains("several models"), "{refused}");
    assert!(
        AnswerBatch::<blip2_core::Blip2Pipeline>::start(vec![])
            .unwrap()
            .is_finished()
    );
}

#[test]
fn a_prompt_that_the_context_has_no_room_for_ends_alone() {
    let blip2 = pipeline("blip2_opt");
    let seen = blip2.look(&picture(1)).unwrap();
    let long = "what ".repeat(3000);
    let options = Options::default();
    let request = |question: &str| seen.request(question, &options).unwrap();
    let requests = ["what?", &long, "what color?"].map(request);
    let mut batch = AnswerBatch::start(requests.to_vec()).unwrap();
    while !batch.is_finished() {
        batch.step().unwrap();
    }
    let answers = batch.into_answers();
    for (answer, question) in [(&answers[0], "what?"), (&answers[2], "what color?")] {
        let alone = seen.ask_with(question, &options).unwrap();
        assert_same(answer.as_ref().unwrap(), &alone, question);
    }
    let error = answers[1].as_ref().unwrap_err();
    assert!(
        matches!(error, Blip2Error::ContextTooLong { .. }),
        "{error}"
    );
}
