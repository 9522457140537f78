//! What a model costs a GPU, counted: the counts are the same on a software driver.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

#[path = "gpu/selection.rs"]
mod selection;

use std::sync::Mutex;

use blip2_core::{
    AnswerBatch, Blip2Config, Blip2Error, Blip2Pipeline, Device, GenerationConfig, Options,
    Precision, Preset, TextConfig,
    generate::{Generator, Likeliest, Scores},
    gpu::{self, Watch},
    memory::{Fit, MemoryPlan, Workload},
    model::{LanguageModel, PromptRows},
};
use blip2_lm::DecodeSession;
use blip2_testing::picture;

/// One test at a time: what is counted is the process's.
static ALONE: Mutex<()> = Mutex::new(());

const PRECISIONS: [Precision; 5] = [
    Precision::F32,
    Precision::F16,
    Precision::Bf16,
    Precision::Int8,
    Precision::Int4,
];

/// A preset with few layers, of widths as they are or a fraction of them.
fn reduced(preset: Preset, layers: usize, fraction: usize) -> Blip2Config {
    let mut config = preset.config();
    config.vision_config.num_hidden_layers = layers;
    config.qformer_config.num_hidden_layers = layers;
    match &mut config.text_config {
        TextConfig::Opt(text) => {
            text.num_hidden_layers = layers;
            text.hidden_size /= fraction;
            text.word_embed_proj_dim = text.hidden_size;
            text.ffn_dim /= fraction;
            text.vocab_size /= fraction;
            text.eos_token_id = vec![9];
        }
        TextConfig::T5(text) => {
            (text.num_layers, text.num_decoder_layers) = (layers, layers);
            text.d_ff /= fraction;
            text.vocab_size /= fraction;
        }
        other => panic!("{other:?}"),
    }
    config.image_token_index = Some(7);
    config
}

fn load(config: Blip2Config, precision: Precision) -> Blip2Pipeline {
    Blip2Pipeline::builder_random(config, 0)
        .device(Device::wgpu(Default::default()))
        .precision(precision)
        .load()
        .unwrap()
}

#[test]
fn weights_take_no_more_than_their_packed_size() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let device = Device::wgpu(Default::default());
    for precision in PRECISIONS {
        let config = reduced(Preset::Blip2Opt2_7b, 2, 4);
        let packed = MemoryPlan::new(&config, precision).unwrap().weights(None);
        device.memory_cleanup();
        let before = gpu::memory_in_use(&device).unwrap();
        let blip2 = load(config, precision);
        let held = gpu::memory_in_use(&device).unwrap() - before;
        let predicted = blip2.memory().weights(None);
        let (of_packed, of_predicted) =
            (held as f64 / packed as f64, held as f64 / predicted as f64);
        println!(
            "{precision}: {held} bytes, {of_packed:.3} of packed, {of_predicted:.3} of predicted"
        );
        assert!(
            of_packed < 1.05,
            "{precision}: {held} bytes for {packed} packed"
        );
        assert!(
            (of_predicted - 1.0).abs() < 0.05,
            "{precision}: {held}, {predicted} predicted"
        );
    }
}

/// What is held beside the weights, as it was measured and predicted: whether both agree.
fn agree(what: &str, measured: u64, predicted: u64) -> bool {
    let off = predicted as f64 / measured as f64 - 1.0;
    println!("{what}: {measured} bytes, {predicted} predicted ({off:+.3})");
    off.abs() < 0.1
}

/// Writes as the pipeline does, and returns the most that the device's memory held while it did.
fn write(blip2: &Blip2Pipeline, work: &Workload) -> u64 {
    let model = blip2.model();
    let features = blip2.look(&picture(1)).unwrap();
    let features = features.features().unwrap().select(&vec![0; work.batch]);
    let placeholders = vec![model.image_token().unwrap(); model.num_placeholders()];
    let text = (0..work.prompt_tokens).map(|n| 10 + n as u32);
    let row: Vec<u32> = placeholders.into_iter().chain(text).collect();
    let history = match model.language_model() {
        LanguageModel::T5(_) => vec![0],
        _ => row.clone(),
    };
    let mask = vec![vec![true; row.len()]; work.batch];
    let rows = PromptRows::new(vec![row; work.batch], mask).unwrap();
    let watch = Watch::of_memory(blip2.device());
    let mut session = model.start(&features, &rows, work.new_tokens).unwrap();
    let config = GenerationConfig::default()
        .with_max_new_tokens(work.new_tokens)
        .with_min_new_tokens(work.new_tokens)
        .with_num_beams(work.beams);
    let generator = Generator::new(config).unwrap();
    let histories = vec![history; work.batch];
    generator.generate(&mut session, &histories).unwrap();
    watch.peak_memory().unwrap()
}

#[test]
fn the_peak_beside_the_weights_is_as_predicted() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let device = Device::wgpu(Default::default());
    let mut agreed = true;
    for (preset, precision) in [
        (Preset::Blip2Opt2_7b, Precision::Int4),
        (Preset::Blip2FlanT5Xl, Precision::F16),
    ] {
        let mut config = reduced(preset, 2, 4);
        config.vision_config.num_hidden_layers = 1;
        config.vision_config.hidden_size /= 4;
        config.vision_config.intermediate_size /= 4;
        config.vision_config.num_attention_heads /= 4;
        config.qformer_config.encoder_hidden_size = config.vision_config.hidden_size;
        let blip2 = load(config, precision);
        let beside = |work: &Workload| {
            let predicted = blip2.memory().predict(work);
            let [image, text] = [predicted.image_peak(), predicted.text_peak()];
            [image, text].map(|peak| peak - predicted.weights)
        };
        device.memory_cleanup();
        let before = gpu::memory_in_use(&device).unwrap();
        for batch in [1, 3] {
            let pictures: Vec<_> = (0..batch).map(|_| picture(1)).collect();
            let watch = Watch::of_memory(&device);
            let seen = blip2.look_batch(&pictures, &Options::default()).unwrap();
            let measured = watch.peak_memory().unwrap() - before;
            drop((seen, watch));
            let [image, _] = beside(&Workload::default().with_batch(batch));
            agreed &= agree(&format!("{preset}, {batch} pictures"), measured, image);
        }
        for (batch, prompt, new, beams) in [(1, 40, 8, 1), (3, 60, 4, 1), (2, 20, 8, 5)] {
            let work = Workload::default()
                .with_batch(batch)
                .with_prompt_tokens(prompt)
                .with_new_tokens(new)
                .with_beams(beams);
            blip2.check_memory(&work).unwrap();
            let measured = write(&blip2, &work) - before;
            let [_, text] = beside(&work);
            let what = format!("{preset}, {batch} of {prompt} and {new} by {beams}");
            agreed &= agree(&what, measured, text);
        }
    }
    assert!(agreed, "see above");
}

#[test]
fn what_no_buffer_holds_is_refused_before_anything_is_allocated() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let device = Device::wgpu(Default::default());
    let largest = gpu::largest_buffer(&device).unwrap();
    println!(
        "the largest buffer: {largest}, of {:?}",
        gpu::memory(&device)
    );
    let mut config = reduced(Preset::Blip2Opt2_7b, 1, 4);
    let TextConfig::Opt(text) = &mut config.text_config else {
        panic!("{:?}", config.text_config)
    };
    text.vocab_size = (largest / 4) as usize / text.hidden_size + 1;
    device.memory_cleanup();
    let before = gpu::memory_in_use(&device).unwrap();
    let builder = Blip2Pipeline::builder_random(config, 0).device(device.clone());
    let refused = builder.precision(Precision::F32).load();
    let Err(Blip2Error::Memory(error)) = refused else {
        panic!("{refused:?}")
    };
    println!("{error}");
    assert!(error.piece.as_ref().unwrap().contains("embed_tokens"));
    assert_eq!(error.allowed, largest);
    assert!(matches!(
        error.fits[..],
        [Fit::Precision(Precision::Bf16 | Precision::F16)]
    ));
    assert_eq!(gpu::memory_in_use(&device).unwrap(), before);
}

/// Launches, launches of others and bytes of a step of decoding.
fn step(blip2: &Blip2Pipeline) -> [u64; 3] {
    let model = blip2.model().language_model();
    let prompt = vec![(10..40).collect::<Vec<u32>>()];
    let embeds = model.embed(&prompt).unwrap();
    let mut session = model.start(embeds, &[vec![true; 30]], Some(0), 10).unwrap();
    session.prefill().unwrap();
    session.step(&[0], &[11]).unwrap();
    let watch = Watch::new();
    session.step(&[0], &[12]).unwrap();
    [watch.launches(), watch.others(), watch.bytes_moved()]
}

#[test]
fn a_step_of_decoding_is_few_launches_that_read_each_weight_once() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for (preset, each_layer) in [(Preset::Blip2Opt2_7b, 7), (Preset::Blip2FlanT5Xl, 12)] {
        for precision in [
            Precision::F16,
            Precision::Bf16,
            Precision::Int8,
            Precision::Int4,
        ] {
            let of_layers = [2, 3].map(|layers| {
                let config = reduced(preset, layers, 4);
                let blip2 = load(config.clone(), precision);
                let [launches, others, bytes] = step(&blip2);
                let read = blip2
                    .memory()
                    .weights_named(|name| of_step(&config.text_config, name));
                let cache = cache(blip2.model().language_model(), &config.text_config);
                println!(
                    "{preset} {precision}, {layers} layers: {launches} launches, {others} of Burn, \
                     {bytes} bytes for {read} of weights and {cache} of caches"
                );
                let moved = bytes as f64 / (read + cache) as f64;
                assert!(
                    moved < 1.1,
                    "{preset} {precision}: {moved:.3} of what must move"
                );
                assert!(
                    moved > 0.95,
                    "{preset} {precision}: not all is counted: {moved:.3}"
                );
                assert!(
                    launches <= each_layer * layers as u64 + 10,
                    "{preset} {precision}: {launches}"
                );
                launches
            });
            let [two, three] = of_layers;
            assert!(
                three - two <= each_layer,
                "{preset} {precision}: {} a layer",
                three - two
            );
        }
    }
}

/// Beams that take each other's places cost a table of where keys and values are, and move none of them.
#[test]
fn beams_change_places_without_keys_and_values() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for preset in [Preset::Blip2Opt2_7b, Preset::Blip2FlanT5Xl] {
        let blip2 = load(reduced(preset, 2, 4), Precision::F16);
        let model = blip2.model().language_model();
        let prompts = vec![(10..40).collect::<Vec<u32>>(); 2];
        let embeds = model.embed(&prompts).unwrap();
        let mask = vec![vec![true; 30]; 2];
        let mut session = model.start(embeds, &mask, Some(0), 20).unwrap();
        session.prefill().unwrap();
        let stay = [0, 1, 2, 3, 4, 5];
        let beams = [[0, 0, 1, 5, 4, 3], [2, 1, 0, 3, 3, 3], [1, 2, 2, 5, 3, 4]];
        let mut step = |parents: &[usize]| {
            let watch = Watch::new();
            session.step(parents, &[11, 12, 13, 14, 15, 16]).unwrap();
            [watch.launches(), watch.others(), watch.bytes_moved()]
        };
        step(&[0, 0, 0, 1, 1, 1]);
        step(&beams[0]);
        for parents in beams {
            let [launches, others, bytes] = step(&stay);
            let [moved_launches, moved_others, moved_bytes] = step(&parents);
            println!(
                "{preset}: {moved_launches} launches of {launches}, {moved_others} of Burn of {others}, \
                 {moved_bytes} bytes of {bytes}"
            );
            assert!(
                moved_launches <= launches + 1 && moved_others <= others,
                "{preset}"
            );
            assert!((moved_bytes as f64) < 1.01 * bytes as f64, "{preset}");
        }
    }
}

/// Whether a step of decoding reads this tensor whole.
fn of_step(config: &TextConfig, name: &str) -> bool {
    let Some(name) = name.strip_prefix("language_model.") else {
        return false;
    };
    let matrix = name.ends_with(".weight") || name.ends_with(".bias");
    let skipped = match config {
        TextConfig::T5(_) => [
            "encoder.",
            "shared.",
            "EncDecAttention.k.",
            "EncDecAttention.v.",
            "relative_attention_bias",
        ]
        .iter()
        .any(|part| name.contains(part)),
        _ => name.contains("embed_positions."),
    };
    matrix && !skipped
}

/// The bytes of keys and values that a step after 31 positions reads and writes.
fn cache(_: &LanguageModel, config: &TextConfig) -> u64 {
    let numbers = match config {
        TextConfig::Opt(text) => 2 * text.num_hidden_layers * text.hidden_size * (32 + 2),
        TextConfig::T5(text) => {
            let width = 2 * text.num_decoder_layers * text.num_heads * text.d_kv;
            width * (3 + 2) + width * 30
        }
        other => panic!("{other:?}"),
    };
    4 * numbers as u64
}

fn fixture(name: &str, speculative: bool) -> Blip2Pipeline {
    Blip2Pipeline::builder(blip2_testing::fixture(name))
        .device(Device::wgpu(Default::default()))
        .speculative(speculative)
        .load()
        .unwrap()
}

#[test]
fn requests_join_and_are_written_ahead_as_alone() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let options = |tokens: usize| {
        let config = GenerationConfig::default().with_max_new_tokens(tokens);
        Options::default().with_generation(config)
    };
    for name in ["blip2_opt", "blip2_t5"] {
        let plain = fixture(name, false);
        let seen = plain.look(&picture(1)).unwrap();
        let asked = [("what?", 9), ("how many cats are there?", 5), ("why?", 7)];
        let begin = |(question, tokens): (&str, usize)| {
            let request = seen.request(question, &options(tokens)).unwrap();
            AnswerBatch::start(vec![request]).unwrap()
        };
        let mut batch = begin(asked[0]);
        for late in &asked[1..] {
            batch.step().unwrap();
            batch.join(begin(*late)).unwrap();
        }
        while !batch.is_finished() {
            batch.step().unwrap();
        }
        let ahead = fixture(name, true);
        for ((question, tokens), joined) in asked.into_iter().zip(batch.into_answers()) {
            let expected = seen.ask_with(question, &options(tokens)).unwrap();
            assert_eq!(
                joined.unwrap().token_ids(),
                expected.token_ids(),
                "{name}: {question}"
            );
            let written = ahead.answer_with(&picture(1), question, &options(tokens));
            let written = written.unwrap();
            assert_eq!(
                written.token_ids(),
                expected.token_ids(),
                "{name}: {question}"
            );
            assert!(written.timings.drafted > Some(0));
        }
    }
}

#[test]
fn greedy_search_reads_a_token_and_not_all_logits() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for name in ["blip2_opt", "blip2_t5", "instructblip_llama"] {
        let blip2 = fixture(name, false);
        let model = blip2.model().language_model();
        let start = || {
            let prompts = [vec![5, 6, 7, 8], vec![9, 10, 11, 12]];
            let embeds = model.embed(&prompts).unwrap();
            let mask = vec![vec![true; 4]; 2];
            model.start(embeds, &mask, Some(0), 6).unwrap()
        };
        let (mut whole, mut greedy) = (start(), start());
        let mut logits = whole.prefill().unwrap();
        let mut scores = greedy.prefill_greedy(&[]).unwrap();
        for _ in 0..5 {
            let Scores::Likeliest(found) = &scores else {
                panic!("{name}: {scores:?}")
            };
            let chosen: Vec<u32> = (0..2)
                .map(|row| {
                    let row = logits.row(row);
                    let first =
                        |best: usize, id: usize| if row[id] > row[best] { id } else { best };
                    (0..row.len()).fold(0, first) as u32
                })
                .collect();
            for (found, chosen) in found.iter().zip(&chosen) {
                assert!(
                    matches!(found, Likeliest::Token { id, .. } if id == chosen),
                    "{name}: {found:?}, {chosen}"
                );
            }
            logits = whole.step(&[0, 1], &chosen).unwrap();
            scores = greedy.step_greedy(&[0, 1], &chosen, &[]).unwrap();
        }
        // Whole answers, where the likeliest of each step are asked for and all logits are read, and
        // where they are not; and such as may not end before the third token.
        for least in [0, 3] {
            let config = GenerationConfig::default()
                .with_max_new_tokens(8)
                .with_min_new_tokens(least);
            let answer = |config: GenerationConfig| {
                let options = Options::default().with_generation(config);
                blip2
                    .answer_with(&picture(2), "what is it?", &options)
                    .unwrap()
            };
            let read = answer(config.clone().with_top_logprobs(1));
            let found = answer(config);
            assert_eq!(found.token_ids(), read.token_ids(), "{name}");
            assert!(found.tokens.len() >= least);
            for (found, read) in found.tokens.iter().zip(&read.tokens) {
                assert!(
                    (found.log_prob - read.log_prob).abs() < 1e-5,
                    "{found:?} {read:?}"
                );
            }
        }
    }
}

/// Steps of rows that stay with their prompts, replayed, against the same steps of a processor: rows with
/// padding before, between and behind, rows that end, rows that change places, and beams.
#[test]
fn steps_that_a_device_was_told_once_are_those_of_a_processor() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for name in ["blip2_opt", "instructblip_llama", "blip2_t5"] {
        let there = fixture(name, false);
        let here = Blip2Pipeline::from_pretrained(blip2_testing::fixture(name)).unwrap();
        let (t, f) = (true, false);
        let masks = [
            vec![vec![t; 5]; 3],
            vec![vec![f, f, t, t, t], vec![t; 5], vec![t, f, t, t, t]],
        ];
        for mask in masks {
            let prompts = [[5, 6, 7, 8, 9], [9, 10, 11, 12, 13], [4, 7, 4, 7, 4]];
            let prompts = prompts.map(|prompt| prompt.to_vec());
            let mut sessions = [&here, &there].map(|blip2| {
                let model = blip2.model().language_model();
                let embeds = model.embed(&prompts).unwrap();
                let mut session = model.start(embeds, &mask, Some(0), 48).unwrap();
                session.prefill().unwrap();
                session
            });
            // The rows of each step, by those of the one before.
            let all = vec![0, 1, 2];
            let mut steps = vec![all; 6];
            steps.extend([vec![2, 0]]);
            steps.extend(vec![vec![0, 1]; 5]);
            steps.extend([vec![1, 0], vec![0, 0, 1]]);
            steps.extend(vec![vec![0, 1, 2]; 4]);
            // Rows 0 and 1 are of one prompt now: as beams they swap, one takes the other's place, both go on.
            let beams = [[1, 0, 2], [0, 0, 2], [0, 1, 2], [1, 1, 2], [1, 0, 2]];
            steps.extend(beams.iter().cycle().take(10).map(|row| row.to_vec()));
            // All of them twice, then the rows of the prompts one in another, and fewer.
            steps.extend([vec![0, 0, 1, 1, 2, 2]]);
            let beams = [[3, 0, 1, 1, 5, 4], [0, 1, 2, 3, 4, 5], [2, 2, 2, 0, 4, 4]];
            steps.extend(beams.iter().cycle().take(6).map(|row| row.to_vec()));
            steps.extend([
                vec![4, 0, 5, 3, 1],
                vec![2, 1, 0, 3, 4],
                vec![1, 4],
                vec![0, 1],
            ]);
            for (n, parents) in steps.iter().enumerate() {
                let tokens: Vec<u32> = (0..parents.len())
                    .map(|row| 4 + ((7 * n + 3 * row) % 20) as u32)
                    .collect();
                let [expected, found] = sessions
                    .each_mut()
                    .map(|session| session.step(parents, &tokens).unwrap());
                for row in 0..parents.len() {
                    for (found, expected) in found.row(row).iter().zip(expected.row(row)) {
                        assert!(
                            (found - expected).abs() < 1e-3,
                            "{name}, step {n}, row {row}: {found} for {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// Pictures one after another and in several threads at once, a batch now and then.
#[test]
fn pictures_that_follow_one_another_are_looked_at_as_by_a_processor() {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    for name in ["blip2_opt", "instructblip_llama"] {
        let there = fixture(name, false);
        let here = Blip2Pipeline::from_pretrained(blip2_testing::fixture(name)).unwrap();
        let options = Options::default();
        for n in 0..5 {
            let [expected, found] =
                [&here, &there].map(|blip2| blip2.answer_with(&picture(n), "what?", &options));
            assert_eq!(found.unwrap().token_ids(), expected.unwrap().token_ids());
        }
        // In other threads, all at once, and several pictures at a time.
        std::thread::scope(|scope| {
            let (here, there) = (&here, &there);
            for n in 0..4 {
                scope.spawn(move || {
                    let pictures = [picture(n), picture(n + 1)];
                    for count in [1, 2, 2, 1] {
                        let pairs = pictures.iter().take(count).map(|p| (p, "what is it?"));
                        let [expected, found] = [here, there].map(|blip2| {
                            blip2
                                .answer_batch(pairs.clone(), &Options::default())
                                .unwrap()
                        });
                        for (found, expected) in found.iter().zip(&expected) {
                            assert_eq!(found.token_ids(), expected.token_ids(), "{name}");
                        }
                    }
                });
            }
        });
    }
}
