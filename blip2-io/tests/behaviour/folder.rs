//! Checkpoint folders: what is found where, and what is said of faulty files.

use blip2_io::preprocessing::Sizing;
use blip2_io::{
    CheckpointFolder, ErrorKind,
    config::{Ability, ModelKind, TextConfig},
};
use blip2_testing::{assert_says, f32s, folder, safetensors, text};
use serde_json::Value;

fn open(files: &[(&str, &str)]) -> (tempfile::TempDir, CheckpointFolder) {
    let folder = folder(files);
    let opened = CheckpointFolder::open(folder.path()).unwrap();
    (folder, opened)
}

#[test]
fn a_folder_that_is_not_there() {
    assert_says(
        CheckpointFolder::open("nowhere/at/all"),
        &["nowhere/at/all", "no such folder", "config.json"],
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
        &[
            "config.json: vision_config.patch_size: a list stands where a whole number is due",
            &at,
        ],
    );
}

#[test]
fn a_value_of_the_wrong_type_in_the_language_model() {
    let text = text("blip2_opt/config.json").replace("\"ffn_dim\": 80", "\"ffn_dim\": \"80\"");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(
        folder.config(),
        &["config.json: text_config: ffn_dim: the text \"80\" stands where a whole number is due"],
    );
}

#[test]
fn an_unknown_activation() {
    let text = text("blip2_opt/config.json").replace("\"relu\"", "\"mish\"");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(
        folder.config(),
        &["activation_function: `mish` is unknown", "`relu`"],
    );
}

#[test]
fn a_config_that_makes_no_sense_names_its_file() {
    let text =
        text("blip2_opt/config.json").replace("\"num_query_tokens\": 8", "\"num_query_tokens\": 0");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert_says(
        folder.config(),
        &["config.json: num_query_tokens = 0: must be above 0"],
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
            "\"opt\", \"t5\", \"mt5\", \"llama\"",
        ],
    );
}

#[test]
fn a_language_model_alone() {
    for (text, kind, width) in [
        (
            r#"{ "model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": 24 }"#,
            ModelKind::Opt,
            24,
        ),
        (
            r#"{ "model_type": "t5", "d_model": 40 }"#,
            ModelKind::T5,
            40,
        ),
        (
            r#"{ "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64 }"#,
            ModelKind::Llama,
            64,
        ),
    ] {
        let (_keep, folder) = open(&[("config.json", text)]);
        assert_eq!(folder.kind().unwrap(), kind);
        assert!(kind.is_language_model() && kind.can(Ability::ContinueText));
        let config = folder.text_config().unwrap();
        assert_eq!(
            (config.model_type(), config.hidden_size()),
            (kind.model_type(), width)
        );
        let refused = [kind.class(), "continue texts", "wanted is a BLIP-2"];
        assert_says(folder.config(), &refused);
        assert_eq!(folder.config().unwrap_err().kind(), ErrorKind::Mismatch);
    }
}

#[test]
fn a_language_model_in_a_blip_2() {
    let text = text("blip2_t5/config.json");
    let (_keep, folder) = open(&[("config.json", &text)]);
    assert!(matches!(folder.text_config().unwrap(), TextConfig::T5(_)));
    assert!(!folder.kind().unwrap().is_language_model());
    // Retrieval has none, and OPT's defaults would be a guess.
    let text = r#"{ "model_type": "blip-2", "architectures": ["Blip2ForImageTextRetrieval"] }"#;
    let (_keep, folder) = open(&[("config.json", text)]);
    assert_says(
        folder.text_config(),
        &["Blip2ForImageTextRetrieval", "wanted is a language model"],
    );
    let (_keep, folder) = open(&[("config.json", r#"{ "model_type": "opt", "ffn_dim": 0 }"#)]);
    assert_says(folder.text_config(), &["config.json", "ffn_dim = 0"]);
}

#[test]
fn an_opt_alone_has_the_same_names_in_both_spellings() {
    for name in [
        "decoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    ] {
        let weights = safetensors(&[f32s(name, &[2], &[1.0, 2.0])]);
        let folder = folder(&[
            ("config.json", br#"{ "model_type": "opt" }"#.as_slice()),
            ("model.safetensors", &weights),
        ]);
        let opened = CheckpointFolder::open(folder.path()).unwrap();
        let checkpoint = opened.checkpoint().unwrap();
        let names: Vec<_> = checkpoint.names().collect();
        assert_eq!(names, ["model.decoder.embed_tokens.weight"]);
    }
}

#[test]
fn faults_are_told_apart_by_kind() {
    let kind = |files: &[(&str, &str)]| {
        let (_keep, folder) = open(files);
        folder.config().unwrap_err().kind()
    };
    let nowhere = CheckpointFolder::open("nowhere/at/all").unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    assert_eq!(kind(&[]), ErrorKind::NotFound);
    assert_eq!(kind(&[("config.json", "{")]), ErrorKind::Malformed);
    let unknown = r#"{ "model_type": "llava" }"#;
    assert_eq!(kind(&[("config.json", unknown)]), ErrorKind::Unsupported);
    let nonsense = r#"{ "model_type": "blip-2", "vision_config": { "patch_size": 0 } }"#;
    assert_eq!(kind(&[("config.json", nonsense)]), ErrorKind::Invalid);
    let other = r#"{ "model_type": "clip" }"#;
    assert_eq!(kind(&[("config.json", other)]), ErrorKind::Mismatch);
}

/// What another library said is kept as a source, and its text is in the message.
#[test]
fn an_error_of_another_library_is_the_source() {
    use std::error::Error;

    let (_keep, folder) = open(&[("config.json", "{"), ("tokenizer.json", "{}")]);
    for error in [
        folder.config().unwrap_err(),
        folder.tokenizer().unwrap_err(),
    ] {
        let source = error.source().unwrap().to_string();
        assert!(error.to_string().contains(&source), "{error}: {source}");
    }
}

#[test]
fn preprocessing_is_found_in_either_file() {
    let old = r#"{ "size": { "height": 32, "width": 48 } }"#;
    let new = r#"{ "image_processor": { "size": 64 }, "num_query_tokens": 8 }"#;
    let height = |files: &[(&str, &str)]| {
        let (_keep, folder) = open(files);
        match folder.image_processor().unwrap().size {
            Sizing::Exact(size) => size.height,
            other => panic!("{other:?}"),
        }
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
        &["image_processor.do_resize: the text \"yes\" stands where true or false is due"],
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
