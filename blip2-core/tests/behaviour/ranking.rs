//! Ranking of given answers, and answers of a type.

use blip2_core::{
    Blip2Error, Blip2Pipeline, GenerationConfig, Grammar, Options, RankOptions, Ranked,
    TypedAnswer,
    model::{LanguageModel, PromptRows},
};
use blip2_testing::picture;
use burn::tensor::Tensor;

use crate::common::pipeline;

const QUESTION: &str = "what color is the bus?";
const CANDIDATES: [&str; 6] = ["red", "blue", "a dark blue", "red", "a dark green", "two"];

/// One of each language model.
const MODELS: [&str; 4] = [
    "blip2_opt",
    "blip2_t5",
    "instructblip_t5",
    "instructblip_llama",
];

/// Log-probabilities by running each candidate whole behind its prompt.
fn teacher_forced(blip2: &Blip2Pipeline, ranked: &Ranked) -> Option<Vec<f32>> {
    let seen = blip2.look(&picture(1)).unwrap();
    // A Q-Former that reads the prompt has no features without it.
    let features = seen.features()?;
    let model = blip2.model();
    let tokenizer = tokenizers(blip2);
    let text = blip2.template().render(QUESTION);
    let prompt = tokenizer.encode(&text).unwrap();
    let places = vec![model.image_token().unwrap(); model.num_query_tokens()];
    let end = blip2.config().text_config.eos_token_ids()[0];
    let logprobs = |logits: Tensor<3>, from: usize, ids: &[u32]| -> Vec<f32> {
        let [_, seq, vocab] = logits.dims();
        assert!(from + ids.len() <= seq);
        let logits = logits.into_data().try_to_vec::<f32>().unwrap();
        let rows = logits.chunks_exact(vocab).skip(from);
        rows.zip(ids)
            .map(|(row, &id)| {
                let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                (f64::from(row[id as usize]) - sum.ln()) as f32
            })
            .collect()
    };
    Some(match model.language_model() {
        LanguageModel::Decoder(opt) => {
            let mut ids = tokenizer
                .encode_with(&format!(" {}", ranked.text), false)
                .unwrap();
            ids.push(end);
            let row = [places, prompt, ids.clone()].concat();
            let (from, mask) = (row.len() - ids.len() - 1, vec![vec![true; row.len()]]);
            let rows = PromptRows::new(vec![row], mask).unwrap();
            let (embeds, mask) = model.inputs_embeds(features, &rows).unwrap();
            let output = opt.forward(embeds, &mask, blip2_lm::Keep::NOTHING).unwrap();
            logprobs(output.logits, from, &ids)
        }
        LanguageModel::T5(t5) => {
            let mut ids = tokenizer.encode_with(&ranked.text, false).unwrap();
            ids.push(end);
            let row = [places, prompt].concat();
            let mask = vec![vec![true; row.len()]];
            let rows = PromptRows::new(vec![row], mask).unwrap();
            let (embeds, mask) = model.inputs_embeds(features, &rows).unwrap();
            let start = blip2.config().text_config.decoder_start_token_id().unwrap();
            let fed = [&[start], &ids[..ids.len() - 1]].concat();
            let output = t5
                .forward(embeds, &mask, &[fed], blip2_lm::Keep::NOTHING)
                .unwrap();
            logprobs(output.logits, 0, &ids)
        }
        _ => return None,
    })
}

fn tokenizers(blip2: &Blip2Pipeline) -> blip2_io::Tokenizer {
    let name = match blip2.model().language_model().is_encoder_decoder() {
        true => "blip2_t5",
        false => "blip2_opt",
    };
    let folder = blip2_io::CheckpointFolder::open(blip2_testing::fixture(name)).unwrap();
    folder.tokenizer().unwrap()
}

#[test]
fn scores_are_those_of_teacher_forcing() {
    let mut compared = 0;
    for name in MODELS {
        let blip2 = pipeline(name);
        for ranked in blip2.rank(&picture(1), QUESTION, &CANDIDATES).unwrap() {
            assert!((ranked.score - ranked.logprobs.iter().sum::<f32>()).abs() < 1e-6);
            let Some(expected) = teacher_forced(&blip2, &ranked) else {
                continue;
            };
            compared += 1;
            assert_eq!(ranked.logprobs.len(), expected.len(), "{name}: {ranked}");
            for (found, expected) in ranked.logprobs.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{name}: {found} {expected}"
                );
            }
        }
    }
    assert_eq!(compared, 12);
}

#[test]
fn the_likeliest_comes_first_and_equals_stay_in_order() {
    for name in MODELS {
        let blip2 = pipeline(name);
        let ranked = blip2.rank(&picture(1), QUESTION, &CANDIDATES).unwrap();
        assert!(ranked.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let share: f32 = ranked.iter().map(|ranked| ranked.share).sum();
        assert!((share - 1.0).abs() < 1e-5);
        let twins: Vec<usize> = ranked
            .iter()
            .filter(|ranked| ranked.text == "red")
            .map(|ranked| ranked.index)
            .collect();
        assert_eq!(twins, [0, 3], "{name}");
        for ranked in &ranked {
            assert_eq!(ranked.text, CANDIDATES[ranked.index]);
            // Each score is what the candidate alone gets.
            let alone = blip2.rank(&picture(1), QUESTION, &[&ranked.text]).unwrap();
            assert!((alone[0].score - ranked.score).abs() < 1e-4, "{name}");
            assert_eq!(alone[0].share, 1.0);
        }
        let seen = blip2.look(&picture(1)).unwrap();
        let best = seen.ask_one_of(QUESTION, &CANDIDATES).unwrap();
        assert_eq!(best.index, ranked[0].index);
        let best = blip2.answer_one_of(&picture(1), QUESTION, &CANDIDATES);
        assert_eq!(best.unwrap().index, ranked[0].index);
    }
}

#[test]
fn batches_equal_singles_and_more_candidates_than_run_together_are_all_ranked() {
    let blip2 = pipeline("blip2_opt");
    let questions = [
        "what?",
        "how many cats are on the long wooden table?",
        "is it red?",
    ];
    let pictures: Vec<_> = (0..3).map(picture).collect();
    let many: Vec<String> = (0..300).map(|n| format!("{n} cats")).collect();
    for options in [
        RankOptions::default(),
        RankOptions::default().with_length_normalized(true),
        RankOptions::default().with_open_ended(true),
    ] {
        let pairs = pictures.iter().zip(questions);
        let together = blip2.rank_batch(pairs, &CANDIDATES, &options).unwrap();
        for ((picture, question), together) in pictures.iter().zip(questions).zip(together) {
            let seen = blip2.look(picture).unwrap();
            let alone = seen.rank_with(question, &CANDIDATES, &options).unwrap();
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!(alone.index, together.index);
                assert!((alone.score - together.score).abs() < 1e-4);
            }
        }
        let ranked = blip2.look(&pictures[0]).unwrap();
        let ranked = ranked.rank_with("how many?", &many, &options).unwrap();
        let mut places: Vec<usize> = ranked.iter().map(|ranked| ranked.index).collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..300));
    }
}

#[test]
fn options_change_what_counts() {
    let blip2 = pipeline("blip2_t5");
    let seen = blip2.look(&picture(2)).unwrap();
    let rank = |options| {
        let mut ranked = seen.rank_with(QUESTION, &CANDIDATES, &options).unwrap();
        ranked.sort_by_key(|ranked| ranked.index);
        ranked
    };
    let sum = rank(RankOptions::default());
    let mean = rank(RankOptions::default().with_length_normalized(true));
    let open = rank(RankOptions::default().with_open_ended(true));
    for ((sum, mean), open) in sum.iter().zip(mean).zip(open) {
        let count = sum.logprobs.len();
        assert!((sum.score / count as f32 - mean.score).abs() < 1e-5);
        assert_eq!(open.logprobs.len(), count - 1);
        assert!(open.score >= sum.score);
    }
    let template = "Describe: {}".parse().unwrap();
    let other = rank(RankOptions::default().with_template(template));
    assert_ne!(other[0].score, sum[0].score);
}

#[test]
fn candidates_that_cannot_be_ranked_are_refused() {
    let blip2 = pipeline("blip2_opt");
    let image = picture(0);
    let error = |candidates: &[&str]| match blip2.rank(&image, QUESTION, candidates) {
        Err(error @ Blip2Error::Candidates { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(error(&[]).contains("there are none"));
    assert!(error(&["red", "  "]).contains("candidate 1 is empty"));
    assert!(error(&["red</s>"]).contains("`</s>`"));
    let long = "red ".repeat(4000);
    let error = blip2
        .rank(&image, QUESTION, &[long])
        .unwrap_err()
        .to_string();
    assert!(error.contains("room for"), "{error}");
    let question = blip2.rank(&image, " ", &CANDIDATES);
    assert!(matches!(question, Err(Blip2Error::EmptyQuestion)));
}

#[test]
fn typed_answers_always_come() {
    for name in MODELS {
        let blip2 = pipeline(name);
        for seed in 0..3 {
            let seen = blip2.look(&picture(seed)).unwrap();
            let number = seen.ask_as::<u8>("how many cats?").unwrap();
            let text = &number.answer.text;
            assert_eq!(u8::parse(text), Some(number.value), "{name}: {text}");
            for num_beams in [1, 3] {
                let options = Options::default()
                    .with_generation(GenerationConfig::default().with_num_beams(num_beams));
                let pair = [(&picture(seed), "is it raining?")];
                let typed = blip2.answer_as_batch::<bool, _, _>(pair, &options).unwrap();
                let text = &typed[0].answer.text;
                assert_eq!(bool::parse(text), Some(typed[0].value), "{name}: {text}");
            }
        }
        let questions = ["is it?", "how many cats are there on the table?", "what?"];
        let seen = blip2.look(&picture(5)).unwrap();
        let together = seen
            .ask_as_batch::<u32, _>(questions, &Options::default())
            .unwrap();
        for (question, together) in questions.iter().zip(together) {
            assert_eq!(seen.ask_as::<u32>(question).unwrap().value, together.value);
        }
    }
}

#[derive(Debug, PartialEq)]
enum Vehicle {
    Bus,
    BusStop,
    Car,
}

impl TypedAnswer for Vehicle {
    fn grammar() -> Grammar {
        // One is the beginning of another.
        Grammar::one_of(["bus", "bus stop", "car"])
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "bus" => Some(Self::Bus),
            "bus stop" => Some(Self::BusStop),
            "car" => Some(Self::Car),
            _ => None,
        }
    }
}

struct Nothing;

impl TypedAnswer for Nothing {
    fn grammar() -> Grammar {
        Grammar::one_of([""])
    }

    fn parse(_: &str) -> Option<Self> {
        None
    }
}

#[test]
fn programs_may_have_types_of_their_own() {
    for name in MODELS {
        let blip2 = pipeline(name);
        let typed = blip2
            .answer_as::<Vehicle>(&picture(3), "what is it?")
            .unwrap();
        assert_eq!(Vehicle::parse(&typed.answer.text), Some(typed.value));
        let error = blip2.answer_as::<Nothing>(&picture(3), "what is it?");
        assert!(matches!(
            error.map(|_| ()),
            Err(Blip2Error::Candidates { .. })
        ));
    }
    let blip2 = pipeline("blip2_opt");
    let cancel = blip2_core::CancelToken::new();
    cancel.cancel();
    let options = Options::default().with_cancel(cancel);
    let seen = blip2.look(&picture(3)).unwrap();
    let typed = seen.ask_as_with::<bool>("is it?", &options);
    assert!(matches!(
        typed,
        Err(Blip2Error::Unfinished {
            reason: blip2_core::FinishReason::Cancelled,
            ..
        })
    ));
}
