//! The configuration of Granite Speech's encoder: as `transformers` writes it, and where it makes no
//! sense.

use blip2_io::config::ConformerConfig;
use serde_json::{Value, json};

fn read(value: Value) -> ConformerConfig {
    serde_json::from_value(value).unwrap()
}

#[test]
fn every_key_of_every_fixture_is_held() {
    for name in [
        "granite_speech",
        "granite_speech_untied",
        "granite_speech_lora",
    ] {
        let file = blip2_testing::json(&format!("{name}/config.json"));
        let file = &file["encoder_config"];
        let config = read(file.clone());
        config.validate().unwrap();
        assert_eq!(&serde_json::to_value(&config).unwrap(), file, "{name}");
    }
}

#[test]
fn an_empty_configuration_is_the_references() {
    let config = read(json!({}));
    assert_eq!(config, ConformerConfig::default());
    config.validate().unwrap();
    assert_eq!((config.head_size(), config.inner_size()), (128, 1024));
    assert_eq!(
        (config.feedforward_size(), config.conv_size()),
        (4096, 2048)
    );
    assert_eq!(read(json!({ "dim_head": null })), config);
}

#[test]
fn the_names_of_other_encoders_are_read() {
    let config = read(json!({
        "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_mel_bins": 20
    }));
    assert_eq!((config.hidden_dim, config.num_layers), (96, 3));
    assert_eq!((config.num_heads, config.input_dim), (4, 20));
}

#[test]
fn heads_may_be_wider_or_narrower_than_the_encoder() {
    let config = ConformerConfig::default().with_dim_head(Some(6));
    config.validate().unwrap();
    assert_eq!(config.inner_size(), 48);
}

#[test]
fn numbers_that_make_no_sense_are_named() {
    let sizes = [
        "input_dim",
        "num_layers",
        "hidden_dim",
        "output_dim",
        "num_heads",
        "dim_head",
        "feedforward_mult",
        "conv_expansion_factor",
        "conv_kernel_size",
        "context_size",
        "max_pos_emb",
    ];
    for key in sizes {
        let error = read(json!({ key: 0 })).validate().unwrap_err();
        let message = format!("encoder_config.{key} = 0: must be above 0");
        assert_eq!(error.to_string(), message);
        let error = read(json!({ key: u32::MAX })).validate().unwrap_err();
        assert_eq!(error.key(), key);
        assert!(
            error.to_string().ends_with("the file is damaged"),
            "{error}"
        );
    }
}

#[test]
fn products_that_no_model_has_are_named() {
    for (value, key) in [
        (
            json!({ "feedforward_mult": 1025 }),
            "hidden_dim * feedforward_mult",
        ),
        (
            json!({ "conv_expansion_factor": 1025 }),
            "hidden_dim * conv_expansion_factor",
        ),
        (json!({ "dim_head": 1 << 18 }), "num_heads * dim_head"),
    ] {
        assert_eq!(read(value).validate().unwrap_err().key(), key);
    }
}

#[test]
fn heads_that_do_not_divide_the_width() {
    assert_eq!(
        read(json!({ "num_heads": 3 }))
            .validate()
            .unwrap_err()
            .to_string(),
        "encoder_config.hidden_dim = 1024: cannot be divided among num_heads = 3; name a dim_head"
    );
    read(json!({ "num_heads": 3, "dim_head": 341 }))
        .validate()
        .unwrap();
}

#[test]
fn a_block_that_is_longer_than_the_embeddings_reach() {
    read(json!({ "context_size": 512 })).validate().unwrap();
    assert_eq!(
        read(json!({ "context_size": 513 }))
            .validate()
            .unwrap_err()
            .to_string(),
        "encoder_config.context_size = 513: frames of a block need an embedding of each distance, \
         and max_pos_emb = 512 has fewer"
    );
}
