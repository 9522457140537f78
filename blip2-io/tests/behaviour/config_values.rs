//! Configurations as `transformers` writes them, and as the published checkpoints do.

use blip2_io::config::{
    Blip2Config, Blip2QFormerConfig, Blip2Variant, Blip2VisionConfig, LlamaConfig, OptConfig,
    RopeType, T5Config, TextConfig,
};
use blip2_kernels::Activation;
use blip2_testing::text;
use serde_json::{Value, json};

/// Keys of a file that a configuration does not hold: they mean nothing to the numbers, or follow
/// from others.
const WITHOUT_MEANING: [&str; 10] = [
    "classifier_dropout",
    "feed_forward_proj",
    "is_decoder",
    "is_encoder_decoder",
    "layerdrop",
    "tie_word_embeddings",
    "transformers_version",
    "use_cache",
    "use_decoder_only_language_model",
    "model_type",
];

/// Fails unless every key of the file is held with its value, or is one `WITHOUT_MEANING`.
fn assert_holds(file: &Value, held: &Value, at: &str) {
    for (key, value) in file.as_object().unwrap() {
        let at = format!("{at}.{key}");
        match (value, held.get(key)) {
            (_, None) => assert!(WITHOUT_MEANING.contains(&key.as_str()), "{at} is dropped"),
            (Value::Object(_), Some(held)) => assert_holds(value, held, &at),
            // A list of one is written as that one.
            (Value::Array(ids), Some(held)) if key == "eos_token_id" && ids.len() == 1 => {
                assert_eq!(&ids[0], held, "{at}");
            }
            (_, Some(held)) => assert_eq!(value, held, "{at}"),
        }
    }
}

#[test]
fn every_key_of_every_fixture_is_held() {
    for name in [
        "blip2_opt",
        "blip2_t5",
        "blip2_t5_tied",
        "blip2_t5_relu_tied",
        "blip2_itr",
        "blip2_itr_legacy",
        "instructblip_t5",
        "instructblip_llama",
    ] {
        let text = text(&format!("{name}/config.json"));
        let config: Blip2Config = serde_json::from_str(&text).unwrap();
        config.validate().unwrap();
        let held = serde_json::to_value(&config).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        // InstructBLIP calls the same parts by names of its own.
        for part in ["vision_config", "qformer_config"] {
            file[part].as_object_mut().unwrap().remove("model_type");
        }
        assert_holds(&file, &held, name);
        let model_type = name.split('_').next().unwrap().replace("blip2", "blip-2");
        assert_eq!(held["model_type"], model_type);
        assert_eq!(
            config.model_type.reads_instructions(),
            model_type == "instructblip"
        );
        assert_eq!(held["vision_config"]["model_type"], "blip_2_vision_model");
        let again: Blip2Config = serde_json::from_value(held).unwrap();
        assert_eq!(again, config, "{name} read back");
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config: Blip2Config = serde_json::from_str("{}").unwrap();
    assert_eq!(config, Blip2Config::default());
    config.validate().unwrap();
    assert_eq!(config.num_query_tokens, 32);
    assert_eq!(config.image_text_hidden_size, 256);
    assert_eq!(config.image_token_index, None);
    assert_eq!(config.initializer_factor, 1.0);
    let Blip2VisionConfig {
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        layer_norm_eps,
        ..
    } = config.vision_config;
    assert_eq!((hidden_size, intermediate_size), (1408, 6144));
    assert_eq!((num_hidden_layers, num_attention_heads), (39, 16));
    assert_eq!(layer_norm_eps, 1e-6);
    assert_eq!(config.qformer_config, Blip2QFormerConfig::default());
    assert_eq!(config.qformer_config.layer_norm_eps, 1e-12);
    assert_eq!(config.text_config, TextConfig::Opt(OptConfig::default()));
}

#[test]
fn null_parts_are_defaults() {
    let text = r#"{ "vision_config": null, "qformer_config": null, "text_config": null,
                    "image_token_index": null, "architectures": null }"#;
    let config: Blip2Config = serde_json::from_str(text).unwrap();
    assert_eq!(config, Blip2Config::default());
}

#[test]
fn the_q_former_reads_the_vision_towers_width() {
    let text = r#"{ "vision_config": { "hidden_size": 64 },
                    "qformer_config": { "encoder_hidden_size": 1408 } }"#;
    let config: Blip2Config = serde_json::from_str(text).unwrap();
    assert_eq!(config.qformer_config.encoder_hidden_size, 64);
}

#[test]
fn both_spellings_are_read() {
    let old: Blip2Config =
        serde_json::from_str(r#"{ "image_token_index": 7, "torch_dtype": "float16" }"#).unwrap();
    let new: Blip2Config =
        serde_json::from_str(r#"{ "image_token_id": 7, "dtype": "float16" }"#).unwrap();
    assert_eq!(old, new);
    assert_eq!(old.image_token_index, Some(7));
    assert_eq!(old.dtype.as_deref(), Some("float16"));
}

/// What `Salesforce/blip2-opt-2.7b` leaves out is a default.
#[test]
fn the_published_opt_checkpoint() {
    let config: Blip2Config = serde_json::from_value(json!({
        "_commit_hash": null,
        "architectures": ["Blip2ForConditionalGeneration"],
        "image_token_index": 50265,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "model_type": "blip-2",
        "num_query_tokens": 32,
        "qformer_config": { "classifier_dropout": null, "model_type": "blip_2_qformer" },
        "text_config": {
            "_name_or_path": "facebook/opt-2.7b",
            "activation_dropout": 0.0,
            "architectures": ["OPTForCausalLM"],
            "eos_token_id": 50118,
            "ffn_dim": 10240,
            "hidden_size": 2560,
            "model_type": "opt",
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "prefix": "</s>",
            "torch_dtype": "float16",
            "vocab_size": 50304,
            "word_embed_proj_dim": 2560
        },
        "torch_dtype": "float32",
        "use_decoder_only_language_model": true,
        "vision_config": {
            "dropout": 0.0,
            "initializer_factor": 1.0,
            "model_type": "blip_2_vision_model",
            "num_channels": 3,
            "projection_dim": 512
        }
    }))
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.vision_config, Blip2VisionConfig::default());
    assert_eq!(config.vision_config.num_patches(), 256);
    assert_eq!(config.qformer_config, Blip2QFormerConfig::default());
    let TextConfig::Opt(opt) = &config.text_config else {
        panic!("not OPT");
    };
    assert_eq!((opt.hidden_size, opt.num_hidden_layers), (2560, 32));
    assert_eq!(opt.activation_function, Activation::Relu);
    assert!(opt.do_layer_norm_before && opt.enable_bias && opt.tie_word_embeddings);
    assert_eq!(config.text_config.eos_token_ids(), [50118]);
    assert_eq!(config.text_config.pad_token_id(), Some(1));
    assert_eq!(config.text_config.bos_token_id(), Some(2));
    assert_eq!(config.text_config.decoder_start_token_id(), None);
    assert!(!config.text_config.is_encoder_decoder());
}

/// `Salesforce/blip2-flan-t5-xl` forces the exact GELU, and does not scale its output.
#[test]
fn the_published_t5_checkpoint() {
    let config: Blip2Config = serde_json::from_value(json!({
        "architectures": ["Blip2ForConditionalGeneration"],
        "image_token_index": 32100,
        "model_type": "blip-2",
        "qformer_config": { "model_type": "blip_2_qformer" },
        "text_config": {
            "_name_or_path": "google/flan-t5-xl",
            "architectures": ["T5ForConditionalGeneration"],
            "bos_token_id": 1,
            "d_ff": 5120,
            "d_model": 2048,
            "decoder_start_token_id": 0,
            "dense_act_fn": "gelu",
            "feed_forward_proj": "gated-gelu",
            "is_gated_act": true,
            "model_type": "t5",
            "n_positions": 512,
            "num_heads": 32,
            "num_layers": 24,
            "output_past": true,
            "task_specific_params": { "summarization": { "early_stopping": true } },
            "tie_word_embeddings": false,
            "torch_dtype": "bfloat16"
        },
        "use_decoder_only_language_model": false,
        "vision_config": { "model_type": "blip_2_vision_model" }
    }))
    .unwrap();
    config.validate().unwrap();
    let TextConfig::T5(t5) = &config.text_config else {
        panic!("not T5");
    };
    assert_eq!(t5.dense_act_fn, Activation::Gelu);
    assert!(t5.is_gated_act && !t5.scale_decoder_outputs);
    assert_eq!((t5.num_layers, t5.num_decoder_layers), (24, 24));
    assert_eq!((t5.vocab_size, t5.d_kv), (32128, 64));
    assert_eq!(config.text_config.hidden_size(), 2048);
    assert_eq!(config.text_config.bos_token_id(), Some(1));
    assert_eq!(config.text_config.decoder_start_token_id(), Some(0));
    assert!(config.text_config.is_encoder_decoder());
}

fn t5(value: Value) -> T5Config {
    serde_json::from_value(value).unwrap()
}

#[test]
fn t5_reads_activation_and_gating_from_the_projection() {
    for (projection, function, gated) in [
        ("relu", Activation::Relu, false),
        ("gated-gelu", Activation::GeluTanh, true),
        ("gated-silu", Activation::Silu, true),
        ("gelu", Activation::Gelu, false),
    ] {
        let config = t5(json!({ "feed_forward_proj": projection }));
        assert_eq!(config.dense_act_fn, function, "{projection}");
        assert_eq!(config.is_gated_act, gated, "{projection}");
    }
    let faulty = json!({ "feed_forward_proj": "open-gelu" });
    let error = serde_json::from_value::<T5Config>(faulty).unwrap_err();
    assert!(error.to_string().contains("`open-gelu`"), "{error}");
}

#[test]
fn t5_scales_its_output_unless_the_file_unties() {
    assert!(t5(json!({})).scale_decoder_outputs);
    assert!(t5(json!({ "tie_word_embeddings": true })).scale_decoder_outputs);
    assert!(!t5(json!({ "tie_word_embeddings": false })).scale_decoder_outputs);
    let new = json!({ "tie_word_embeddings": true, "scale_decoder_outputs": false });
    assert!(!t5(new).scale_decoder_outputs);
}

#[test]
fn t5_knows_its_sizes_by_common_names() {
    let common = json!({ "hidden_size": 32, "head_dim": 6, "num_hidden_layers": 3,
                         "num_attention_heads": 4 });
    let own = json!({ "d_model": 32, "d_kv": 6, "num_layers": 3, "num_heads": 4 });
    assert_eq!(t5(common), t5(own));
    assert_eq!(t5(json!({ "d_model": 32, "hidden_size": 99 })).d_model, 32);
}

#[test]
fn the_decoder_starts_from_padding_unless_told() {
    assert_eq!(t5(json!({})).decoder_start_token_id, Some(0));
    let config = t5(json!({ "pad_token_id": 5 }));
    assert_eq!(config.decoder_start_token_id, Some(5));
    let config = t5(json!({ "pad_token_id": null }));
    assert_eq!(config.decoder_start_token_id, None);
}

#[test]
fn ends_are_one_id_or_several_or_none() {
    let ends = |value| {
        let config: OptConfig = serde_json::from_value(json!({ "eos_token_id": value })).unwrap();
        config.eos_token_id
    };
    assert_eq!(ends(json!(7)), [7]);
    assert_eq!(ends(json!([7, 8])), [7, 8]);
    assert_eq!(ends(json!(null)), [0; 0]);
    assert_eq!(OptConfig::default().eos_token_id, [2]);
}

#[test]
fn opt_350m_projects_its_embeddings() {
    let config: OptConfig = serde_json::from_value(json!({
        "hidden_size": 1024, "word_embed_proj_dim": 512, "do_layer_norm_before": false,
        "_remove_final_layer_norm": true, "enable_bias": false,
        "layer_norm_elementwise_affine": false, "activation_function": "gelu",
        "num_attention_heads": 16
    }))
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.word_embed_proj_dim, 512);
    assert!(!config.do_layer_norm_before && config.remove_final_layer_norm);
    assert!(!config.enable_bias && !config.layer_norm_elementwise_affine);
    assert_eq!(config.activation_function, Activation::Gelu);
    let null: OptConfig =
        serde_json::from_value(json!({ "word_embed_proj_dim": null, "hidden_size": 48 })).unwrap();
    assert_eq!(null.word_embed_proj_dim, 48);
}

fn llama(value: Value) -> LlamaConfig {
    serde_json::from_value(value).unwrap()
}

/// `lmsys/vicuna-7b-v1.1`, the language model of the published InstructBLIP.
#[test]
fn the_published_vicuna() {
    let config: TextConfig = serde_json::from_value(json!({
        "_name_or_path": "lmsys/vicuna-7b-v1.1",
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "max_sequence_length": 2048,
        "model_type": "llama",
        "pad_token_id": 32000,
        "rms_norm_eps": 1e-06,
        "torch_dtype": "float16",
        "vocab_size": 32001
    }))
    .unwrap();
    config.validate().unwrap();
    assert!(!config.is_encoder_decoder());
    assert_eq!(config.eos_token_ids(), [2]);
    assert_eq!(
        (config.bos_token_id(), config.pad_token_id()),
        (Some(1), Some(32000))
    );
    assert_eq!(config.hidden_size(), 4096);
    let TextConfig::Llama(llama) = config else {
        panic!("not LLaMA");
    };
    assert_eq!((llama.head_dim, llama.num_key_value_heads), (128, 32));
    assert_eq!(llama.rope_parameters.rope_type, RopeType::Default);
    assert_eq!(llama.rope_parameters.rope_theta, Some(1e4));
    assert!(!llama.tie_word_embeddings && !llama.attention_bias && !llama.mlp_bias);
}

#[test]
fn llama_reads_positions_in_every_spelling() {
    let new = json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 500.0 });
    let old = json!({ "type": "linear", "factor": 4.0 });
    let both = json!({ "type": "linear", "rope_type": "linear", "factor": 4.0 });
    let expected = llama(json!({ "rope_parameters": new }));
    for scaling in [old, both] {
        let found = llama(json!({ "rope_scaling": scaling, "rope_theta": 500.0 }));
        assert_eq!(found, expected);
    }
    let outside = llama(json!({
        "original_max_position_embeddings": 64,
        "rope_parameters": { "rope_type": "yarn", "original_max_position_embeddings": 32 }
    }));
    let rope = outside.rope_parameters;
    assert_eq!(rope.original_max_position_embeddings, Some(64));
    let null = llama(json!({ "rope_scaling": null, "rope_theta": 7.0, "head_dim": null }));
    assert_eq!(null.rope_parameters.rope_theta, Some(7.0));
}

#[test]
fn faulty_llamas_name_the_key() {
    let rope = |value: Value| json!({ "rope_parameters": value });
    for (faulty, part) in [
        (
            json!({ "num_key_value_heads": 5 }),
            "num_key_value_heads = 5",
        ),
        (json!({ "head_dim": 7 }), "head_dim = 7"),
        (json!({ "hidden_size": 100 }), "hidden_size = 100"),
        (rope(json!({ "rope_type": "linear" })), "factor = (none)"),
        (
            rope(json!({ "rope_type": "llama3", "factor": 8.0 })),
            "low_freq_factor",
        ),
        (
            rope(json!({ "rope_type": "dynamic", "factor": -1.0 })),
            "factor = -1",
        ),
        (rope(json!({ "rope_theta": 0.0 })), "rope_theta = 0"),
        (
            rope(json!({ "rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0] })),
            "must be 64 numbers",
        ),
        (
            rope(json!({ "rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5 })),
            "partial_rotary_factor = 0.5",
        ),
    ] {
        let error = llama(faulty).validate().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let axial = json!({ "model_type": "llama", "rope_parameters": { "rope_type": "axial" } });
    let error = serde_json::from_value::<TextConfig>(axial)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`axial`") && error.contains("rope_parameters"),
        "{error}"
    );
    assert!(
        error.contains("`llama3`"),
        "what is known is listed: {error}"
    );
}

/// The published InstructBLIP-Video names its placeholder after videos.
#[test]
fn videos_have_a_placeholder_for_each_query_of_each_frame() {
    let config: Blip2Config = serde_json::from_value(json!({
        "model_type": "instructblipvideo",
        "video_token_index": 50000,
        "num_query_tokens": 32,
        "qformer_config": { "model_type": "instructblipvideo_qformer" }
    }))
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.model_type, Blip2Variant::InstructBlipVideo);
    assert_eq!(
        (config.model_type.num_frames(), config.num_placeholders()),
        (4, 128)
    );
    assert_eq!(config.image_token_index, Some(50000));
    assert!(config.qformer_config.use_qformer_text_input);

    let by_class = json!({ "architectures": ["InstructBlipForConditionalGeneration"] });
    let config: Blip2Config = serde_json::from_value(by_class).unwrap();
    assert_eq!(config.model_type, Blip2Variant::InstructBlip);
    assert_eq!(config.num_placeholders(), 32);
}
