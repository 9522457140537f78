//! InstructBLIP and its version for videos, as users of the pipeline see them.

use std::fs;

use blip2_core::{
    Answer, Blip2Error, Blip2Pipeline, EncodedImage, GenerationConfig, Options, Picture, Video,
};
use blip2_testing::{copy, picture};
use image::RgbImage;

use crate::common::pipeline;

const IMAGES: [&str; 2] = ["instructblip_t5", "instructblip_llama"];
const VIDEOS: [&str; 2] = ["instructblipvideo_t5", "instructblipvideo_llama"];
const QUESTIONS: [&str; 3] = [
    "what?",
    "how many cats are there in the picture on the table?",
    "describe the red ball.",
];

fn video(seed: u32) -> Video {
    Video::new((0..4).map(|n| picture(4 * seed + n)).collect()).unwrap()
}

/// What a fixture's model looks at.
enum Shown {
    Picture(RgbImage),
    Video(Video),
}

impl<'s> From<&'s Shown> for Picture<'s> {
    fn from(shown: &'s Shown) -> Self {
        match shown {
            Shown::Picture(image) => image.into(),
            Shown::Video(video) => video.into(),
        }
    }
}

fn shown(blip2: &Blip2Pipeline, seed: u32) -> Shown {
    match blip2.model().num_frames() {
        1 => Shown::Picture(picture(seed)),
        _ => Shown::Video(video(seed)),
    }
}

fn every() -> impl Iterator<Item = Blip2Pipeline> {
    IMAGES.into_iter().chain(VIDEOS).map(pipeline)
}

fn tokens(answers: &[Answer]) -> Vec<Vec<u32>> {
    answers.iter().map(|a| a.token_ids()).collect()
}

#[test]
fn a_batch_of_mixed_questions_equals_the_rows_alone() {
    for blip2 in every() {
        for num_beams in [1, 3] {
            let options = Options::default().with_generation(
                GenerationConfig::default()
                    .with_max_new_tokens(8)
                    .with_num_beams(num_beams),
            );
            let all: Vec<Shown> = (0..3).map(|seed| shown(&blip2, seed)).collect();
            let batch = blip2
                .answer_batch(all.iter().zip(QUESTIONS), &options)
                .unwrap();
            for ((shown, question), batch) in all.iter().zip(QUESTIONS).zip(&batch) {
                let alone = blip2.answer_with(shown, question, &options).unwrap();
                assert_eq!(alone.token_ids(), batch.token_ids(), "{question}");
                for (a, b) in alone.log_probs().iter().zip(batch.log_probs()) {
                    assert!((a - b).abs() < 1e-3, "{a} {b}");
                }
            }
        }
    }
}

/// The Q-Former reads the question, so looking runs the image encoder alone, and asking the rest.
#[test]
fn looking_once_answers_as_looking_each_time() {
    for blip2 in every() {
        let shown = shown(&blip2, 5);
        let seen = blip2.look(&shown).unwrap();
        assert!(seen.timings().vision.is_some() && seen.timings().qformer.is_none());
        assert!(seen.features().is_none(), "they depend on the question");
        let together = seen.ask_batch(QUESTIONS, &Options::default()).unwrap();
        for (question, together) in QUESTIONS.into_iter().zip(&together) {
            let asked = seen.ask(question).unwrap();
            assert!(asked.timings.vision.is_none() && asked.timings.qformer.is_some());
            let direct = blip2.answer(&shown, question).unwrap();
            assert_eq!(asked.token_ids(), direct.token_ids(), "{question}");
            assert_eq!(together.token_ids(), direct.token_ids(), "{question}");
        }
        let caption = seen.caption().unwrap();
        assert_eq!(
            caption.token_ids(),
            blip2.caption(&shown).unwrap().token_ids()
        );

        let kept = serde_json::to_string(&seen.encoded().unwrap()).unwrap();
        let kept: EncodedImage = serde_json::from_str(&kept).unwrap();
        let again = blip2.recall(&kept).unwrap();
        let answers = again.ask_batch(QUESTIONS, &Options::default()).unwrap();
        assert_eq!(tokens(&answers), tokens(&together));
    }
}

#[test]
fn what_is_gathered_depends_on_the_question() {
    let blip2 = pipeline("instructblip_t5");
    let model = blip2.model();
    let image = picture(2);
    let seen = blip2.look(&image).unwrap();
    let answers = seen.ask_batch(QUESTIONS, &Options::default()).unwrap();
    assert_ne!(answers[0].log_probs(), answers[1].log_probs());
    let embeds = burn_zeros(&blip2);
    let error = model.query(embeds).unwrap_err();
    assert!(matches!(error, Blip2Error::Instructions { .. }), "{error}");
}

fn burn_zeros(blip2: &Blip2Pipeline) -> burn::tensor::Tensor<3> {
    burn::tensor::Tensor::zeros([1, 17, 32], blip2.device())
}

#[test]
fn a_stream_gives_the_prompts_text() {
    for blip2 in every() {
        let shown = shown(&blip2, 1);
        let whole = blip2.prompt(&shown, QUESTIONS[1]).unwrap();
        let mut stream = blip2.stream(&shown, QUESTIONS[1]).unwrap();
        assert!(stream.timings().qformer.is_some());
        let pieces: String = stream.by_ref().map(Result::unwrap).collect();
        let tokens: Vec<u32> = stream.tokens().iter().map(|token| token.id).collect();
        assert_eq!(tokens, whole.token_ids());
        // A byte that ends no character makes LLaMA's tokenizer take back the bytes before it, which
        // a stream has shown already.
        if !whole.text.contains('\u{fffd}') {
            assert_eq!(pieces.trim_end(), whole.text);
        }
    }
}

/// A question is the instruction itself; captions have one of their own.
#[test]
fn questions_are_put_into_no_template() {
    for blip2 in every() {
        assert_eq!(blip2.template().to_string(), "{}");
        let shown = shown(&blip2, 3);
        let answer = blip2.answer(&shown, QUESTIONS[2]).unwrap();
        assert_eq!(
            answer.token_ids(),
            blip2.prompt(&shown, QUESTIONS[2]).unwrap().token_ids()
        );
        let what = match blip2.model().num_frames() {
            1 => "A short image description:",
            _ => "A short video description:",
        };
        let caption = blip2.caption(&shown).unwrap();
        assert_eq!(
            caption.token_ids(),
            blip2.prompt(&shown, what).unwrap().token_ids()
        );
    }
}

#[test]
fn pictures_and_videos_are_not_taken_for_one_another() {
    let (images, videos) = (pipeline(IMAGES[0]), pipeline(VIDEOS[1]));
    let three = Video::new((0..3).map(picture).collect()).unwrap();
    let one = Video::new(vec![picture(0)]).unwrap();
    for (error, parts) in [
        (
            images.answer(&video(0), "what?").unwrap_err(),
            ["4 frames", "single"],
        ),
        (
            images.answer(&one, "what?").unwrap_err(),
            ["1 frames", "single"],
        ),
        (
            videos.answer(&picture(0), "what?").unwrap_err(),
            ["4 frames", "a picture"],
        ),
        (
            videos.answer(&three, "what?").unwrap_err(),
            ["given 3", "sample(4)"],
        ),
        (videos.look(&one).unwrap_err(), ["given 1", "4 frames"]),
    ] {
        assert!(matches!(error, Blip2Error::Frames { .. }), "{error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn a_folder_of_frames_is_opened() {
    let blip2 = pipeline(VIDEOS[0]);
    let folder = tempfile::tempdir().unwrap();
    for n in 0..8 {
        let path = folder.path().join(format!("{n}.png"));
        picture(n).save(path).unwrap();
    }
    let opened = blip2.open_video(folder.path()).unwrap();
    let chosen = Video::new([0, 2, 4, 6].map(picture).to_vec()).unwrap();
    assert_eq!(opened, chosen);
    let answer = blip2.answer(&opened, "what?").unwrap();
    assert_eq!(
        answer.token_ids(),
        blip2.answer(&chosen, "what?").unwrap().token_ids()
    );

    let images = pipeline(IMAGES[0]);
    let error = images.open_video(folder.path()).unwrap_err();
    assert!(matches!(error, Blip2Error::Frames { .. }), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = blip2.open_video(empty.path()).unwrap_err();
    assert!(error.to_string().contains("no picture"), "{error}");
}

#[test]
fn a_prompt_with_more_tokens_than_the_q_former_has_positions() {
    for blip2 in every() {
        let long = "how many cats are there? ".repeat(12);
        let error = blip2.answer(&shown(&blip2, 0), &long).unwrap_err();
        let Blip2Error::PromptTooLong { tokens, positions } = error else {
            panic!("{error:?}")
        };
        assert!(tokens > positions && positions == 40, "{tokens}");
    }
}

#[test]
fn special_tokens_of_either_reader_are_refused() {
    let blip2 = pipeline(IMAGES[1]);
    let shown = shown(&blip2, 0);
    for question in ["what is [SEP] this?", "what is <image> this?", "what </s>?"] {
        let error = blip2.answer(&shown, question).unwrap_err();
        assert!(matches!(error, Blip2Error::SpecialToken { .. }), "{error}");
    }
}

#[test]
fn a_missing_or_foreign_reader_is_named() {
    let folder = copy(IMAGES[0]);
    let error = Blip2Pipeline::from_pretrained(folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("qformer_tokenizer") && error.contains("tokenizer.json"),
        "{error}"
    );

    // The language model's tokenizer has more tokens than this Q-Former has embeddings.
    let folder = copy(IMAGES[1]);
    let reader = folder.path().join("qformer_tokenizer");
    fs::create_dir(&reader).unwrap();
    fs::copy(
        folder.path().join("tokenizer.json"),
        reader.join("tokenizer.json"),
    )
    .unwrap();
    let error = Blip2Pipeline::from_pretrained(folder.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("249 embeddings"), "{error}");
}

#[test]
fn a_packed_file_answers_as_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in [IMAGES[1], VIDEOS[0]] {
        let path = folder.path().join("packed.safetensors");
        blip2_core::pack(
            blip2_testing::fixture(name),
            blip2_core::Precision::F32,
            &path,
        )
        .unwrap();
        let packed = Blip2Pipeline::from_pretrained(&path).unwrap();
        let blip2 = pipeline(name);
        let shown = shown(&blip2, 1);
        let (found, expected) = (
            packed.answer(&shown, QUESTIONS[1]).unwrap(),
            blip2.answer(&shown, QUESTIONS[1]).unwrap(),
        );
        assert_eq!(found.token_ids(), expected.token_ids());
    }
}
