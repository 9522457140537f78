//! Configurations that make no sense: the error names the part, the key, the value and the rule.

use blip2_io::config::{Blip2Config, ConfigError, PromptConfig};
use blip2_testing::text;
use serde_json::{Value, json};

/// The fault of a fixture's configuration with one value replaced.
fn fault(name: &str, pointer: &str, value: Value) -> ConfigError {
    let text = text(&format!("{name}/config.json"));
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = value;
    let config: Blip2Config = serde_json::from_value(config).unwrap();
    config.validate().unwrap_err()
}

#[track_caller]
fn assert_fault(name: &str, pointer: &str, value: Value, message: &str) {
    let error = fault(name, pointer, value);
    assert_eq!(error.to_string(), message);
    assert!(pointer.ends_with(error.key()) || message.contains(error.key()));
}

#[test]
fn heads_that_do_not_divide_the_vision_tower() {
    assert_fault(
        "blip2_opt",
        "/vision_config/num_attention_heads",
        json!(5),
        "vision_config.hidden_size = 32: cannot be divided among num_attention_heads = 5",
    );
}

#[test]
fn heads_that_do_not_divide_the_q_former() {
    assert_fault(
        "blip2_opt",
        "/qformer_config/num_attention_heads",
        json!(7),
        "qformer_config.hidden_size = 24: cannot be divided among num_attention_heads = 7",
    );
}

#[test]
fn heads_that_do_not_divide_the_language_model() {
    assert_fault(
        "blip2_opt",
        "/text_config/num_attention_heads",
        json!(3),
        "text_config.hidden_size = 40: cannot be divided among num_attention_heads = 3",
    );
}

#[test]
fn sizes_of_zero() {
    for (name, pointer) in [
        ("blip2_opt", "/num_query_tokens"),
        ("blip2_opt", "/vision_config/hidden_size"),
        ("blip2_opt", "/vision_config/intermediate_size"),
        ("blip2_opt", "/vision_config/num_hidden_layers"),
        ("blip2_opt", "/vision_config/num_attention_heads"),
        ("blip2_opt", "/vision_config/patch_size"),
        ("blip2_opt", "/qformer_config/hidden_size"),
        ("blip2_opt", "/qformer_config/num_hidden_layers"),
        ("blip2_opt", "/qformer_config/intermediate_size"),
        ("blip2_opt", "/qformer_config/cross_attention_frequency"),
        ("blip2_itr", "/qformer_config/vocab_size"),
        ("blip2_itr", "/qformer_config/max_position_embeddings"),
        ("blip2_opt", "/text_config/vocab_size"),
        ("blip2_opt", "/text_config/hidden_size"),
        ("blip2_opt", "/text_config/ffn_dim"),
        ("blip2_opt", "/text_config/num_hidden_layers"),
        ("blip2_opt", "/text_config/max_position_embeddings"),
        ("blip2_opt", "/text_config/word_embed_proj_dim"),
        ("blip2_t5", "/text_config/vocab_size"),
        ("blip2_t5", "/text_config/d_model"),
        ("blip2_t5", "/text_config/d_kv"),
        ("blip2_t5", "/text_config/d_ff"),
        ("blip2_t5", "/text_config/num_layers"),
        ("blip2_t5", "/text_config/num_decoder_layers"),
        ("blip2_t5", "/text_config/num_heads"),
    ] {
        let error = fault(name, pointer, json!(0));
        let key = pointer.rsplit('/').next().unwrap();
        assert_eq!(error.key(), key, "{name}{pointer}");
        assert!(error.to_string().ends_with("= 0: must be above 0"));
    }
}

#[test]
fn a_q_former_without_text_needs_no_vocabulary() {
    let text = text("blip2_opt/config.json");
    let mut config: Blip2Config = serde_json::from_str(&text).unwrap();
    config.qformer_config.vocab_size = 0;
    config.validate().unwrap();
}

#[test]
fn a_picture_smaller_than_a_patch() {
    assert_fault(
        "blip2_opt",
        "/vision_config/image_size",
        json!(7),
        "vision_config.image_size = 7: must be at least patch_size = 8",
    );
}

#[test]
fn a_q_former_that_reads_another_width() {
    let mut config = Blip2Config::default();
    config.qformer_config.encoder_hidden_size = 1024;
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "qformer_config.encoder_hidden_size = 1024: must be vision_config.hidden_size = 1408"
    );
}

#[test]
fn an_epsilon_below_zero() {
    for (name, pointer) in [
        ("blip2_opt", "/vision_config/layer_norm_eps"),
        ("blip2_opt", "/qformer_config/layer_norm_eps"),
        ("blip2_t5", "/text_config/layer_norm_epsilon"),
    ] {
        let error = fault(name, pointer, json!(-1e-6));
        assert_eq!(error.key(), pointer.rsplit('/').next().unwrap());
    }
}

#[test]
fn positions_of_an_unknown_kind() {
    assert_fault(
        "blip2_opt",
        "/qformer_config/position_embedding_type",
        json!("relative_key"),
        "qformer_config.position_embedding_type = relative_key: only `absolute` is supported",
    );
}

#[test]
fn an_image_token_beyond_the_vocabulary() {
    assert_fault(
        "blip2_opt",
        "/image_token_index",
        json!(432),
        "image_token_index = 432: must be below text_config.vocab_size = 432",
    );
}

#[test]
fn special_tokens_beyond_the_vocabulary() {
    for (name, key) in [
        ("blip2_opt", "pad_token_id"),
        ("instructblip_llama", "pad_token_id"),
        ("blip2_t5", "decoder_start_token_id"),
    ] {
        let error = fault(name, &format!("/text_config/{key}"), json!(5000));
        assert_eq!(error.key(), key, "{name}");
        assert!(error.to_string().contains("must be below vocab_size"));
    }
}

#[test]
fn position_buckets_that_cannot_be_told_apart() {
    assert_fault(
        "blip2_t5",
        "/text_config/relative_attention_num_buckets",
        json!(3),
        "text_config.relative_attention_num_buckets = 3: must be at least 4",
    );
    assert_fault(
        "blip2_t5",
        "/text_config/relative_attention_max_distance",
        json!(4),
        "text_config.relative_attention_max_distance = 4: must be above half of \
         relative_attention_num_buckets, 4",
    );
}

#[test]
fn a_template_without_one_place_for_the_question() {
    for template in ["Question:", "{} or {}"] {
        let prompts = PromptConfig::default().with_answer_template(Some(template.into()));
        let error = prompts.validate().unwrap_err();
        assert_eq!(error.key(), "answer_template");
        assert!(error.to_string().contains(template));
    }
}

#[test]
fn a_stop_text_that_ends_every_answer() {
    let prompts = PromptConfig::default().with_stop(vec!["\n".into(), String::new()]);
    assert_eq!(prompts.validate().unwrap_err().key(), "stop");
}
