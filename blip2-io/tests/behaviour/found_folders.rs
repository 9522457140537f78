//! Folders as people have them: what other tools left in them, and what older ones wrote.

use std::fs;

use blip2_io::{
    Checkpoint, CheckpointFolder, ErrorKind, IoError,
    config::{ModelKind, TextConfig},
};
use blip2_testing::{Stored, assert_says, copy, f32s, folder, json, safetensors};
use safetensors::Dtype;
use serde_json::{Value, json};

const FILE: &str = "model.safetensors";

/// A folder that holds this configuration alone.
fn with_config(config: &Value) -> CheckpointFolder {
    CheckpointFolder::in_memory("folder", [("config.json", config.to_string())])
}

/// A fixture's configuration with one value replaced.
fn changed(name: &str, pointer: &str, value: Value) -> Value {
    let mut config = json(&format!("{name}/config.json"));
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = value;
    config
}

fn u8s(name: &'static str, shape: &[usize]) -> Stored {
    let bytes = vec![0; shape.iter().product()];
    (name, Dtype::U8, shape.to_vec(), bytes)
}

#[test]
fn a_byte_order_mark_before_any_json() {
    let folder = copy("instructblip_llama");
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            let text = [b"\xef\xbb\xbf", fs::read(&path).unwrap().as_slice()].concat();
            fs::write(&path, text).unwrap();
        }
    }
    let folder = CheckpointFolder::open(folder.path()).unwrap();
    folder.config().unwrap();
    folder.image_processor().unwrap();
    folder.processor().unwrap();
    folder.tokenizer().unwrap();
    folder.generation_config::<Value>().unwrap().unwrap();
}

#[test]
fn a_git_lfs_pointer_is_named() {
    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    for name in [FILE, "pytorch_model.bin", "config.json", "tokenizer.json"] {
        let files = folder(&[(name, POINTER)]);
        let opened = CheckpointFolder::open(files.path()).unwrap();
        let error = match name {
            "config.json" => opened.kind().unwrap_err(),
            "tokenizer.json" => opened.tokenizer().unwrap_err(),
            _ => opened.checkpoint().unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let message = error.to_string();
        for part in [name, "Git LFS", "git lfs pull"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn shards_without_an_index() {
    const FIRST: &str = "model-00001-of-00002.safetensors";
    const SECOND: &str = "model-00002-of-00002.safetensors";
    let [a, b] = ["a", "b"].map(|name| safetensors(&[f32s(name, &[1], &[1.0])]));
    let open = |files: &[(&str, &Vec<u8>)]| Checkpoint::open(folder(files).path());
    let found = open(&[(FIRST, &a), (SECOND, &b)]).unwrap();
    assert_eq!(found.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_says(open(&[(FIRST, &a)]), &[SECOND, "1 of 2 shards"]);
    assert_says(open(&[(SECOND, &b)]), &[FIRST, "1 of 2 shards"]);
    let twice = open(&[(FIRST, &a), (SECOND, &a)]);
    assert_says(twice, &["`a`", FIRST, SECOND, "different checkpoints"]);
}

#[test]
fn a_number_of_shards_that_no_one_has() {
    let a = safetensors(&[f32s("a", &[1], &[1.0])]);
    let name = format!("model-00001-of-{}.safetensors", usize::MAX);
    let files = folder(&[(name.as_str(), &a)]);
    assert_says(Checkpoint::open(files.path()), &["model-0", "1 of"]);
}

#[test]
fn weights_that_another_library_packed() {
    let matrix = "language_model.model.decoder.layers.0.fc1.weight";
    for (method, tensors) in [
        (
            "bitsandbytes in 8 bits",
            vec![
                (matrix, Dtype::I8, vec![2, 2], vec![0; 4]),
                f32s(
                    "language_model.model.decoder.layers.0.fc1.SCB",
                    &[2],
                    &[1.0, 1.0],
                ),
            ],
        ),
        (
            "bitsandbytes in 4 bits",
            vec![
                u8s(matrix, &[8, 1]),
                u8s("fc1.weight.quant_state.bitsandbytes__nf4", &[9]),
            ],
        ),
        (
            "bitsandbytes in 4 bits",
            vec![
                u8s(matrix, &[8, 1]),
                f32s("fc1.weight.absmax", &[1], &[1.0]),
            ],
        ),
        (
            "GPTQ",
            vec![
                u8s("fc1.qweight", &[4]),
                u8s("fc1.qzeros", &[4]),
                u8s("fc1.g_idx", &[4]),
            ],
        ),
        (
            "AWQ",
            vec![u8s("fc1.qweight", &[4]), u8s("fc1.qzeros", &[4])],
        ),
        (
            "fp8",
            vec![("fc1.weight", Dtype::F8_E4M3, vec![1], vec![0])],
        ),
        ("hqq", vec![u8s("fc1.W_q", &[4])]),
    ] {
        let mut config = json("blip2_opt/config.json");
        let name = method.split(' ').next().unwrap().to_lowercase();
        config["quantization_config"] = json!({ "quant_method": name });
        let files = folder(&[
            (FILE, safetensors(&tensors)),
            ("config.json", config.to_string().into_bytes()),
        ]);
        let error = Checkpoint::open(files.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(matches!(error, IoError::Quantized { .. }));
        assert_says::<(), _>(Err(error), &[FILE, &format!("by {method} "), "dequantize"]);
    }
}

#[test]
fn weights_of_other_programs_are_named() {
    for (file, part) in [
        ("ggml-model-q4_0.gguf", "GGUF"),
        ("tf_model.h5", "TensorFlow"),
        ("blip2_pretrained_opt2.7b.pth", "LAVIS"),
    ] {
        let files = folder(&[(file, "")]);
        assert_says(Checkpoint::open(files.path()), &["is missing", part]);
    }
}

#[test]
fn ids_below_zero_and_null_are_none() {
    let at = |name: &str, key: &str, value: Value| {
        let config = changed(name, &format!("/text_config/{key}"), value);
        with_config(&config).config().unwrap().text_config
    };
    for name in ["blip2_opt", "blip2_t5", "instructblip_llama"] {
        for value in [json!(-1), Value::Null] {
            assert_eq!(at(name, "pad_token_id", value.clone()).pad_token_id(), None);
            assert_eq!(at(name, "bos_token_id", value.clone()).bos_token_id(), None);
            assert!(at(name, "eos_token_id", value).eos_token_ids().is_empty());
        }
        let ends = at(name, "eos_token_id", json!([-1, 2, 3]));
        assert_eq!(ends.eos_token_ids(), [2, 3]);
    }
    let placed = changed("blip2_opt", "/image_token_index", json!(-1));
    assert_eq!(
        with_config(&placed).config().unwrap().image_token_index,
        None
    );
    let huge = changed("blip2_opt", "/text_config/eos_token_id", json!(1u64 << 40));
    assert_says(
        with_config(&huge).config(),
        &["text_config", "no vocabulary"],
    );
}

/// As in the reference, which never meets them: only what is always looked up must be there.
#[test]
fn ids_that_no_vocabulary_has_are_taken_where_they_are_never_met() {
    let at = |name: &str, key: &str, value: Value| {
        let config = changed(name, &format!("/text_config/{key}"), value);
        with_config(&config).config()
    };
    for name in ["blip2_opt", "blip2_t5", "instructblip_llama"] {
        for key in ["eos_token_id", "bos_token_id"] {
            let text = at(name, key, json!(99_999)).unwrap().text_config;
            assert_eq!(text.ids_beyond_vocabulary(), [(key, 99_999)], "{name}");
        }
        let text = at(name, "eos_token_id", json!([2, 99_999])).unwrap();
        assert_eq!(text.text_config.ids_beyond_vocabulary().len(), 1);
    }
    assert!(at("blip2_t5", "pad_token_id", json!(99_999)).is_ok());
    assert!(at("blip2_opt", "pad_token_id", json!(99_999)).is_err());
}

#[test]
fn fields_that_are_left_out_are_the_reference_s() {
    let config = json!({ "model_type": "blip-2", "text_config": { "model_type": "t5" } });
    let TextConfig::T5(t5) = with_config(&config).config().unwrap().text_config else {
        panic!("its model_type is t5");
    };
    assert_eq!((t5.d_model, t5.num_layers, t5.vocab_size), (512, 6, 32128));
}

#[test]
fn mt5_is_a_t5_of_other_defaults() {
    let alone = json!({ "model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"] });
    let folder = with_config(&alone);
    assert_eq!(folder.kind().unwrap(), ModelKind::T5);
    let TextConfig::T5(mt5) = folder.text_config().unwrap() else {
        panic!("mT5 is a T5");
    };
    // As `MT5Config()` of transformers 5.23 has it.
    assert_eq!((mt5.vocab_size, mt5.d_ff, mt5.d_kv), (250_112, 1024, 64));
    assert_eq!(
        (mt5.num_layers, mt5.num_decoder_layers, mt5.num_heads),
        (8, 8, 6)
    );
    assert!(mt5.is_gated_act);
    assert_eq!(mt5.decoder_start_token_id, Some(0));
    // Its output is never scaled, tied or not.
    for tied in [true, false] {
        let config = changed("blip2_t5", "/text_config/tie_word_embeddings", json!(tied));
        let mut config = config;
        config["text_config"]["model_type"] = json!("mt5");
        let TextConfig::T5(mt5) = with_config(&config).config().unwrap().text_config else {
            panic!("mT5 is a T5");
        };
        assert!(!mt5.scale_decoder_outputs);
        assert_eq!((mt5.vocab_size, mt5.num_heads), (200, 4));
    }
}

#[test]
fn sizes_of_no_model_are_refused() {
    for (name, pointer) in [
        ("blip2_opt", "/num_query_tokens"),
        ("blip2_opt", "/image_text_hidden_size"),
        ("blip2_opt", "/qformer_config/num_hidden_layers"),
        ("blip2_opt", "/qformer_config/intermediate_size"),
        ("blip2_opt", "/vision_config/num_hidden_layers"),
        ("blip2_opt", "/vision_config/hidden_size"),
        ("blip2_opt", "/vision_config/intermediate_size"),
        ("blip2_opt", "/vision_config/image_size"),
        ("blip2_opt", "/vision_config/num_attention_heads"),
        ("blip2_opt", "/text_config/num_hidden_layers"),
        ("blip2_opt", "/text_config/vocab_size"),
        ("blip2_opt", "/text_config/word_embed_proj_dim"),
        ("blip2_opt", "/text_config/max_position_embeddings"),
        ("blip2_opt", "/text_config/ffn_dim"),
        ("blip2_t5", "/text_config/num_layers"),
        ("blip2_t5", "/text_config/num_decoder_layers"),
        ("blip2_t5", "/text_config/vocab_size"),
        ("blip2_t5", "/text_config/d_kv"),
        ("blip2_t5", "/text_config/d_ff"),
        ("blip2_t5", "/text_config/relative_attention_num_buckets"),
        ("instructblip_llama", "/text_config/head_dim"),
        ("instructblip_llama", "/text_config/intermediate_size"),
        ("instructblip_llama", "/text_config/num_hidden_layers"),
    ] {
        for value in [1u64 << 32, i64::MAX as u64, u64::MAX] {
            let config = changed(name, pointer, json!(value));
            let error = with_config(&config).config().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{pointer}: {error}");
            assert!(error.to_string().contains("config.json"), "{error}");
        }
    }
    for (name, pointer) in [
        ("blip1_itr", "/vision_config/num_hidden_layers"),
        ("blip1_itr", "/text_config/intermediate_size"),
        ("blip1_itr", "/image_text_hidden_size"),
    ] {
        let config = changed(name, pointer, json!(1u64 << 40));
        assert_says(with_config(&config).blip_config(), &["the file is damaged"]);
    }
    for key in ["image_size", "projection_dim", "num_hidden_layers"] {
        let config = changed("clip_vision", &format!("/{key}"), json!(u64::MAX));
        let error = with_config(&config).clip_vision_config().unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn a_copy_in_memory_holds_what_the_map_holds() {
    let path = blip2_testing::fixture("blip2_opt");
    let mapped = CheckpointFolder::open(&path).unwrap().checkpoint().unwrap();
    let copied = CheckpointFolder::open_copied(&path).unwrap();
    let copied = copied.checkpoint().unwrap();
    assert_eq!(mapped.fingerprint(&[""], ""), copied.fingerprint(&[""], ""));
    for name in mapped.names() {
        copied.release(name);
        let tensor = mapped.tensor(name).unwrap();
        assert_eq!(mapped.as_bytes(name), Some(tensor.as_bytes()));
        assert_eq!(copied.as_bytes(name), Some(tensor.as_bytes()));
        assert_eq!(Some(tensor), copied.tensor(name));
    }
    assert_eq!(mapped.as_bytes("missing"), None);
}
