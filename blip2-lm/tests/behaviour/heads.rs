//! Every language model's output head is asked for, and held, as one, in every precision.

use std::{cell::RefCell, collections::BTreeMap, fmt::Debug};

use blip2_kernels::{PackedMatrix, Role, TensorRequest, WeightSource};
use blip2_lm::{
    BlipTextConfig, LanguageModel, LlamaConfig, OptConfig, Precision, RandomWeights, T5Config,
    TextConfig, Weights, blip_text::BlipTextLmHeadModel,
};
use burn::tensor::{DType, Device, TensorData};

/// No other matrix has that many rows, so that a head is known by them.
const VOCAB: usize = 97;
const WIDTH: usize = 32;

/// Random weights that note what each tensor is asked for as.
struct Recorder {
    source: RandomWeights,
    roles: RefCell<BTreeMap<String, Role>>,
}

impl Recorder {
    fn note(&self, request: &TensorRequest<'_>) {
        let mut roles = self.roles.borrow_mut();
        roles.insert(request.name.to_string(), request.role);
    }
}

impl WeightSource for Recorder {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        self.note(request);
        self.source.tensor(request)
    }

    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        self.note(request);
        self.source.packed(request)
    }

    fn contains(&self, name: &str) -> bool {
        self.source.contains(name)
    }
}

/// Checks a model whose head is `head` in every precision; `table` is its table of token
/// embeddings, where that is another.
fn check<M: Debug>(
    head: &str,
    table: Option<&str>,
    absent: Option<&str>,
    load: impl Fn(&Weights<'_>) -> M,
) {
    let device = Device::flex();
    for precision in Precision::ALL {
        let source = RandomWeights::new(0, 0.1);
        let recorder = Recorder {
            source: match absent {
                Some(name) => source.without(name),
                None => source,
            },
            roles: RefCell::default(),
        };
        let model = load(&Weights::new(&recorder, &device).with_precision(precision));

        let roles = recorder.roles.into_inner();
        let heads: Vec<_> = roles
            .iter()
            .filter(|(_, role)| **role == Role::Head)
            .collect();
        assert_eq!(heads, [(&head.to_string(), &Role::Head)], "{precision}");
        if let Some(table) = table {
            assert_eq!(roles[table], Role::Embedding, "{precision}");
        }

        // Matrices print as their format and shape.
        let (held, shape) = (format!("{model:?}"), format!("[{VOCAB}, {WIDTH}]"));
        let expected = precision.for_head().packed(DType::F32, Role::Matrix);
        assert!(held.contains(&format!("{expected} {shape}")), "{precision}");
        if precision == Precision::Int4 {
            assert_eq!(expected.to_string(), "int8");
            assert!(!held.contains(&format!("int4 {shape}")));
            assert!(held.contains("int4 ["), "other matrices are in 4 bits");
        }
    }
}

fn language_model(config: TextConfig) -> impl Fn(&Weights<'_>) -> LanguageModel {
    move |weights| LanguageModel::load(&config, weights).unwrap()
}

#[test]
fn opt() {
    let config = |tie_word_embeddings| {
        language_model(TextConfig::Opt(
            OptConfig::default()
                .with_vocab_size(VOCAB)
                .with_hidden_size(WIDTH)
                .with_word_embed_proj_dim(WIDTH)
                .with_num_hidden_layers(1)
                .with_num_attention_heads(4)
                .with_ffn_dim(64)
                .with_tie_word_embeddings(tie_word_embeddings),
        ))
    };
    let table = "model.decoder.embed_tokens.weight";
    check(table, None, None, config(true));
    check("lm_head.weight", None, Some(table), config(true));
    check("lm_head.weight", Some(table), None, config(false));
}

#[test]
fn llama() {
    let config = |tie_word_embeddings| {
        language_model(TextConfig::Llama(
            LlamaConfig::default()
                .with_vocab_size(VOCAB)
                .with_hidden_size(WIDTH)
                .with_intermediate_size(64)
                .with_num_hidden_layers(1)
                .with_num_attention_heads(4)
                .with_num_key_value_heads(2)
                .with_head_dim(8)
                .with_tie_word_embeddings(tie_word_embeddings),
        ))
    };
    let table = "model.embed_tokens.weight";
    check(table, None, None, config(true));
    check("lm_head.weight", None, Some(table), config(true));
    check("lm_head.weight", Some(table), None, config(false));
}

#[test]
fn t5() {
    let config = || {
        language_model(TextConfig::T5(
            T5Config::default()
                .with_vocab_size(VOCAB)
                .with_d_model(WIDTH)
                .with_d_kv(8)
                .with_num_heads(4)
                .with_d_ff(64)
                .with_num_layers(1)
                .with_num_decoder_layers(1),
        ))
    };
    // T5's checkpoint says whether the head is tied.
    check("shared.weight", None, Some("lm_head.weight"), config());
    check("lm_head.weight", Some("shared.weight"), None, config());
}

#[test]
fn blip_text() {
    let config = BlipTextConfig::default()
        .with_vocab_size(VOCAB)
        .with_hidden_size(WIDTH)
        .with_intermediate_size(64)
        .with_num_hidden_layers(1)
        .with_num_attention_heads(4)
        .with_encoder_hidden_size(24)
        .with_bos_token_id(None)
        .with_sep_token_id(None);
    let table = "bert.embeddings.word_embeddings.weight";
    check(table, None, None, |weights| {
        BlipTextLmHeadModel::load(&config, weights).unwrap()
    });
}
