//! Sessions against whole passes: caches, batches of mixed lengths, rows that change places.

use blip2_io::config::{LlamaConfig, OptConfig, RopeParameters, RopeType, T5Config, TextConfig};
use blip2_kernels::{RandomWeights, Weights};
use blip2_lm::{
    DecodeSession, Generated, GenerationConfig, Generator, JoinSession, Keep, LanguageModel,
    LmError, Logits, Session,
};
use blip2_testing::{assert_close, floats};
use burn::tensor::Device;

const VOCAB: usize = 50;
const START: u32 = 0;
/// Sums over other lengths and batches round elsewhere.
const ROUNDING: f32 = 1e-5;

fn opt() -> LanguageModel {
    load(TextConfig::Opt(
        OptConfig::default()
            .with_vocab_size(VOCAB)
            .with_hidden_size(24)
            .with_word_embed_proj_dim(16)
            .with_num_hidden_layers(3)
            .with_num_attention_heads(4)
            .with_ffn_dim(40)
            .with_max_position_embeddings(32),
    ))
}

fn t5() -> LanguageModel {
    load(TextConfig::T5(
        T5Config::default()
            .with_vocab_size(VOCAB)
            .with_d_model(24)
            .with_d_kv(5)
            .with_num_heads(3)
            .with_d_ff(40)
            .with_num_layers(2)
            .with_num_decoder_layers(3)
            .with_relative_attention_num_buckets(8)
            .with_relative_attention_max_distance(10)
            .with_is_gated_act(true),
    ))
}

fn llama() -> LanguageModel {
    load(TextConfig::Llama(llama_config()))
}

fn llama_config() -> LlamaConfig {
    LlamaConfig::default()
        .with_vocab_size(VOCAB)
        .with_hidden_size(24)
        .with_num_hidden_layers(3)
        .with_num_attention_heads(4)
        .with_num_key_value_heads(2)
        .with_head_dim(6)
        .with_intermediate_size(40)
        .with_max_position_embeddings(32)
        .with_rope_parameters(
            RopeParameters::default()
                .with_rope_type(RopeType::Llama3)
                .with_rope_theta(Some(100.0))
                .with_factor(Some(4.0))
                .with_low_freq_factor(Some(1.0))
                .with_high_freq_factor(Some(3.0))
                .with_original_max_position_embeddings(Some(16)),
        )
}

/// The frequencies of these kinds depend on a text's length: each row's own, not the batch's.
#[test]
fn stretched_positions_follow_each_row() {
    let dynamic = RopeParameters::default()
        .with_rope_type(RopeType::Dynamic)
        .with_factor(Some(2.0));
    let long = RopeParameters::default()
        .with_rope_type(RopeType::LongRope)
        .with_short_factor(Some(vec![1.0; 3]))
        .with_long_factor(Some(vec![2.0, 3.0, 4.0]))
        .with_original_max_position_embeddings(Some(7));
    for (rope_parameters, max_position_embeddings) in [(dynamic, 7), (long, 32)] {
        let model = load(TextConfig::Llama(
            llama_config()
                .with_rope_parameters(rope_parameters)
                .with_max_position_embeddings(max_position_embeddings),
        ));
        let (prompts, rows) = mixed(&model);
        let config = GenerationConfig::default().with_max_new_tokens(6);
        let batch = generate(&model, &prompts, &rows, &config);
        for (prompt, batch) in prompts.iter().zip(&batch) {
            let alone = generate(
                &model,
                std::slice::from_ref(prompt),
                &[pad(prompt, &[])],
                &config,
            );
            assert_eq!(alone[0][0].tokens, batch[0].tokens);
            assert_close(
                "logprobs",
                &alone[0][0].logprobs,
                &batch[0].logprobs,
                ROUNDING,
            );
        }
    }
}

fn load(config: TextConfig) -> LanguageModel {
    let device = Device::flex();
    let source = RandomWeights::new(3, 0.3);
    LanguageModel::load(&config, &Weights::new(&source, &device)).unwrap()
}

/// Reproducible ids that are no start token.
fn ids(len: usize, salt: usize) -> Vec<u32> {
    (0..len)
        .map(|i| (1 + (i * i * 7 + i * (salt + 3) + salt * 11) % (VOCAB - 1)) as u32)
        .collect()
}

/// A row of a batch: ids, and which of them count.
type Row = (Vec<u32>, Vec<bool>);

/// A prompt with padding in the places `at` of the padded row, and its mask.
fn pad(prompt: &[u32], at: &[usize]) -> Row {
    let mut tokens = prompt.iter();
    (0..prompt.len() + at.len())
        .map(|place| {
            if at.contains(&place) {
                (1, false)
            } else {
                (*tokens.next().unwrap(), true)
            }
        })
        .unzip()
}

fn start<'m>(
    model: &'m LanguageModel,
    rows: &[Row],
    new_tokens: usize,
) -> Session<&'m LanguageModel> {
    let (ids, mask): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
    let embeds = model.embed(&ids).unwrap();
    model.start(embeds, &mask, Some(START), new_tokens).unwrap()
}

/// The logits after a prompt and an answer to it, by one whole pass without padding.
fn whole(model: &LanguageModel, prompt: &[u32], answer: &[u32]) -> Vec<f32> {
    let logits = match model {
        LanguageModel::Decoder(model) => {
            let ids = [prompt, answer].concat();
            let mask = vec![true; ids.len()];
            let embeds = model.embed(&[ids]).unwrap();
            model
                .forward(embeds, &[mask], Keep::NOTHING)
                .unwrap()
                .logits
        }
        LanguageModel::T5(model) => {
            let embeds = model.embed(&[prompt.to_vec()]).unwrap();
            let mask = vec![true; prompt.len()];
            let answer = [&[START], answer].concat();
            let output = model.forward(embeds, &[mask], &[answer], Keep::NOTHING);
            output.unwrap().logits
        }
        _ => unreachable!(),
    };
    let [_, seq, _] = logits.dims();
    floats(logits.narrow(1, seq - 1, 1))
}

/// Checks each row against the whole pass of its history.
fn check(model: &LanguageModel, logits: &Logits, histories: &[(Vec<u32>, Vec<u32>)]) {
    assert_eq!(logits.rows(), histories.len());
    for (row, (prompt, answer)) in histories.iter().enumerate() {
        let what = format!("row {row} after {answer:?}");
        let expected = whole(model, prompt, answer);
        assert_close(&what, logits.row(row), &expected, ROUNDING);
    }
}

/// Prompts, and the same in one batch. Padding shifts nothing for OPT and LLaMA wherever it
/// stands; T5 counts distances over it, so that it may stand at the end only.
fn mixed(model: &LanguageModel) -> (Vec<Vec<u32>>, Vec<Row>) {
    let places: [&[usize]; 4] = match model {
        LanguageModel::Decoder(_) => [&[], &[0, 1, 2], &[3, 4], &[0, 5, 8]],
        _ => [&[], &[6, 7, 8], &[7, 8], &[4, 5, 6, 7, 8]],
    };
    let row = |(salt, at): (usize, &&[usize])| {
        let prompt = ids(9 - at.len(), salt);
        let padded = pad(&prompt, at);
        (prompt, padded)
    };
    places.iter().enumerate().map(row).unzip()
}

#[test]
fn rows_change_places_fan_out_and_leave() {
    for model in [opt(), t5(), llama()] {
        let (prompts, rows) = mixed(&model);
        // Room for fewer tokens than are fed, so that the caches grow.
        let mut session = start(&model, &rows, 2);
        assert_eq!((session.rows(), session.vocab_size()), (4, VOCAB));
        let mut histories: Vec<_> = prompts.into_iter().map(|p| (p, Vec::new())).collect();
        check(&model, &session.prefill().unwrap(), &histories);

        let steps: [&[usize]; 7] = [
            &[0, 1, 2, 3],                // everyone stays
            &[3, 0, 2, 1],                // changes places
            &[0, 0, 0, 1, 1, 1, 2, 3, 3], // fans out
            &[0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[8, 8, 1, 0, 3], // some leave, some twice
            &[4],             // one is left
            &[0],
        ];
        for (step, parents) in steps.into_iter().enumerate() {
            let token = |row: usize| (1 + (7 * row + 5 * step) % (VOCAB - 1)) as u32;
            let tokens: Vec<u32> = (0..parents.len()).map(token).collect();
            histories = parents
                .iter()
                .zip(&tokens)
                .map(|(&parent, &token)| {
                    let (prompt, answer) = &histories[parent];
                    (prompt.clone(), [answer.as_slice(), &[token]].concat())
                })
                .collect();
            let logits = session.step(parents, &tokens).unwrap();
            check(&model, &logits, &histories);
        }
        assert_eq!(session.rows(), 4, "the prompts' rows stay known");
    }
}

/// Rows of other lengths join a batch that runs, and each is computed as in its own session, to the bit.
#[test]
fn rows_that_join_are_computed_as_before() {
    for model in [opt(), t5(), llama()] {
        let (_, mixed) = mixed(&model);
        // Of one row and of several, with padding and without, shorter and longer.
        let late = [pad(&ids(11, 5), &[]), pad(&ids(8, 6), &[8, 9, 10])];
        let parts = [&mixed[..3], &mixed[..1], &late[..], &mixed[3..]];
        let (mut apart, mut taken) = (Vec::new(), Vec::new());
        let mut running: Option<Session<&LanguageModel>> = None;
        for part in parts {
            let (mut alone, mut joining) = (start(&model, part, 9), start(&model, part, 9));
            assert_eq!(alone.prefill().unwrap(), joining.prefill().unwrap());
            apart.push(alone);
            taken.push(0);
            match &mut running {
                None => running = Some(joining),
                Some(running) => running.join(joining).unwrap(),
            }
            for _ in 0..2 {
                let (expected, tokens) = each_apart(&mut apart, &mut taken);
                let rows: Vec<usize> = (0..tokens.len()).collect();
                let found = running.as_mut().unwrap().step(&rows, &tokens).unwrap();
                check_bits(&found, &expected, &rows);
            }
        }
        let mut running = running.unwrap();
        assert_eq!(running.rows(), 7);
        // Some leave, and others change places between those that joined.
        let mut rows = vec![4, 0, 5, 6, 2];
        let (expected, tokens) = each_apart(&mut apart, &mut taken);
        let of_rows: Vec<u32> = rows.iter().map(|&row| tokens[row]).collect();
        let found = running.step(&rows, &of_rows).unwrap();
        check_bits(&found, &expected, &rows);
        // The longest leaves, then all of its part but those with padding.
        for kept in [vec![1, 2, 3, 4], vec![1], vec![0]] {
            let (expected, tokens) = each_apart(&mut apart, &mut taken);
            rows = kept.iter().map(|&place: &usize| rows[place]).collect();
            let tokens: Vec<u32> = rows.iter().map(|&row| tokens[row]).collect();
            let found = running.step(&kept, &tokens).unwrap();
            check_bits(&found, &expected, &rows);
        }
    }
}

/// A step of each session, with tokens of its own: the logits and the tokens of all rows.
fn each_apart(
    sessions: &mut [Session<&LanguageModel>],
    taken: &mut [usize],
) -> (Vec<Vec<f32>>, Vec<u32>) {
    let (mut logits, mut all) = (Vec::new(), Vec::new());
    for (part, (session, taken)) in sessions.iter_mut().zip(taken).enumerate() {
        let rows: Vec<usize> = (0..session.rows()).collect();
        let token = |row: &usize| (1 + (7 * part + 5 * *taken + row) % (VOCAB - 1)) as u32;
        let tokens: Vec<u32> = rows.iter().map(token).collect();
        let step = session.step(&rows, &tokens).unwrap();
        logits.extend(rows.iter().map(|&row| step.row(row).to_vec()));
        all.extend(tokens);
        *taken += 1;
    }
    (logits, all)
}

fn check_bits(found: &Logits, expected: &[Vec<f32>], rows: &[usize]) {
    assert_eq!(found.rows(), rows.len());
    for (place, &row) in rows.iter().enumerate() {
        assert_eq!(found.row(place), expected[row], "row {row}");
    }
}

#[test]
fn a_prompt_that_has_not_run_and_another_model_cannot_join() {
    let (model, other) = (opt(), opt());
    let rows = [pad(&ids(4, 1), &[])];
    let mut running = start(&model, &rows, 3);
    running.prefill().unwrap();
    let error = running.join(start(&model, &rows, 3)).unwrap_err();
    assert!(matches!(error, LmError::Order(_)), "{error}");
    let mut stranger = start(&other, &rows, 3);
    stranger.prefill().unwrap();
    let error = running.join(stranger).unwrap_err();
    assert!(matches!(error, LmError::OtherModel), "{error}");
    // And goes on as it was.
    assert_eq!(running.step(&[0], &[7]).unwrap().rows(), 1);
}

#[test]
fn padding_at_the_end_of_a_prompt_is_passed_over() {
    for model in [opt(), llama()] {
        padding_at_the_end(&model);
    }
}

fn padding_at_the_end(model: &LanguageModel) {
    let prompt = ids(4, 1);
    let rows = [pad(&prompt, &[4, 5]), pad(&ids(6, 2), &[])];
    let mut session = start(model, &rows, 3);
    let mut histories = vec![(prompt, vec![]), (ids(6, 2), vec![])];
    check(model, &session.prefill().unwrap(), &histories);
    for token in [7, 8] {
        histories
            .iter_mut()
            .for_each(|(_, answer)| answer.push(token));
        check(
            model,
            &session.step(&[0, 1], &[token; 2]).unwrap(),
            &histories,
        );
    }
}

fn generate(
    model: &LanguageModel,
    prompts: &[Vec<u32>],
    rows: &[Row],
    config: &GenerationConfig,
) -> Vec<Vec<Generated>> {
    let mut session = start(model, rows, 8);
    let histories = if model.is_encoder_decoder() {
        vec![vec![START]; prompts.len()]
    } else {
        prompts.to_vec()
    };
    Generator::new(config.clone())
        .unwrap()
        .generate(&mut session, &histories)
        .unwrap()
}

#[test]
fn a_batch_of_mixed_lengths_equals_its_rows_alone() {
    for model in [opt(), t5(), llama()] {
        let (prompts, rows) = mixed(&model);
        for num_beams in [1, 4] {
            let config = GenerationConfig::default()
                .with_max_new_tokens(8)
                .with_num_beams(num_beams)
                .with_num_return_sequences(num_beams)
                // Some rows end early and leave the batch.
                .with_eos_token_id((0..VOCAB as u32).step_by(4).collect::<Vec<_>>());
            let batch = generate(&model, &prompts, &rows, &config);
            let mut lengths = Vec::new();
            for (row, prompt) in prompts.iter().enumerate() {
                let prompts = [prompt.clone()];
                let alone = generate(&model, &prompts, &[pad(prompt, &[])], &config);
                assert_eq!(alone[0].len(), num_beams);
                for (alone, batch) in alone[0].iter().zip(&batch[row]) {
                    assert_eq!(alone.tokens, batch.tokens, "row {row}, {num_beams} beams");
                    assert_eq!(alone.finish_reason, batch.finish_reason);
                    assert_close("logprobs", &alone.logprobs, &batch.logprobs, ROUNDING);
                    lengths.push(alone.tokens.len());
                }
            }
            lengths.sort_unstable();
            lengths.dedup();
            assert!(
                lengths.len() > 1,
                "rows must end at several lengths: {lengths:?}"
            );
        }
    }
}

#[test]
fn the_context_ends_a_generation() {
    for model in [opt(), llama()] {
        context_ends(&model);
    }
    assert_eq!(t5_remaining(), None);
}

fn context_ends(model: &LanguageModel) {
    let prompts = [ids(30, 1), ids(27, 2)];
    let rows = [pad(&prompts[0], &[]), pad(&prompts[1], &[4, 5, 6])];
    let mut session = start(model, &rows, 1000);
    assert_eq!(session.remaining_positions(), Some(2));
    let config = GenerationConfig::default().with_max_new_tokens(1000);
    let results = Generator::new(config)
        .unwrap()
        .generate(&mut session, &prompts)
        .unwrap();
    assert_eq!(results[0][0].tokens.len(), 3, "the last one is not fed");
}

fn t5_remaining() -> Option<usize> {
    let model = t5();
    start(&model, &[pad(&ids(3, 1), &[])], usize::MAX).remaining_positions()
}

#[test]
fn one_model_serves_many_threads() {
    for model in [opt(), t5(), llama()] {
        let (prompts, rows) = mixed(&model);
        let config = GenerationConfig::default().with_max_new_tokens(6);
        let tokens = || {
            let results = generate(&model, &prompts, &rows, &config);
            results.into_iter().flatten().map(|result| result.tokens)
        };
        let expected: Vec<_> = tokens().collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| tokens().collect::<Vec<_>>()))
                .collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), expected);
            }
        });
    }
}
