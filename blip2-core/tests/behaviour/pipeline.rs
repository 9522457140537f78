//! The pipeline as its users see it.

use std::fs;

use blip2_core::{
    Blip2Error, Blip2Pipeline, CancelToken, EncodedImage, FinishReason, GenerationConfig, Options,
    generate::{NextTokens, Position, TokenConstraint},
};
use blip2_testing::{copy, picture};

use crate::common::pipeline;

fn options(config: GenerationConfig) -> Options {
    Options::default().with_generation(config)
}

#[test]
fn a_pipeline_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Blip2Pipeline>();
    let blip2 = pipeline("blip2_opt");
    let image = picture(0);
    let alone = blip2.answer(&image, "how many cats?").unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| blip2.answer(&image, "how many cats?").unwrap()))
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().token_ids(), alone.token_ids());
        }
    });
}

#[test]
fn a_batch_of_mixed_lengths_equals_the_rows_alone() {
    let questions = [
        "what?",
        "how many cats are there in the picture on the wooden table?",
        "what color is the bus",
        "is it raining?",
    ];
    let configs = [
        GenerationConfig::default().with_max_new_tokens(8),
        GenerationConfig::default()
            .with_max_new_tokens(8)
            .with_num_beams(3),
        GenerationConfig::default()
            .with_max_new_tokens(6)
            .with_num_beams(4)
            .with_num_return_sequences(2)
            .with_length_penalty(-1.0)
            .with_repetition_penalty(1.3)
            .with_min_new_tokens(3),
        GenerationConfig::default()
            .with_max_new_tokens(8)
            .with_do_sample(true)
            .with_seed(7),
    ];
    for name in ["blip2_opt", "blip2_t5", "blip2_t5_tied"] {
        let blip2 = pipeline(name);
        let images: Vec<_> = (0..4).map(picture).collect();
        for config in &configs {
            let options = options(config.clone());
            let batch = blip2
                .answer_batch(images.iter().zip(questions), &options)
                .unwrap();
            for ((image, question), together) in images.iter().zip(questions).zip(batch) {
                let alone = blip2.answer_with(image, question, &options).unwrap();
                assert_eq!(
                    together.token_ids(),
                    alone.token_ids(),
                    "{name}: {question} with {config:?}"
                );
                assert_eq!(together.text, alone.text);
                assert_eq!(together.finish_reason, alone.finish_reason);
                assert_eq!(together.alternatives.len(), config.num_return_sequences - 1);
                // The tied model is ill-conditioned: rounding shows in its numbers, not its tokens.
                let compared = together.tokens.iter().zip(&alone.tokens);
                for (a, b) in compared.filter(|_| name != "blip2_t5_tied") {
                    assert!((a.log_prob - b.log_prob).abs() < 1e-3, "{a:?} {b:?}");
                }
            }
        }
    }
}

#[test]
fn captions_and_prompts_in_batches_equal_singles() {
    let blip2 = pipeline("blip2_t5");
    let images: Vec<_> = (0..3).map(picture).collect();
    let captions = blip2.caption_batch(&images, &Options::default()).unwrap();
    for (image, caption) in images.iter().zip(&captions) {
        assert_eq!(
            caption.token_ids(),
            blip2.caption(image).unwrap().token_ids()
        );
    }
    let pairs = images.iter().zip(["a photo of", "there is", "x"]);
    let answers = blip2
        .prompt_batch(pairs.clone(), &Options::default())
        .unwrap();
    for ((image, prompt), answer) in pairs.zip(&answers) {
        assert_eq!(
            answer.token_ids(),
            blip2.prompt(image, prompt).unwrap().token_ids()
        );
    }
    assert!(
        blip2
            .caption_batch::<&image::RgbImage>([], &Options::default())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_stream_is_the_answer_piece_by_piece() {
    for name in ["blip2_opt", "blip2_t5"] {
        let blip2 = pipeline(name);
        let image = picture(2);
        let whole = blip2.prompt(&image, "a photo of").unwrap();
        let mut stream = blip2.stream(&image, "a photo of").unwrap();
        let pieces: Vec<String> = stream.by_ref().map(Result::unwrap).collect();
        assert_eq!(pieces.concat(), whole.text, "{name}");
        assert!(pieces.len() > 1, "{pieces:?}");
        assert_eq!(stream.finish_reason(), Some(whole.finish_reason));
        let tokens: Vec<u32> = stream.tokens().iter().map(|token| token.id).collect();
        assert_eq!(tokens, whole.token_ids());

        let seen = blip2.look(&image).unwrap();
        let again: String = seen
            .stream("a photo of")
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(again, pieces.concat());
    }
}

#[test]
fn an_encoded_picture_survives_serialisation_and_refuses_another_model() {
    let blip2 = pipeline("blip2_opt");
    let image = picture(3);
    let seen = blip2.look(&image).unwrap();
    let json = serde_json::to_string(&seen.encoded().unwrap()).unwrap();
    let encoded: EncodedImage = serde_json::from_str(&json).unwrap();
    let recalled = blip2.recall(&encoded).unwrap();
    assert_eq!(
        recalled.ask("what?").unwrap().token_ids(),
        seen.ask("what?").unwrap().token_ids()
    );

    // One weight of the vision tower differs.
    let folder = copy("blip2_opt");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let tensor = &json["vision_model.post_layernorm.bias"]["data_offsets"][0];
    bytes[8 + header + tensor.as_u64().unwrap() as usize] ^= 1;
    fs::write(&path, bytes).unwrap();
    let other = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    let error = other.recall(&encoded).unwrap_err();
    assert!(matches!(error, Blip2Error::ForeignImage { .. }), "{error}");

    // The language model alone may differ: the picture is encoded without it.
    let mut damaged: serde_json::Value = serde_json::to_value(&encoded).unwrap();
    damaged["values"].as_array_mut().unwrap().pop();
    let damaged: EncodedImage = serde_json::from_value(damaged).unwrap();
    let error = blip2.recall(&damaged).unwrap_err();
    assert!(matches!(error, Blip2Error::DamagedImage { .. }), "{error}");
}

#[test]
fn the_folder_the_builder_and_the_call_override_the_template_in_that_order() {
    let folder = copy("blip2_opt");
    let default = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    assert_eq!(default.template().to_string(), "Question: {} Answer:");
    assert_eq!(
        pipeline("blip2_t5").template().to_string(),
        "Question: {} Short answer:"
    );

    let json = r#"{ "answer_template": "Q: {} A:", "caption_prompt": "a photo of" }"#;
    fs::write(folder.path().join("blip2.json"), json).unwrap();
    let own = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    assert_eq!(own.template().to_string(), "Q: {} A:");
    let image = picture(4);
    let tokens = |answer: blip2_core::Answer| answer.token_ids();
    assert_eq!(
        tokens(own.answer(&image, " what? ").unwrap()),
        tokens(default.prompt(&image, "Q: what? A:").unwrap())
    );
    assert_eq!(
        tokens(own.caption(&image).unwrap()),
        tokens(default.prompt(&image, "a photo of").unwrap())
    );

    let built = Blip2Pipeline::builder(folder.path()).template("<{}>".parse().unwrap());
    let built = built.load().unwrap();
    assert_eq!(built.template().to_string(), "<{}>");
    let call = Options::default().with_template("Question: {} Answer:".parse().unwrap());
    assert_eq!(
        tokens(built.answer_with(&image, "what?", &call).unwrap()),
        tokens(default.answer(&image, "what?").unwrap())
    );

    fs::write(
        folder.path().join("blip2.json"),
        r#"{ "anwser_template": "{}" }"#,
    )
    .unwrap();
    let error = Blip2Pipeline::from_pretrained(folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("blip2.json") && error.contains("anwser_template"),
        "{error}"
    );
}

#[test]
fn prompts_that_make_no_sense_are_refused() {
    let blip2 = pipeline("blip2_opt");
    let image = picture(5);
    assert!(matches!(
        blip2.answer(&image, "  \n"),
        Err(Blip2Error::EmptyQuestion)
    ));
    let error = blip2.prompt(&image, "look: <image> here").unwrap_err();
    assert!(
        matches!(error, Blip2Error::PlaceholderInPrompt { .. }),
        "{error}"
    );
    let error = blip2.answer(&image, "end</s> it").unwrap_err();
    assert!(error.to_string().contains("</s>"), "{error}");
    assert!(
        blip2.prompt(&image, "end</s> it").is_ok(),
        "a raw prompt may hold special tokens"
    );

    let long = "how many cats are there ".repeat(40);
    let error = blip2.answer(&image, &long).unwrap_err().to_string();
    assert!(error.contains("context") && error.contains("96"), "{error}");
}

#[test]
fn arguments_that_make_no_sense_are_refused_by_name() {
    let blip2 = pipeline("blip2_t5");
    let image = picture(6);
    let sampling = GenerationConfig::default().with_do_sample(true);
    let wrong = [
        (GenerationConfig::default().with_num_beams(0), "num_beams"),
        (sampling.clone().with_temperature(0.0), "temperature"),
        (sampling.clone().with_top_p(0.0), "top_p"),
        (sampling.clone().with_top_p(1.5), "top_p"),
        (
            GenerationConfig::default().with_num_return_sequences(2),
            "num_return_sequences",
        ),
    ];
    for (config, argument) in wrong {
        let error = blip2
            .answer_with(&image, "what?", &options(config))
            .unwrap_err()
            .to_string();
        assert!(error.contains(argument), "{error}");
    }
}

#[test]
fn a_full_context_and_a_cancelled_call_end_with_their_reason() {
    let blip2 = pipeline("blip2_opt");
    let image = picture(7);
    let config = GenerationConfig::default().with_max_new_tokens(500);
    let answer = blip2
        .prompt_with(&image, "a photo of", &options(config))
        .unwrap();
    if answer.finish_reason != FinishReason::Eos {
        assert_eq!(answer.finish_reason, FinishReason::ContextFull);
        assert!(answer.tokens.len() < 97);
    }
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = Options::default().with_cancel(cancel);
    let answer = blip2.prompt_with(&image, "a photo of", &cancelled).unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Cancelled);
    assert!(answer.tokens.is_empty() && answer.text.is_empty());
    assert_eq!(answer.confidence(), 0.0);
}

/// Lets only even ids through.
struct Even;

impl TokenConstraint for Even {
    fn next_tokens(&self, _: Position<'_>, _: &mut [f32]) -> NextTokens {
        NextTokens::Only((4..100).step_by(2).collect())
    }
}

#[test]
fn a_constraint_holds_in_every_mode() {
    let blip2 = pipeline("blip2_opt");
    let image = picture(8);
    for config in [
        GenerationConfig::default(),
        GenerationConfig::default().with_num_beams(3),
        GenerationConfig::default().with_do_sample(true),
    ] {
        let options = options(config).with_constraint(Even);
        let answer = blip2.answer_with(&image, "what?", &options).unwrap();
        assert_eq!(answer.tokens.len(), 20);
        assert!(
            answer.token_ids().iter().all(|token| token % 2 == 0),
            "{:?}",
            answer.token_ids()
        );
    }
}

#[test]
fn a_stop_string_ends_the_answer_and_is_not_in_it() {
    let blip2 = pipeline("blip2_opt");
    let image = picture(2);
    let whole = blip2.prompt(&image, "a photo of").unwrap();
    let middle: String = whole.text.chars().skip(3).take(2).collect();
    let config = GenerationConfig::default().with_stop_strings([middle.clone()]);
    let stopped = blip2
        .prompt_with(&image, "a photo of", &options(config))
        .unwrap();
    assert_eq!(stopped.finish_reason, FinishReason::StopString);
    assert!(!stopped.text.contains(&middle) && whole.text.starts_with(&stopped.text));
    assert!(stopped.tokens.len() < whole.tokens.len());
}

#[test]
fn any_colour_type_may_be_asked_about() {
    let blip2 = pipeline("blip2_opt");
    let rgb = picture(9);
    let dynamic = image::DynamicImage::ImageRgb8(rgb.clone());
    let alpha = image::DynamicImage::ImageRgba8(dynamic.to_rgba8());
    let expected = blip2.caption(&rgb).unwrap().token_ids();
    assert_eq!(blip2.caption(&dynamic).unwrap().token_ids(), expected);
    assert_eq!(blip2.caption(&alpha).unwrap().token_ids(), expected);
    let error = blip2
        .caption(&image::RgbImage::new(0, 5))
        .unwrap_err()
        .to_string();
    assert!(error.contains("0×5"), "{error}");
}

#[test]
fn files_are_decoded_within_the_pipelines_limits() {
    use blip2_core::preprocessing::{DecodeOptions, ImageLimits};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    picture(0).save(&path).unwrap();
    let blip2 = pipeline("blip2_opt");
    assert_eq!(blip2.open(&path).unwrap(), picture(0));

    let limits = ImageLimits::default().with_max_pixels(100);
    let strict = DecodeOptions::default().with_limits(limits);
    let strict = Blip2Pipeline::builder(blip2_testing::fixture("blip2_opt")).decode_options(strict);
    let error = strict.load().unwrap().open(&path).unwrap_err().to_string();
    for part in ["a.png", "1200", "100", "max_pixels"] {
        assert!(error.contains(part), "{error}");
    }
}
