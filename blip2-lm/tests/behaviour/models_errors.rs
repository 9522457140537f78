//! Bad input is refused by name, before anything panics or changes.

use blip2_io::config::{OptConfig, T5Config, TextConfig};
use blip2_kernels::{RandomWeights, Weights};
use blip2_lm::{DecodeSession, Keep, LanguageModel, LmError, Session};
use burn::tensor::{Device, Tensor};

const WIDTH: usize = 8;
const VOCAB: usize = 20;
const CONTEXT: usize = 6;

fn opt_config() -> OptConfig {
    OptConfig::default()
        .with_vocab_size(VOCAB)
        .with_hidden_size(WIDTH)
        .with_word_embed_proj_dim(WIDTH)
        .with_num_hidden_layers(1)
        .with_num_attention_heads(2)
        .with_ffn_dim(8)
        .with_max_position_embeddings(CONTEXT)
}

fn t5_config() -> T5Config {
    T5Config::default()
        .with_vocab_size(VOCAB)
        .with_d_model(WIDTH)
        .with_d_kv(4)
        .with_num_heads(2)
        .with_d_ff(8)
        .with_num_layers(1)
        .with_num_decoder_layers(1)
}

fn load(config: TextConfig) -> Result<LanguageModel, LmError> {
    let device = Device::flex();
    let source = RandomWeights::new(0, 0.1);
    LanguageModel::load(&config, &Weights::new(&source, &device))
}

fn models() -> [LanguageModel; 2] {
    [
        load(TextConfig::Opt(opt_config())).unwrap(),
        load(TextConfig::T5(t5_config())).unwrap(),
    ]
}

fn start(
    model: &LanguageModel,
    shape: [usize; 3],
    mask: Vec<Vec<bool>>,
) -> Result<Session<&LanguageModel>, LmError> {
    let embeds = Tensor::zeros(shape, &Device::flex());
    model.start(embeds, &mask, Some(0), 4)
}

/// The message of what must be an error.
fn message<T>(result: Result<T, LmError>) -> String {
    match result {
        Ok(_) => panic!("there is no error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn configurations_that_make_no_sense() {
    let heads = opt_config().with_num_attention_heads(3);
    let message = message(load(TextConfig::Opt(heads)));
    assert!(message.contains("hidden_size = 8"), "{message}");
    let flat = t5_config().with_d_kv(0);
    let error = load(TextConfig::T5(flat)).unwrap_err();
    assert!(matches!(error, LmError::Config(_)), "{error}");
}

#[test]
fn ids_that_are_no_batch_or_no_tokens() {
    for model in models() {
        let empty = message(model.embed(&[]));
        assert!(empty.contains("input_ids has the shape [0, 0]"), "{empty}");
        assert!(message(model.embed(&[vec![]])).contains("[1, 0]"));
        let ragged = message(model.embed(&[vec![1, 2], vec![3]]));
        assert!(ragged.contains("[2, 1]"), "{ragged}");
        let beyond = message(model.embed(&[vec![1, 2], vec![3, 20]]));
        assert_eq!(
            beyond,
            "row 1 holds the token 20, outside the vocabulary of 20"
        );
    }
}

#[test]
fn embeddings_and_masks_that_do_not_go_together() {
    for model in models() {
        let all = |rows, seq| vec![vec![true; seq]; rows];
        let width = message(start(&model, [2, 3, WIDTH + 1], all(2, 3)));
        assert!(
            width.contains("inputs_embeds has the shape [2, 3, 9]"),
            "{width}"
        );
        assert!(message(start(&model, [0, 3, WIDTH], all(0, 3))).contains("[0, 3, 8]"));
        assert!(message(start(&model, [2, 0, WIDTH], all(2, 0))).contains("[2, 0, 8]"));
        let rows = message(start(&model, [2, 3, WIDTH], all(1, 3)));
        assert!(
            rows.contains("attention_mask has the shape [1, 3]"),
            "{rows}"
        );
        assert!(message(start(&model, [2, 3, WIDTH], all(2, 4))).contains("[2, 4]"));
        let ragged = vec![vec![true; 3], vec![true; 2]];
        assert!(message(start(&model, [2, 3, WIDTH], ragged)).contains("[2, 2]"));
        let padding = vec![vec![true; 3], vec![false; 3]];
        let padding = message(start(&model, [2, 3, WIDTH], padding));
        assert!(padding.starts_with("row 1 is padding only"), "{padding}");
    }
}

#[test]
fn steps_that_cannot_be_taken_change_nothing() {
    for model in models() {
        let new = || start(&model, [2, 3, WIDTH], vec![vec![true; 3]; 2]).unwrap();
        let (mut session, mut untouched) = (new(), new());
        let early = message(session.step(&[0, 1], &[1, 2]));
        assert!(early.contains("the prompt has not run yet"), "{early}");
        session.prefill().unwrap();
        untouched.prefill().unwrap();
        let late = message(session.prefill());
        assert!(late.contains("the prompt has run already"), "{late}");
        for (parents, tokens, fault) in [
            (&[1][..], &[1, 2][..], "tokens has the shape [2]"),
            (&[], &[], "[0, 0]"),
            (
                &[1, 2],
                &[1, 2],
                "a step continues row 2, but the last one had 2 rows",
            ),
            (&[1, 0], &[1, 20], "row 1 holds the token 20"),
        ] {
            let message = message(session.step(parents, tokens));
            assert!(message.contains(fault), "{message}");
        }
        let after = session.step(&[1, 0], &[3, 4]).unwrap();
        assert_eq!(after, untouched.step(&[1, 0], &[3, 4]).unwrap());
    }
}

#[test]
fn what_is_longer_than_the_context() {
    let [opt, _] = models();
    let long = message(start(&opt, [1, 7, WIDTH], vec![vec![true; 7]]));
    assert!(
        long.starts_with("row 0 has 7 tokens, but the context holds 6"),
        "{long}"
    );
    // Padding takes no position.
    let mut mask = vec![true; 9];
    mask[2..6].fill(false);
    let mut session = start(&opt, [1, 9, WIDTH], vec![mask]).unwrap();
    session.prefill().unwrap();
    assert_eq!(session.remaining_positions(), Some(1));
    session.step(&[0], &[1]).unwrap();
    let full = message(session.step(&[0], &[1]));
    assert!(
        full.starts_with("row 0 has 7 tokens, but the context holds 6"),
        "{full}"
    );
}

#[test]
fn start_tokens() {
    let [opt, t5] = models();
    let embeds = || Tensor::zeros([1, 2, WIDTH], &Device::flex());
    let mask = [vec![true; 2]];
    assert!(opt.start(embeds(), &mask, None, 1).is_ok());
    assert!(!opt.is_encoder_decoder() && t5.is_encoder_decoder());
    let none = message(t5.start(embeds(), &mask, None, 1));
    assert!(none.contains("decoder_start_token_id"), "{none}");
    let beyond = message(t5.start(embeds(), &mask, Some(20), 1));
    assert_eq!(
        beyond,
        "decoder_start_token_id = 20 is outside the vocabulary of 20"
    );
}

#[test]
fn answers_that_do_not_go_with_what_was_encoded() {
    let LanguageModel::T5(model) = load(TextConfig::T5(t5_config())).unwrap() else {
        panic!("not T5")
    };
    let embeds = Tensor::zeros([2, 3, WIDTH], &Device::flex());
    let encoded = model.encode(embeds, &[vec![true; 3], vec![true; 3]], Keep::NOTHING);
    let encoded = encoded.unwrap();
    let rows = message(model.decode(&encoded, &[vec![0, 1]]));
    assert!(
        rows.contains("decoder_input_ids has the shape [1]"),
        "{rows}"
    );
    let beyond = message(model.decode(&encoded, &[vec![0, 1], vec![0, 99]]));
    assert!(beyond.contains("row 1 holds the token 99"), "{beyond}");
}
