//! Checkpoint folders: what is found where, and what is said of faulty files.
#![allow(clippy::unwrap_used)]

use blip2_io::{CheckpointFolder, config::ModelKind};
use blip2_testing::{assert_says, folder, text};
use serde_json::Value;

fn open(files: &[(&str, &str)]) -> (tempfile::TempDir, CheckpointFolder) {
    let folder = folder(files);
    let opened = CheckpointFolder::open(folder.path()).unwrap();
    (folder, opened)
}

#[test]
fn a_folder_that_is_not_there() {
    assert_says(
        CheckpointFolder::open("nowhere/at-all"),
        &["nowhere/at-all", "no such folder", "config.json"],
    );
}

#[test]
fn a_file_in_place_of_a_folder() {
    let folder = folder(&[("model.safetensors", "")]);
    assert_says(
        CheckpointFolder::open(folder.path().join("model.safetensors")),
        &["model.safetensors", "give the folder"],
    );
}

#[test]
fn no_config() {
    let (_keep, folder) = open(&[]);
    assert_says(
        folder.config(),
        &[
            "config.json is missing",
            "model.safetensors",
            "tokenizer.json",
            "preprocessor_config.json",
        ],
    );
}

#[test]
fn a_config_that_is_no_json() {
    let (_keep, folder) = open(&[("config.json", "{\n  \"model_type\": blip\n}")]);
    assert_says(folder.config(), &["config.json: ", "line 2 column"]);
}

#[test]
fn a_config_that_goes_on_behind_its_end() {
    let text = text("blip2_opt/config.json") + "}";
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(folder.config(), &["config.json: trailing characters"]);
}

#[test]
fn a_value_of_the_wrong_type() {
    let text = text("blip2_opt/config.json").replace("\"patch_size\": 8", "\"patch_size\": []");
    let line = 1 + text
        .lines()
        .position(|line| line.contains("patch_size"))
        .unwrap();
    let (_keep, folder) = open(&[("config.json", &text)]);
    let at = format!("at line {line} column");
    assert_says(
        folder.config(),
        &["config.json: vision_config.patch_size: invalid type", &at],
    );
}

#[test]
fn a_value_of_the_wrong_type_in_the_language_model() {
    let text = text("blip2_opt/config.json").replace("\"ffn_dim\": 80", "\"ffn_dim\": \"80\"");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(
        folder.config(),
        &["config.json: text_config: ffn_dim: invalid type: string \"80\""],
    );
}

#[test]
fn an_unknown_activation() {
    let text = text("blip2_opt/config.json").replace("\"relu\"", "\"mish\"");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(
        folder.config(),
        &["activation_function: unknown variant `mish`", "`relu`"],
    );
}

#[test]
fn a_config_that_makes_no_sense_names_its_file() {
    let text =
        text("blip2_opt/config.json").replace("\"num_query_tokens\": 8", "\"num_query_tokens\": 0");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(
        folder.config(),
        &["config.json: config.num_query_tokens = 0: must be above 0"],
    );
}

#[test]
fn an_unknown_model_type() {
    let (_keep, folder) = open(&[("config.json", r#"{ "model_type": "llava" }"#)]);
    assert_says(
        folder.config(),
        &["config.json", "`llava` is not supported", "`blip-2`"],
    );
}

#[test]
fn no_model_type() {
    let (_keep, folder) = open(&[("config.json", "{}")]);
    assert_says(folder.kind(), &["`(none)` is not supported"]);
    let by_class = r#"{ "architectures": ["Blip2ForImageTextRetrieval"] }"#;
    let (_keep, folder) = open(&[("config.json", by_class)]);
    assert_eq!(folder.kind().unwrap(), ModelKind::Blip2Retrieval);
    let (_keep, folder) = open(&[("config.json", r#"{ "vision_config": {} }"#)]);
    assert_eq!(folder.kind().unwrap(), ModelKind::Blip2);
}

#[test]
fn a_class_that_is_not_known() {
    let text = r#"{ "model_type": "blip-2", "architectures": ["Blip2ForDreaming"] }"#;
    let (_keep, folder) = open(&[("config.json", text)]);
    assert_says(
        folder.config(),
        &[
            "config.json",
            "Blip2ForDreaming",
            "`Blip2ForImageTextRetrieval`",
        ],
    );
    let (_keep, folder) = open(&[("config.json", r#"{ "architectures": ["Dreamer"] }"#)]);
    assert_says(folder.kind(), &["Dreamer", "`CLIPVisionModel`"]);
}

#[test]
fn a_clip_is_no_blip2_and_the_other_way_round() {
    let clip = r#"{ "model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"] }"#;
    let (_keep, folder) = open(&[("config.json", clip)]);
    assert_eq!(folder.clip_vision_config().unwrap().patch_size, 32);
    assert_says(
        folder.config(),
        &["CLIPVisionModel", "encode pictures", "wanted is a BLIP-2"],
    );
    let (_keep, folder) = open(&[("config.json", r#"{ "model_type": "blip-2" }"#)]);
    assert_says(
        folder.clip_vision_config(),
        &["Blip2ForConditionalGeneration", "wanted is a CLIP"],
    );
}

#[test]
fn a_whole_clip_has_its_tower_inside() {
    let text = r#"{ "model_type": "clip", "projection_dim": 3,
        "vision_config": { "patch_size": 14, "projection_dim": 768 } }"#;
    let (_keep, folder) = open(&[("config.json", text)]);
    assert_eq!(folder.kind().unwrap(), ModelKind::ClipVisionProjected);
    let config = folder.clip_vision_config().unwrap();
    assert_eq!((config.patch_size, config.projection_dim), (14, 768));
    let broken = text.replace("14", "0");
    let (_keep, folder) = open(&[("config.json", &broken)]);
    assert_says(folder.clip_vision_config(), &["config.json", "patch_size"]);
}

#[test]
fn an_unknown_language_model() {
    let text = r#"{ "model_type": "blip-2", "text_config": { "model_type": "gpt2" } }"#;
    let (_keep, folder) = open(&[("config.json", text)]);
    assert_says(
        folder.config(),
        &[
            "text_config: model_type = \"gpt2\"",
            "\"opt\", \"t5\", \"llama\"",
        ],
    );
}

#[test]
fn preprocessing_is_found_in_either_file() {
    let old = r#"{ "size": { "height": 32, "width": 48 } }"#;
    let new = r#"{ "image_processor": { "size": 64 }, "num_query_tokens": 8 }"#;
    let height = |files: &[(&str, &str)]| {
        let (_keep, folder) = open(files);
        folder.image_processor().unwrap().size.height
    };
    assert_eq!(height(&[("preprocessor_config.json", old)]), 32);
    assert_eq!(height(&[("processor_config.json", new)]), 64);
    // As in the reference, the newer file wins.
    let both = [
        ("preprocessor_config.json", old),
        ("processor_config.json", new),
    ];
    assert_eq!(height(&both), 64);
    // As older versions write it, it says nothing about pictures.
    let plain = r#"{ "num_query_tokens": 8, "processor_class": "Blip2Processor" }"#;
    let both = [
        ("preprocessor_config.json", old),
        ("processor_config.json", plain),
    ];
    assert_eq!(height(&both), 32);
    let (_keep, folder) = open(&both);
    assert_eq!(folder.processor().unwrap().num_query_tokens, Some(8));
}

#[test]
fn no_preprocessing() {
    let (_keep, folder) = open(&[("processor_config.json", "{}")]);
    assert_says(
        folder.image_processor(),
        &["preprocessor_config.json is missing", "resized"],
    );
}

#[test]
fn preprocessing_of_the_wrong_type() {
    let text = r#"{ "image_processor": { "do_resize": "yes" } }"#;
    let (_keep, folder) = open(&[("processor_config.json", text)]);
    assert_says(
        folder.image_processor(),
        &["processor_config.json: image_processor.do_resize: invalid type"],
    );
}

#[test]
fn prompts_are_optional() {
    let (_keep, folder) = open(&[]);
    assert_eq!(folder.prompts().unwrap(), Default::default());
    let text = r#"{ "answer_template": "Q: {} A:", "caption_prompt": "a", "stop": ["\n"] }"#;
    let (_keep, folder) = open(&[("blip2.json", text)]);
    let prompts = folder.prompts().unwrap();
    assert_eq!(prompts.answer_template.as_deref(), Some("Q: {} A:"));
    assert_eq!(prompts.caption_prompt.as_deref(), Some("a"));
    assert_eq!(prompts.stop, ["\n"]);
}

#[test]
fn prompts_with_an_unknown_key() {
    let (_keep, folder) = open(&[("blip2.json", r#"{ "anwser_template": "{}" }"#)]);
    assert_says(
        folder.prompts(),
        &[
            "blip2.json",
            "unknown field `anwser_template`",
            "`answer_template`",
        ],
    );
}

#[test]
fn prompts_with_a_template_that_holds_no_question() {
    let (_keep, folder) = open(&[("blip2.json", r#"{ "answer_template": "Say it" }"#)]);
    assert_says(
        folder.prompts(),
        &["answer_template = Say it: must contain {} exactly once"],
    );
}

#[test]
fn generation_defaults_are_kept_as_they_stand() {
    let (_keep, folder) = open(&[]);
    assert_eq!(folder.generation_config::<Value>().unwrap(), None);
    let (_keep, folder) = open(&[("generation_config.json", r#"{ "eos_token_id": 50118 }"#)]);
    let config: Value = folder.generation_config().unwrap().unwrap();
    assert_eq!(config["eos_token_id"], 50118);
}

#[test]
fn files_in_memory_are_as_good_as_a_folder() {
    let config: &'static str = text("blip2_t5/config.json").leak();
    let folder = CheckpointFolder::in_memory("built-in", [("config.json", config.as_bytes())]);
    assert_eq!(folder.config().unwrap().num_query_tokens, 8);
    assert_says(
        folder.tokenizer(),
        &["built-in: tokenizer.json is missing", "copy it"],
    );
    assert_says(
        folder.checkpoint(),
        &["built-in: model.safetensors is missing"],
    );
}
