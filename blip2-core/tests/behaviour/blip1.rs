//! BLIP-1 as users of its types see it.

use blip2_core::{
    Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, BlipRetrieval, CompareOptions,
    GenerationConfig, Options, Precision, RankOptions,
    generate::{GenerateError, NextTokens},
};
use blip2_testing::{copy, fixture, picture};

const QUESTIONS: [&str; 4] = [
    "how many cats are there?",
    "what color is the big bus near the street?",
    "two?",
    "how many dogs are there?",
];
const ANSWERS: [&str; 3] = ["two", "yellow bus", "cat"];

fn answerer() -> BlipAnswerer {
    BlipAnswerer::from_pretrained(fixture("blip1_vqa")).unwrap()
}

fn beams(num_beams: usize) -> Options {
    Options::default().with_generation(
        GenerationConfig::default()
            .with_max_new_tokens(6)
            .with_num_beams(num_beams),
    )
}

#[test]
fn questions_of_all_lengths_together_are_answered_as_alone() {
    let blip = answerer();
    let pictures: Vec<_> = (0..4).map(picture).collect();
    for num_beams in [1, 3] {
        let options = beams(num_beams);
        let pairs = || pictures.iter().zip(QUESTIONS);
        let together = blip.answer_batch(pairs(), &options).unwrap();
        for ((picture, question), answer) in pairs().zip(together) {
            let alone = blip.answer_with(picture, question, &options).unwrap();
            assert_eq!(alone.token_ids(), answer.token_ids(), "{question}");
            assert_eq!(alone.text, answer.text);
        }
    }
    let none: [(&image::RgbImage, &str); 0] = [];
    assert_eq!(blip.answer_batch(none, &beams(1)).unwrap(), []);
}

/// Rows of one length run together, which neither a constraint nor an error tells.
#[test]
fn rows_are_the_batchs_where_lengths_are_mixed() {
    let blip = answerer();
    let pictures: Vec<_> = (0..4).map(picture).collect();
    let lengths = QUESTIONS.map(|question| blip.tokenizer().encode(question).unwrap().len());
    assert!(lengths[0] == lengths[3] && lengths[0] != lengths[1] && lengths[1] != lengths[2]);
    for wrong in 0..4 {
        let options = beams(1).with_constraint_fn(move |at| match at.row() == wrong {
            true => NextTokens::Only(Vec::new()),
            false => NextTokens::Any,
        });
        let error = blip.answer_batch(pictures.iter().zip(QUESTIONS), &options);
        match error.unwrap_err() {
            Blip2Error::Generate(GenerateError::NoAllowedToken { row, step: 0, .. }) => {
                assert_eq!(row, wrong);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn captions_go_on_with_beginnings_of_all_lengths_as_alone() {
    let blip = BlipCaptioner::from_pretrained(fixture("blip1_caption")).unwrap();
    let pictures: Vec<_> = (0..3).map(picture).collect();
    let pairs = || pictures.iter().zip(["a picture of", "", "a dog"]);
    let together = blip.prompt_batch(pairs(), &beams(3)).unwrap();
    for ((picture, beginning), caption) in pairs().zip(&together) {
        let alone = blip
            .prompt_batch([(picture, beginning)], &beams(3))
            .unwrap();
        assert_eq!(alone[0].token_ids(), caption.token_ids(), "{beginning}");
    }
    let plain = blip.caption_batch([&pictures[1]], &beams(3)).unwrap();
    assert_eq!(plain[0].token_ids(), together[1].token_ids());
    assert!(blip.caption(&pictures[0]).unwrap().timings.vision.is_some());
}

/// What ranking says of an answer is what generating it costs: the likeliest of all answers of one
/// token is the one that greedy decoding writes.
#[test]
fn ranking_agrees_with_generation() {
    let blip = answerer();
    let options = RankOptions::default().with_open_ended(true);
    for seed in 0..3 {
        let image = picture(seed);
        let one =
            Options::default().with_generation(GenerationConfig::default().with_max_new_tokens(1));
        let free = blip.answer_with(&image, QUESTIONS[0], &one).unwrap();
        if free.text.is_empty() {
            continue;
        }
        let candidates = [free.text.as_str(), "a", "b", "c", "t"];
        let ranked = blip.rank_batch([(&image, QUESTIONS[0])], &candidates, &options);
        let ranked = ranked.unwrap().remove(0);
        let same = ranked.iter().find(|ranked| ranked.index == 0).unwrap();
        assert!(
            (same.score - free.log_probs()[0]).abs() < 1e-4,
            "{same:?} {free:?}"
        );
        assert_eq!(ranked[0].text, free.text);
    }
}

#[test]
fn candidates_together_score_as_alone_and_shares_add_up() {
    let blip = answerer();
    let pictures = [picture(1), picture(2)];
    let pairs = || pictures.iter().zip([QUESTIONS[0], QUESTIONS[1]]);
    let options = RankOptions::default();
    let all = blip.rank_batch(pairs(), &ANSWERS, &options).unwrap();
    for ((picture, question), ranked) in pairs().zip(all) {
        let shares: f32 = ranked.iter().map(|ranked| ranked.share).sum();
        assert!((shares - 1.0).abs() < 1e-5);
        assert!(ranked.windows(2).all(|two| two[0].score >= two[1].score));
        for together in &ranked {
            let alone = blip.rank(picture, question, &[&together.text]).unwrap();
            assert!((alone[0].score - together.score).abs() < 1e-4);
        }
        let best = blip.answer_one_of(picture, question, &ANSWERS).unwrap();
        assert_eq!(best.text, ranked[0].text);
    }
}

#[test]
fn answers_have_the_type_that_was_asked_for() {
    let blip = answerer();
    let pictures: Vec<_> = (0..4).map(picture).collect();
    let pairs = || pictures.iter().zip(QUESTIONS);
    let yes = blip.answer_as_batch::<bool, _, _>(pairs(), &Options::default());
    assert_eq!(yes.unwrap().len(), 4);
    let typed = blip.answer_as::<u8>(&pictures[0], QUESTIONS[0]).unwrap();
    assert!(!typed.answer.text.is_empty());
}

#[test]
fn pictures_and_texts_are_compared_in_batches_as_alone() {
    let blip = BlipRetrieval::from_pretrained(fixture("blip1_itr")).unwrap();
    let image = picture(3);
    let texts = ["a dog", "two cats on the big yellow bus"];
    let together = blip
        .match_batch(texts.map(|text| (&image, text)), &CompareOptions::default())
        .unwrap();
    let embedded = blip
        .embed_text_batch(texts, &CompareOptions::default())
        .unwrap();
    for ((text, score), embedding) in texts.iter().zip(&together).zip(&embedded) {
        let alone = blip.match_probability(&image, text).unwrap();
        assert!((alone - score.probability).abs() < 1e-5);
        let similarity = blip.similarity(&image, text).unwrap();
        let length: f32 = embedding.vector().iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5 && similarity.abs() <= 1.0);
        let image = blip.embed_image(&image).unwrap();
        assert!((image.similarity(embedding).unwrap() - similarity).abs() < 1e-5);
    }
}

#[test]
fn rounded_models_run() {
    for precision in [Precision::Bf16, Precision::Int8, Precision::Int4] {
        let blip = BlipAnswerer::builder(fixture("blip1_vqa")).precision(precision);
        let blip = blip.load().unwrap();
        let ranked = blip.rank(&picture(0), QUESTIONS[0], &ANSWERS).unwrap();
        let exact = answerer()
            .rank(&picture(0), QUESTIONS[0], &ANSWERS)
            .unwrap();
        for (a, b) in ranked.iter().zip(exact) {
            assert!(a.score.is_finite() && (a.score - b.score).abs() < 30.0);
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (blip, image) = (answerer(), picture(0));
    let empty = blip.answer(&image, "  ").unwrap_err();
    assert!(matches!(empty, Blip2Error::EmptyQuestion), "{empty}");
    let special = blip.answer(&image, "is [SEP] a word?").unwrap_err();
    assert!(
        matches!(&special, Blip2Error::SpecialTokenInText { token } if token == "[SEP]"),
        "{special}"
    );
    let long = blip.answer(&image, &"how many? ".repeat(200)).unwrap_err();
    assert!(
        matches!(long, Blip2Error::ContextTooLong { context: 48, .. }),
        "{long}"
    );
    let none = blip.rank(&image, QUESTIONS[0], &[] as &[&str]).unwrap_err();
    assert!(matches!(none, Blip2Error::Candidates { .. }), "{none}");
    let video = blip2_core::Video::new(vec![image.clone(), image]).unwrap();
    let video = blip.answer(&video, QUESTIONS[0]).unwrap_err();
    assert!(matches!(video, Blip2Error::Frames { .. }), "{video}");
}

#[test]
fn each_door_opens_its_own_folders_only() {
    for (name, door) in [
        ("blip1_vqa", "`BlipAnswerer`"),
        ("blip1_caption", "`BlipCaptioner`"),
        ("blip1_itr", "`BlipRetrieval`"),
    ] {
        let error = Blip2Pipeline::from_pretrained(fixture(name)).unwrap_err();
        assert!(matches!(error, Blip2Error::WrongModel { .. }), "{error}");
        assert!(error.to_string().contains(door), "{error}");
    }
    assert!(BlipAnswerer::from_pretrained(fixture("blip1_caption")).is_err());
    assert!(BlipCaptioner::from_pretrained(fixture("blip2_opt")).is_err());
    assert!(BlipRetrieval::from_pretrained(fixture("blip2_itr")).is_err());
}

#[test]
fn a_decoder_that_cannot_read_questions_is_refused() {
    let folder = copy("blip1_vqa");
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["text_config"]["hidden_size"] = 64.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let error = BlipAnswerer::from_pretrained(folder.path()).unwrap_err();
    assert!(error.to_string().contains("hidden_size"), "{error}");
}
