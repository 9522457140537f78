//! The configurations of Granite and of Granite Speech, as published and with nonsense in them.

use blip2_io::{
    CheckpointFolder, IoError,
    config::{Ability, ConfigError, GraniteConfig, GraniteSpeechConfig, ModelKind, TextConfig},
};
use blip2_testing::{assert_says, fixture};
use serde_json::{Value, json};

/// The language model of `ibm-granite/granite-speech-3.3-2b`.
fn published() -> Value {
    json!({
        "model_type": "granite",
        "attention_bias": false,
        "attention_dropout": 0.0,
        "attention_multiplier": 0.015625,
        "bos_token_id": 0,
        "embedding_multiplier": 12.0,
        "eos_token_id": 0,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "logits_scaling": 8.0,
        "max_position_embeddings": 131072,
        "num_attention_heads": 32,
        "num_hidden_layers": 40,
        "num_key_value_heads": 8,
        "pad_token_id": 0,
        "residual_multiplier": 0.22,
        "rms_norm_eps": 1e-05,
        "rope_scaling": null,
        "rope_theta": 10000000.0,
        "tie_word_embeddings": true,
        "vocab_size": 49160
    })
}

#[test]
fn the_published_granite() {
    let config: TextConfig = serde_json::from_value(published()).unwrap();
    config.validate().unwrap();
    assert_eq!(config.model_type(), "granite");
    assert!(!config.is_encoder_decoder());
    assert_eq!((config.vocab_size(), config.hidden_size()), (49160, 2048));
    assert_eq!(config.context(), Some(131072));
    assert_eq!(config.eos_token_ids(), [0]);
    assert_eq!(
        (config.pad_token_id(), config.bos_token_id()),
        (Some(0), Some(0))
    );
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(written["model_type"], "granite");
    assert_eq!(
        serde_json::from_value::<TextConfig>(written).unwrap(),
        config
    );
    let TextConfig::Granite(granite) = config else {
        panic!("not a Granite")
    };
    assert_eq!((granite.head_dim, granite.num_key_value_heads), (64, 8));
    assert_eq!(granite.rope_parameters.rope_theta, Some(1e7));
    let multipliers = [
        granite.embedding_multiplier,
        granite.residual_multiplier,
        granite.attention_multiplier,
        granite.logits_scaling,
    ];
    assert_eq!(multipliers, [12.0, 0.22, 0.015625, 8.0]);
    let llama = granite.to_llama();
    assert_eq!(llama.intermediate_size, 8192);
    assert_eq!(llama.rope_parameters, granite.rope_parameters);
}

#[test]
fn granites_defaults_are_those_of_transformers() {
    let config: GraniteConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(config, GraniteConfig::default());
    let sizes = [
        config.vocab_size,
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.max_position_embeddings,
    ];
    assert_eq!(sizes, [32000, 4096, 11008, 32, 32, 32, 2048]);
    assert_eq!(config.rms_norm_eps, 1e-6);
    assert_eq!(config.eos_token_id, [2]);
    assert_eq!((config.bos_token_id, config.pad_token_id), (Some(1), None));
    assert!(!config.tie_word_embeddings && !config.attention_bias && !config.mlp_bias);
    // Whole numbers are numbers, too; and 5.x has the base with the other settings of positions.
    let new: GraniteConfig = serde_json::from_value(json!({
        "embedding_multiplier": 12,
        "rope_parameters": { "rope_type": "default", "rope_theta": 500.0 }
    }))
    .unwrap();
    assert_eq!(new.embedding_multiplier, 12.0);
    assert_eq!(new.rope_parameters.rope_theta, Some(500.0));
}

#[test]
fn faulty_granites_name_the_key() {
    for (faulty, part) in [
        (json!({ "logits_scaling": 0.0 }), "logits_scaling = 0"),
        (
            json!({ "num_key_value_heads": 5 }),
            "num_key_value_heads = 5",
        ),
        (json!({ "hidden_size": 100 }), "hidden_size = 100"),
        (json!({ "vocab_size": 0 }), "vocab_size = 0"),
    ] {
        let config: GraniteConfig = serde_json::from_value(faulty).unwrap();
        assert_says(config.validate(), &[part]);
    }
    let endless = GraniteConfig::default().with_residual_multiplier(f64::INFINITY);
    assert_says(endless.validate(), &["residual_multiplier", "finite"]);
    let text = json!({ "model_type": "granite", "embedding_multiplier": "12" });
    assert_says(
        serde_json::from_value::<TextConfig>(text),
        &["embedding_multiplier"],
    );
}

fn speech(change: impl Fn(&mut Value)) -> GraniteSpeechConfig {
    let mut value = json!({
        "model_type": "granite_speech",
        "architectures": ["GraniteSpeechForConditionalGeneration"],
        "audio_token_index": 49159,
        "downsample_rate": 5,
        "window_size": 15,
        "has_lora_adapter": true,
        "encoder_config": { "model_type": "granite_speech_encoder", "input_dim": 160, "num_layers": 16 },
        "projector_config": {
            "model_type": "blip_2_qformer",
            "cross_attention_frequency": 1,
            "encoder_hidden_size": 1024,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 2
        },
        "text_config": published()
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_published_granite_speech() {
    let config = speech(|_| {});
    config.validate().unwrap();
    assert_eq!(config.encoder_config.num_layers, 16);
    assert_eq!(config.projector_config.hidden_size, 1024);
    assert_eq!(config.audio_token_index, 49159);
    assert_eq!(config.queries_per_window(), 3);
    assert!(config.has_lora_adapter && config.tie_word_embeddings);
    let found = [0, 1, 15, 16, 150].map(|frames| config.num_placeholders(frames));
    assert_eq!(found, [0, 3, 3, 6, 30]);
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(written["model_type"], "granite_speech");
    assert_eq!(
        serde_json::from_value::<GraniteSpeechConfig>(written).unwrap(),
        config
    );
}

#[test]
fn the_whole_models_key_says_whether_the_head_is_tied() {
    let tied = |value: Value| {
        let config = speech(|whole| whole["tie_word_embeddings"] = value.clone());
        let TextConfig::Granite(text) = config.text_config else {
            panic!("not a Granite")
        };
        assert_eq!(text.tie_word_embeddings, config.tie_word_embeddings);
        config.tie_word_embeddings
    };
    assert!(tied(Value::Null) && tied(true.into()) && !tied(false.into()));
}

#[test]
fn parts_that_are_left_out_have_their_defaults() {
    let config = GraniteSpeechConfig::default();
    assert_eq!(config.audio_token_index, 49155);
    assert_eq!((config.window_size, config.downsample_rate), (15, 5));
    assert!(matches!(config.text_config, TextConfig::Granite(_)));
    // The reference's own defaults do not go together.
    assert_says(config.validate(), &["encoder_hidden_size", "1024"]);
    let other = speech(|value| {
        value["audio_token_id"] = value["audio_token_index"].take();
        let text = value["text_config"].as_object_mut().unwrap();
        text.remove("model_type");
    });
    assert_eq!(other.audio_token_index, 49159);
    assert_eq!(other, speech(|_| {}));
}

#[test]
fn faulty_speech_models_name_the_key() {
    let fault = |change: fn(&mut Value), parts: &[&str]| {
        let result: Result<(), ConfigError> = speech(change).validate();
        assert_says(result, parts);
    };
    fault(|v| v["window_size"] = 0.into(), &["window_size = 0"]);
    fault(
        |v| v["downsample_rate"] = 4.into(),
        &["downsample_rate = 4", "15"],
    );
    fault(
        |v| v["projector_config"]["encoder_hidden_size"] = 1408.into(),
        &["projector_config.encoder_hidden_size = 1408", "1024"],
    );
    fault(
        |v| v["text_config"] = json!({ "model_type": "t5" }),
        &["text_config.model_type = t5"],
    );
    fault(
        |v| v["encoder_config"]["num_heads"] = 0.into(),
        &["encoder_config", "num_heads"],
    );
    for (part, kind) in [
        ("text_config", "granitemoehybrid"),
        ("projector_config", "perceiver"),
    ] {
        let value = json!({ part: { "model_type": kind } });
        assert_says(
            serde_json::from_value::<GraniteSpeechConfig>(value),
            &[kind, "supported"],
        );
    }
}

#[test]
fn a_folder_is_recognised_and_its_parts_are_read() {
    let folder = CheckpointFolder::open(fixture("granite_speech")).unwrap();
    let kind = folder.kind().unwrap();
    assert_eq!(kind, ModelKind::GraniteSpeech);
    assert!(kind.can(Ability::AnswerSound) && !kind.is_language_model());
    let config = folder.speech_config().unwrap();
    assert_eq!(folder.text_config().unwrap(), config.text_config);
    assert!(matches!(folder.config(), Err(IoError::Kind { .. })));
    assert_eq!(folder.chat_template().unwrap(), None);

    let alone = r#"{ "architectures": ["GraniteForCausalLM"], "model_type": "granite" }"#;
    let template = r#"{ "chat_template": "<|start_of_role|>" }"#;
    let files = [("config.json", alone), ("tokenizer_config.json", template)];
    let folder = CheckpointFolder::in_memory("granite", files);
    assert_eq!(folder.kind().unwrap(), ModelKind::Granite);
    assert!(matches!(
        folder.text_config().unwrap(),
        TextConfig::Granite(_)
    ));
    let written = folder.chat_template().unwrap();
    assert_eq!(written.as_deref(), Some("<|start_of_role|>"));
    assert!(matches!(folder.speech_config(), Err(IoError::Kind { .. })));
}
