//! A session that is ahead decodes what its target decodes alone.

use blip2_io::config::{LlamaConfig, OptConfig, T5Config, TextConfig};
use blip2_kernels::{Precision, RandomWeights, Weights};
use blip2_lm::{
    DecodeSession, Generated, GenerationConfig, Generator, JoinSession, LanguageModel,
    RewindSession, Session, generate::Speculative,
};
use burn::tensor::Device;

const VOCAB: usize = 50;
const CONTEXT: usize = 40;
const START: u32 = 0;

fn configs() -> [TextConfig; 3] {
    let opt = OptConfig::default()
        .with_vocab_size(VOCAB)
        .with_hidden_size(64)
        .with_word_embed_proj_dim(64)
        .with_num_hidden_layers(3)
        .with_num_attention_heads(4)
        .with_ffn_dim(96)
        .with_max_position_embeddings(CONTEXT);
    let t5 = T5Config::default()
        .with_vocab_size(VOCAB)
        .with_d_model(64)
        .with_d_kv(16)
        .with_num_heads(3)
        .with_d_ff(96)
        .with_num_layers(2)
        .with_num_decoder_layers(3)
        .with_relative_attention_num_buckets(8)
        .with_relative_attention_max_distance(10);
    let llama = LlamaConfig::default()
        .with_vocab_size(VOCAB)
        .with_hidden_size(64)
        .with_num_hidden_layers(3)
        .with_num_attention_heads(4)
        .with_num_key_value_heads(2)
        .with_head_dim(16)
        .with_intermediate_size(96)
        .with_max_position_embeddings(CONTEXT);
    [
        TextConfig::Opt(opt),
        TextConfig::T5(t5),
        TextConfig::Llama(llama),
    ]
}

fn load(config: &TextConfig, seed: u64, precision: Precision) -> LanguageModel {
    let (source, device) = (RandomWeights::new(seed, 0.2), Device::flex());
    let weights = Weights::new(&source, &device).with_precision(precision);
    LanguageModel::load(config, &weights).unwrap()
}

/// A session of one model, after a prompt that another has embedded.
fn start<'m>(
    model: &'m LanguageModel,
    embedding: &LanguageModel,
    prompt: &[u32],
) -> Session<&'m LanguageModel> {
    let embeds = embedding.embed(&[prompt.to_vec()]).unwrap();
    let mask = vec![vec![true; prompt.len()]];
    model.start(embeds, &mask, Some(START), 12).unwrap()
}

fn generate(session: &mut impl DecodeSession, config: &str, history: &[u32]) -> Vec<Generated> {
    let config: GenerationConfig = serde_json::from_str(config).unwrap();
    let generator = Generator::new(config).unwrap();
    let results = generator.generate(session, &[history.to_vec()]).unwrap();
    results.into_iter().next().unwrap()
}

const ARGUMENTS: [&str; 6] = [
    r#"{"max_new_tokens": 30}"#,
    r#"{"max_new_tokens": 1}"#,
    r#"{"max_new_tokens": 25, "repetition_penalty": 1.7, "no_repeat_ngram_size": 2}"#,
    r#"{"max_new_tokens": 25, "do_sample": true, "temperature": 1.2, "seed": 7}"#,
    r#"{"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 2}"#,
    // Beyond the context of those that have one.
    r#"{"max_new_tokens": 60}"#,
];

#[test]
fn what_is_decoded_is_what_the_target_decodes_alone() {
    let prompt = [2, 17, 42, 9];
    for config in configs() {
        let target = load(&config, 3, Precision::F32);
        let history: &[u32] = match target.is_encoder_decoder() {
            true => &[START],
            false => &prompt,
        };
        // The same weights narrowed, the target itself, and a stranger who is hardly ever right.
        let mut shares = Vec::new();
        for (seed, precision) in [
            (3, Precision::Int4),
            (3, Precision::F32),
            (4, Precision::F32),
        ] {
            let draft = load(&config, seed, precision);
            let (mut drafted, mut accepted) = (0, 0);
            for arguments in ARGUMENTS {
                let expected = generate(&mut start(&target, &target, &prompt), arguments, history);
                let mut ahead = Speculative::new(
                    start(&target, &target, &prompt),
                    start(&draft, &target, &prompt),
                );
                let found = generate(&mut ahead, arguments, history);
                assert_eq!(found, expected, "{arguments}");
                let drafts = ahead.drafts();
                if arguments.contains("beams") {
                    assert_eq!(drafts.drafted(), 0);
                }
                if !arguments.contains("penalty") && !arguments.contains("sample") {
                    drafted += drafts.drafted();
                    accepted += drafts.accepted();
                }
            }
            assert!(drafted > 0);
            shares.push(accepted as f64 / drafted as f64);
        }
        let [narrow, same, stranger] = shares[..] else {
            unreachable!()
        };
        // What ends a text leaves what was drafted behind it, so that even the target is not always right.
        assert!(
            same > 0.8 && narrow > stranger && stranger < 0.5,
            "{shares:?}"
        );
    }
}

#[test]
fn tokens_that_are_taken_back_leave_no_trace() {
    let prompt = [2, 17, 42, 9];
    for config in configs() {
        let model = load(&config, 3, Precision::F32);
        let mut session = start(&model, &model, &prompt);
        session.prefill().unwrap();
        let mut one_by_one = start(&model, &model, &prompt);
        one_by_one.prefill().unwrap();
        let several = session.extend(&[7, 8, 9, 10]).unwrap();
        for (place, token) in [7, 8, 9, 10].into_iter().enumerate() {
            let one = one_by_one.step(&[0], &[token]).unwrap();
            assert_eq!(several.row(place), one.row(0), "after token {place}");
        }
        session.rewind(3);
        one_by_one.rewind(3);
        let again = session.extend(&[11, 12]).unwrap();
        let first = one_by_one.step(&[0], &[11]).unwrap();
        assert_eq!(again.row(0), first.row(0));
        assert_eq!(again.row(1), one_by_one.step(&[0], &[12]).unwrap().row(0));
        // Several rows are not run ahead.
        session.step(&[0, 0], &[3, 4]).unwrap();
        assert!(session.extend(&[5]).is_err());
    }
}

#[test]
fn sessions_that_are_ahead_join_as_if_they_were_not() {
    let prompts: [&[u32]; 2] = [&[2, 17, 42, 9], &[3, 5, 8]];
    for config in configs() {
        let (target, draft) = (
            load(&config, 3, Precision::F32),
            load(&config, 3, Precision::Int4),
        );
        let mut alone = prompts.map(|prompt| start(&target, &target, prompt));
        let mut ahead = prompts.map(|prompt| {
            let own = start(&target, &target, prompt);
            Speculative::new(own, start(&draft, &target, prompt))
        });
        for n in 0..2 {
            alone[n].prefill().unwrap();
            ahead[n].prefill().unwrap();
            for token in [7, 3].into_iter().take(1 + n) {
                let expected = alone[n].step(&[0], &[token]).unwrap();
                assert_eq!(ahead[n].step(&[0], &[token]).unwrap(), expected);
            }
        }
        let [mut joined, other] = ahead;
        joined.join(other).unwrap();
        for tokens in [[4, 5], [6, 7]] {
            let found = joined.step(&[0, 1], &tokens).unwrap();
            for n in 0..2 {
                let expected = alone[n].step(&[0], &[tokens[n]]).unwrap();
                assert_eq!(found.row(n), expected.row(0));
            }
        }
    }
}
