//! Each verb in each of its forms, stopped calls, and results that travel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use blip2_core::{
    Answer, AnswerBatch, AnswerRequest, AnswerStream, Blip2Error, Blip2Pipeline, Blip2Retrieval,
    BlipAnswerer, BlipCaptioner, BlipRetrieval, Builder, CancelToken, CompareOptions, EncodedImage,
    EncodedPhoto, FinishReason, GenerationConfig, Grammar, ImageEmbedder, ImageEmbedding,
    MatchScore, Options, RankOptions, Ranked, Seen, TextEmbedder, TextEmbedding, TypedAnswer,
    generate::NextTokens,
};
use blip2_testing::{fixture, picture};
use image::RgbImage;

use crate::common::pipeline;

const QUESTIONS: [&str; 3] = ["what?", "how many cats are there?", "is it raining?"];

fn answerer() -> BlipAnswerer {
    BlipAnswerer::from_pretrained(fixture("blip1_vqa")).unwrap()
}

fn captioner() -> BlipCaptioner {
    BlipCaptioner::from_pretrained(fixture("blip1_caption")).unwrap()
}

#[test]
fn handles_and_what_they_hand_out_are_owned() {
    fn stored<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    stored::<Blip2Pipeline>();
    stored::<Blip2Retrieval>();
    stored::<BlipAnswerer>();
    stored::<BlipCaptioner>();
    stored::<BlipRetrieval>();
    stored::<Seen<Blip2Pipeline>>();
    stored::<Seen<BlipAnswerer>>();
    stored::<Seen<BlipCaptioner>>();
    stored::<ImageEmbedder>();
    stored::<TextEmbedder>();
    stored::<ImageEmbedding>();
    stored::<TextEmbedding>();
    stored::<EncodedPhoto>();
    stored::<EncodedImage>();
    stored::<Options>();
    stored::<RankOptions>();
    sent::<AnswerStream>();
    sent::<AnswerBatch<Blip2Pipeline>>();
    stored::<AnswerRequest<Blip2Pipeline>>();
    sent::<Builder<Blip2Pipeline>>();
    sent::<Builder<Blip2Retrieval>>();
    sent::<Builder<BlipAnswerer>>();

    let blip2 = pipeline("blip2_opt");
    let expected = blip2.answer(&picture(1), "what?").unwrap();
    let seen = blip2.look(&picture(1)).unwrap();
    drop(blip2);
    let thread = std::thread::spawn(move || seen.ask("what?").unwrap());
    assert_eq!(thread.join().unwrap().token_ids(), expected.token_ids());
}

/// The pieces of a stream.
fn whole(stream: AnswerStream) -> String {
    stream.map(Result::unwrap).collect()
}

#[test]
fn a_stream_goes_to_another_thread_and_outlives_its_pipeline() {
    let image = picture(2);
    for name in ["blip2_opt", "blip2_t5"] {
        let blip2 = pipeline(name);
        let expected = blip2.answer(&image, QUESTIONS[1]).unwrap();
        let mut stream = blip2.stream_answer(&image, QUESTIONS[1]).unwrap();
        let first = stream.next().unwrap().unwrap();
        drop(blip2);
        let rest = std::thread::spawn(move || whole(stream)).join().unwrap();
        let text = first + &rest;
        assert_eq!(text.trim_end(), expected.text, "{name}");
    }
    let blip = answerer();
    let expected = blip.answer(&image, QUESTIONS[1]).unwrap();
    let stream = blip.look(&image).unwrap().ask_stream(QUESTIONS[1]).unwrap();
    drop(blip);
    let text = std::thread::spawn(move || whole(stream)).join().unwrap();
    assert_eq!(text, expected.text);
    let blip = captioner();
    let expected = blip.caption(&image).unwrap();
    let stream = blip.stream_caption(&image).unwrap();
    drop(blip);
    let text = std::thread::spawn(move || whole(stream)).join().unwrap();
    assert_eq!(text, expected.text);
}

#[test]
fn questions_and_captions_are_streamed_as_they_are_answered() {
    let options =
        Options::default().with_generation(GenerationConfig::default().with_max_new_tokens(5));
    for name in ["blip2_opt", "blip2_t5"] {
        let (blip2, image) = (pipeline(name), picture(2));
        let seen = blip2.look(&image).unwrap();
        for question in QUESTIONS {
            let answer = blip2.answer(&image, question).unwrap();
            assert_eq!(
                whole(blip2.stream_answer(&image, question).unwrap()),
                answer.text
            );
            assert_eq!(whole(seen.ask_stream(question).unwrap()), answer.text);
            let short = blip2.answer_with(&image, question, &options).unwrap();
            let stream = blip2.stream_answer_with(&image, question, &options);
            assert_eq!(whole(stream.unwrap()), short.text);
            assert_eq!(
                whole(seen.ask_stream_with(question, &options).unwrap()),
                short.text
            );
        }
        let caption = blip2.caption(&image).unwrap();
        assert_eq!(whole(blip2.stream_caption(&image).unwrap()), caption.text);
        assert_eq!(whole(seen.caption_stream().unwrap()), caption.text);
    }
    let (blip, image) = (answerer(), picture(2));
    let answer = blip.answer(&image, QUESTIONS[1]).unwrap();
    assert_eq!(
        whole(blip.stream_answer(&image, QUESTIONS[1]).unwrap()),
        answer.text
    );
    let (blip, beginning) = (captioner(), "a picture of");
    let prompted = blip.prompt(&image, beginning).unwrap();
    assert_eq!(
        whole(blip.stream(&image, beginning).unwrap()),
        prompted.text
    );
}

#[test]
fn white_space_before_a_stop_string_is_streamed_no_more_than_answered() {
    let (blip, image) = (captioner(), picture(2));
    let options =
        Options::default().with_generation(GenerationConfig::default().with_max_new_tokens(20));
    let written = blip.prompt_with(&image, "a", &options).unwrap().text;
    let words: Vec<&str> = written.split(' ').collect();
    assert!(words.len() > 3, "{written}");
    for word in &words[1..] {
        let config = GenerationConfig::default().with_max_new_tokens(20);
        let config = config.with_stop_strings(vec![(*word).to_string()]);
        let options = Options::default().with_generation(config);
        let answer = blip.prompt_with(&image, "a", &options).unwrap();
        let streamed = blip.stream_with(&image, "a", &options).unwrap();
        assert_eq!(whole(streamed), answer.text, "until {word}");
    }
}

#[test]
fn a_picture_that_was_seen_has_every_form() {
    let options = Options::default();
    let (blip, image) = (answerer(), picture(3));
    let seen = blip.look(&image).unwrap();
    assert!(seen.timings().vision.is_some());
    let together = seen.ask_batch(QUESTIONS, &options).unwrap();
    for (question, answer) in QUESTIONS.iter().zip(&together) {
        let direct = blip.answer(&image, question).unwrap();
        let asked = seen.ask(question).unwrap();
        assert_eq!(
            asked.timings.vision, None,
            "the image encoder does not run again"
        );
        assert_eq!(direct.token_ids(), asked.token_ids(), "{question}");
        assert_eq!(direct.token_ids(), answer.token_ids(), "{question}");
        let candidates = ["two", "yellow bus", "cat"];
        let ranked = blip.rank(&image, question, &candidates).unwrap();
        assert_eq!(
            seen.rank(question, &candidates).unwrap()[0].text,
            ranked[0].text
        );
        assert_eq!(
            seen.ask_one_of(question, &candidates).unwrap().text,
            ranked[0].text
        );
        let typed = blip.answer_as::<u8>(&image, question).unwrap();
        assert_eq!(seen.ask_as::<u8>(question).unwrap().value, typed.value);
    }
    let blip = captioner();
    let seen = blip.look(&image).unwrap();
    let caption = blip.caption(&image).unwrap();
    assert_eq!(seen.caption().unwrap().token_ids(), caption.token_ids());
    let prompts = ["a picture of", "", "a dog"];
    for (prompt, together) in prompts
        .iter()
        .zip(seen.prompt_batch(prompts, &options).unwrap())
    {
        let direct = blip.prompt(&image, prompt).unwrap();
        assert_eq!(seen.prompt(prompt).unwrap().token_ids(), direct.token_ids());
        assert_eq!(together.token_ids(), direct.token_ids());
    }
    let blip2 = pipeline("blip2_t5");
    let seen = blip2.look(&image).unwrap();
    let direct = blip2.caption_with(&image, &options).unwrap();
    assert_eq!(
        seen.caption_with(&options).unwrap().token_ids(),
        direct.token_ids()
    );
    let ranked = seen
        .rank_batch(QUESTIONS, &["yes", "no"], &RankOptions::default())
        .unwrap();
    for (question, ranked) in QUESTIONS.iter().zip(ranked) {
        let alone = seen.rank(question, &["yes", "no"]).unwrap();
        assert_eq!(alone[0].text, ranked[0].text);
    }
}

#[test]
fn blip1_has_no_template_to_replace() {
    let options = Options::default().with_template("Q: {}".parse().unwrap());
    let error = answerer()
        .answer_with(&picture(0), "what?", &options)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Blip2Error::Setting {
                setting: "template",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_error_of_a_batch_names_the_item() {
    let blip2 = pipeline("blip2_opt");
    let images: Vec<_> = (0..3).map(picture).collect();
    let options = Options::default();
    let pairs = images.iter().zip(["what?", "who?", "  "]);
    let error = blip2.answer_batch(pairs, &options).unwrap_err();
    assert!(
        error.to_string().starts_with("item 2 of the batch"),
        "{error}"
    );
    let Blip2Error::Item { index: 2, source } = error else {
        panic!("{error}");
    };
    assert!(matches!(*source, Blip2Error::EmptyQuestion));

    let empty = RgbImage::new(0, 5);
    let shown = [&images[0], &empty];
    let error = blip2.caption_batch(shown, &options).unwrap_err();
    assert!(
        matches!(error, Blip2Error::Item { index: 1, .. }),
        "{error}"
    );
    // Alone there is no batch to speak of.
    let error = blip2.caption(&empty).unwrap_err();
    assert!(matches!(error, Blip2Error::Image(_)), "{error}");

    let itr = Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap();
    let error = itr
        .embed_text_batch(["a dog", ""], &CompareOptions::default())
        .unwrap_err();
    assert!(
        matches!(error, Blip2Error::Item { index: 1, .. }),
        "{error}"
    );
    let error = answerer().answer_batch([(&images[0], "what?"), (&images[1], "")], &options);
    assert!(matches!(error, Err(Blip2Error::Item { index: 1, .. })));
}

#[test]
fn each_item_has_a_result_of_its_own() {
    let blip2 = pipeline("blip2_opt");
    let (good, empty) = (picture(1), RgbImage::new(0, 5));
    let options = Options::default();
    let pairs = [
        (&good, "what?"),
        (&empty, "what?"),
        (&good, " "),
        (&good, "who?"),
    ];
    let results = blip2.answer_each(pairs, &options);
    assert!(matches!(results[1], Err(Blip2Error::Image(_))));
    assert!(matches!(results[2], Err(Blip2Error::EmptyQuestion)));
    for (place, question) in [(0, "what?"), (3, "who?")] {
        let alone = blip2.answer(&good, question).unwrap();
        let each = results[place].as_ref().unwrap();
        assert_eq!(each.token_ids(), alone.token_ids(), "{question}");
    }
    let captions = blip2.caption_each([&empty, &good], &options);
    assert!(captions[0].is_err() && captions[1].is_ok());
    let prompts = [(&good, "a photo of"), (&good, "an <image>")];
    let prompts = blip2.prompt_each(prompts, &options);
    assert!(prompts[0].is_ok());
    assert!(matches!(
        prompts[1],
        Err(Blip2Error::PlaceholderInPrompt { .. })
    ));
    let seen = blip2.look(&good).unwrap();
    let asked = seen.ask_each(["", "what?"], &options);
    assert!(asked[0].is_err() && asked[1].is_ok());
    let blip1 = answerer().answer_each([(&good, ""), (&good, "what?")], &options);
    assert!(blip1[0].is_err() && blip1[1].is_ok());
    let blip1 = captioner().caption_each([&good, &empty], &options);
    assert!(blip1[0].is_ok() && blip1[1].is_err());
}

/// Counts the stages that run, by the spans they open.
struct Stages(Arc<AtomicUsize>);

impl tracing::Subscriber for Stages {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "stage"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.0.fetch_add(1, Ordering::Relaxed);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Options of calls that are stopped before they begin, and how they end.
fn stopped() -> [(Options, FinishReason); 3] {
    let cancel = CancelToken::new();
    cancel.cancel();
    [
        (
            Options::default().with_cancel(cancel),
            FinishReason::Cancelled,
        ),
        (
            Options::default().with_deadline(Instant::now()),
            FinishReason::Deadline,
        ),
        (
            Options::default().with_timeout(Duration::ZERO),
            FinishReason::Deadline,
        ),
    ]
}

#[test]
fn a_stopped_call_runs_no_stage_and_says_why() {
    let (blip2, blip1, instruct) = (
        pipeline("blip2_opt"),
        answerer(),
        pipeline("instructblip_t5"),
    );
    let image = picture(4);
    let seen = blip2.look(&image).unwrap();
    let stages = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Stages(stages.clone()));
    for (options, reason) in stopped() {
        let nothing = |answer: Answer| {
            assert_eq!(answer.finish_reason, reason);
            assert!(answer.text.is_empty() && answer.tokens.is_empty());
        };
        nothing(blip2.answer_with(&image, "what?", &options).unwrap());
        nothing(blip1.answer_with(&image, "what?", &options).unwrap());
        nothing(instruct.answer_with(&image, "what?", &options).unwrap());
        nothing(seen.ask_with("what?", &options).unwrap());
        for answer in blip2.caption_batch([&image, &image], &options).unwrap() {
            nothing(answer);
        }
        let mut stream = blip2.stream_answer_with(&image, "what?", &options).unwrap();
        assert!(stream.next().is_none());
        assert_eq!(stream.finish_reason(), Some(reason));
        let looked = blip2.look_with(&image, &options);
        match reason {
            FinishReason::Deadline => assert!(matches!(looked, Err(Blip2Error::Deadline))),
            _ => assert!(matches!(looked, Err(Blip2Error::Cancelled))),
        }
        let typed = blip2.answer_as_with::<bool>(&image, "is it?", &options);
        match typed.map(|_| ()) {
            Err(Blip2Error::Unfinished { reason: found, .. }) => assert_eq!(found, reason),
            other => panic!("{other:?}"),
        }
    }
    let cancel = CancelToken::new().until(Instant::now());
    let ranking = RankOptions::default().with_cancel(cancel);
    let ranked = blip2.rank_with(&image, "what?", &["a", "b"], &ranking);
    assert!(matches!(ranked, Err(Blip2Error::Deadline)));
    assert_eq!(stages.load(Ordering::Relaxed), 0, "no stage ran");
}

#[test]
fn a_deadline_ends_an_answer_with_what_there_is() {
    let blip2 = pipeline("blip2_opt");
    let config = GenerationConfig::default()
        .with_max_new_tokens(60)
        .with_min_new_tokens(60);
    let seen = blip2.look(&picture(5)).unwrap();
    // A constraint that takes its time: three tokens at most before the deadline.
    let options = Options::default()
        .with_generation(config)
        .with_timeout(Duration::from_millis(250))
        .with_constraint_fn(|_| {
            std::thread::sleep(Duration::from_millis(100));
            NextTokens::Any
        });
    let answer = seen.ask_with("what?", &options).unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Deadline);
    assert!((1..=3).contains(&answer.tokens.len()), "{answer:?}");
    // The next call has its own time.
    let again = seen.ask_with("what?", &options).unwrap();
    assert!(!again.tokens.is_empty());
}

#[test]
fn a_closure_constrains() {
    let blip2 = pipeline("blip2_opt");
    let options = Options::default().with_constraint_fn(|at| {
        let odd = (5..60).filter(|id| id % 2 == 1 && !at.generated().contains(id));
        NextTokens::Only(odd.collect())
    });
    let answer = blip2.answer_with(&picture(6), "what?", &options).unwrap();
    let mut ids = answer.token_ids();
    assert!(ids.len() > 1 && ids.iter().all(|id| id % 2 == 1), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), answer.tokens.len(), "none comes twice");
}

#[derive(Debug)]
struct Picky;

impl TypedAnswer for Picky {
    fn grammar() -> Grammar {
        Grammar::one_of(["yes", "no"])
    }

    fn parse(_: &str) -> Option<Self> {
        None
    }
}

#[test]
fn a_parser_that_refuses_is_told_apart_from_a_call_that_was_stopped() {
    let blip2 = pipeline("blip2_opt");
    let error = blip2.answer_as::<Picky>(&picture(0), "is it?").unwrap_err();
    let text = error.to_string();
    let Blip2Error::Unparsed {
        text: answer,
        wanted,
        ..
    } = error
    else {
        panic!("{text}");
    };
    assert!(["yes", "no"].contains(&answer.as_str()) && wanted.contains("Picky"));
    assert!(
        text.contains(&answer) && !text.contains("cancelled"),
        "{text}"
    );
}

#[test]
fn the_tokens_of_an_answer_have_their_texts() {
    for name in ["blip2_opt", "blip2_t5"] {
        let blip2 = pipeline(name);
        let answer = blip2
            .answer(&picture(2), "how many cats are there?")
            .unwrap();
        let pieces: String = answer.tokens.iter().map(ToString::to_string).collect();
        assert_eq!(pieces.trim(), answer.text, "{name}");
        let ids = answer.token_ids();
        assert_eq!(
            blip2.tokenizer().decode(&ids, true).unwrap().trim(),
            answer.text
        );
        assert!(answer.tokens.iter().all(|token| token.log_prob <= 0.0));
    }
}

fn travel<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[test]
fn results_travel() {
    let blip2 = pipeline("blip2_opt");
    let answer = blip2.answer(&picture(1), "what?").unwrap();
    assert_eq!(travel::<Answer>(&answer), answer);
    let ranked = blip2.rank(&picture(1), "what?", &["a", "b"]).unwrap();
    assert_eq!(travel::<Vec<Ranked>>(&ranked), ranked);

    let itr = Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap();
    let score = itr
        .match_batch([(&picture(1), "a dog")], &CompareOptions::default())
        .unwrap();
    assert_eq!(travel::<Vec<MatchScore>>(&score), score);
    let photo = itr.encode(&picture(1)).unwrap();
    assert_eq!(travel(&photo), photo);
    let (image, text) = (&photo.embedding, itr.embed_text("a dog").unwrap());
    assert_eq!(travel::<TextEmbedding>(&text), text);
    let rebuilt = ImageEmbedding::from_values(image.dim(), image.values().to_vec()).unwrap();
    assert_eq!(&rebuilt, image);
    let rebuilt = TextEmbedding::from_values(text.vector().to_vec()).unwrap();
    assert_eq!(rebuilt, text);

    for (dim, values) in [
        (0, vec![]),
        (2, vec![1.0, 0.0, 1.0]),
        (2, vec![3.0, 4.0]),
        (2, vec![f32::NAN, 1.0]),
    ] {
        let error = ImageEmbedding::from_values(dim, values).unwrap_err();
        assert!(matches!(error, Blip2Error::Embedding { .. }), "{error}");
    }
    let damaged = serde_json::from_str::<TextEmbedding>("[1.0, 1.0]").unwrap_err();
    assert!(damaged.to_string().contains("length"), "{damaged}");
}

#[test]
fn retrieval_of_both_generations_has_the_same_forms() {
    let image = picture(3);
    let texts = ["a dog", "two cats on the big yellow bus"];
    macro_rules! check {
        ($itr:expr) => {
            let itr = $itr;
            let photo = itr.encode(&image).unwrap();
            let pairs = texts.map(|text| (&image, text));
            let similar = itr
                .similarity_batch(pairs, &CompareOptions::default())
                .unwrap();
            let scores = itr.match_batch(pairs, &CompareOptions::default()).unwrap();
            for ((text, similar), score) in texts.iter().zip(similar).zip(scores) {
                assert!((itr.similarity(&image, text).unwrap() - similar).abs() < 1e-5);
                let encoded = itr.similarity_encoded([&photo, &photo], text).unwrap();
                assert!(encoded.iter().all(|other| (other - similar).abs() < 1e-5));
                let matched = itr.match_encoded([&photo, &photo], text).unwrap();
                assert_eq!(matched.len(), 2);
                assert!((matched[1].logit - score.logit).abs() < 1e-3);
            }
            let options = CompareOptions::default();
            let each = itr.match_each(
                [(&image, "a dog"), (&image, ""), (&image, "cats")],
                &options,
            );
            assert_eq!(each.len(), 3);
            assert!(each[0].is_ok() && each[2].is_ok());
            assert!(matches!(each[1], Err(Blip2Error::EmptyText)));
            let each = itr.embed_text_each(["", "a dog"], &options);
            assert_eq!(*each[1].as_ref().unwrap(), itr.embed_text("a dog").unwrap());
            assert!(matches!(each[0], Err(Blip2Error::EmptyText)));
            let nothing = RgbImage::new(0, 0);
            let each = itr.embed_image_each([&nothing, &image], &options);
            assert!(each[0].is_err() && each[1].is_ok());
            let each = itr.encode_each([&image, &nothing], &options);
            assert!(each[0].is_ok() && each[1].is_err());

            let cancel = CancelToken::new();
            cancel.cancel();
            let cancelled = CompareOptions::default().with_cancel(cancel);
            let late = CompareOptions::default().with_timeout(Duration::ZERO);
            let deadline = CompareOptions::default().with_deadline(Instant::now());
            for options in [&cancelled, &late, &deadline] {
                let errors = [
                    itr.match_probability_with(&image, "a dog", options)
                        .unwrap_err(),
                    itr.similarity_with(&image, "a dog", options).unwrap_err(),
                    itr.embed_image_with(&image, options).unwrap_err(),
                    itr.embed_text_with("a dog", options).unwrap_err(),
                    itr.encode_with(&image, options).unwrap_err(),
                    itr.match_encoded_with([&photo], "a dog", options)
                        .unwrap_err(),
                    itr.match_each([(&image, "a dog")], options)
                        .remove(0)
                        .unwrap_err(),
                ];
                for error in errors {
                    match std::ptr::eq(options, &cancelled) {
                        true => assert!(matches!(error, Blip2Error::Cancelled), "{error}"),
                        false => assert!(matches!(error, Blip2Error::Deadline), "{error}"),
                    }
                }
            }
        };
    }
    check!(Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap());
    check!(BlipRetrieval::from_pretrained(fixture("blip1_itr")).unwrap());
}

#[test]
fn bytes_are_decoded_within_the_limits() {
    use blip2_core::preprocessing::{DecodeOptions, ImageLimits};

    let mut png = std::io::Cursor::new(Vec::new());
    picture(0)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let png = png.into_inner();
    assert_eq!(pipeline("blip2_opt").decode(&png).unwrap(), picture(0));
    assert_eq!(answerer().decode(&png).unwrap(), picture(0));
    let limits = ImageLimits::default().with_max_pixels(100);
    let strict = DecodeOptions::default().with_limits(limits);
    let strict = Blip2Retrieval::builder(fixture("blip2_itr")).decode_options(strict);
    let error = strict.load().unwrap().decode(&png).unwrap_err();
    assert!(matches!(error, Blip2Error::Image(_)), "{error}");
    assert!(pipeline("blip2_opt").decode(b"no picture").is_err());
}
