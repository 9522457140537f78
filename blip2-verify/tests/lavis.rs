//! Checkpoints of LAVIS become folders that load whole and give the numbers of the folders that the
//! LAVIS files were made from. `fixtures/lavis/make_lavis.py` made them.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use blip2_core::{
    Blip2Pipeline, CheckpointFolder,
    inspect::inspect,
    lavis::{Architecture, Conversion, Converted},
};
use blip2_testing::{TorchFile, fixture, picture, publish_as_before};
use blip2_verify::{VerifyOptions, verify};
use blip2_vision::VisionOptions;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

fn file(name: &str) -> std::path::PathBuf {
    fixture("lavis").join(name)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A fixture's language model as a folder of its own.
fn language_model(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = fixture(name);
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(from.join(file), folder.path().join(file)).unwrap();
    }
    let config = read_json(&from.join("config.json"))["text_config"].to_string();
    fs::write(folder.path().join("config.json"), config).unwrap();
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let own: BTreeMap<String, _> = tensors
        .iter()
        .filter_map(|(name, view)| {
            let name = name.strip_prefix("language_model.")?;
            // OPT's published checkpoints leave this out.
            let name = match name.strip_prefix("model.decoder.") {
                Some(rest) => format!("decoder.{rest}"),
                None => name.to_string(),
            };
            Some((name, view))
        })
        .collect();
    serialize_to_file(own, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

/// The folder loads with nothing missing and nothing unused, and meets the fixture's goldens.
fn equals(folder: &Path, name: &str, at_least: usize) {
    let found = inspect(folder).unwrap();
    assert!(found.report.is_complete(), "{}", found.report);
    assert!(found.report.unused.is_empty(), "{}", found.report);
    for golden in ["golden.json", "golden.safetensors"] {
        fs::copy(fixture(name).join(golden), folder.join(golden)).unwrap();
    }
    let report = verify(folder, &VerifyOptions::on("flex").unwrap())
        .unwrap()
        .remove(0);
    assert!(report.passed(), "{report}");
    assert!(report.checks.len() >= at_least, "{report}");
}

fn target() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    (folder, path)
}

#[test]
fn opt() {
    let (language_model, (_folder, path)) = (language_model("blip2_opt"), target());
    let converted = Conversion::new(file("blip2_opt.pth"), Architecture::Opt)
        .language_model(language_model.path())
        .config(fixture("blip2_opt"))
        .write(&path)
        .unwrap();
    assert_eq!(converted.left_out, [] as [&str; 0]);
    equals(&path, "blip2_opt", 80);
}

/// A language model whose tokenizer is of the time before `tokenizer.json`.
#[test]
fn opt_with_a_tokenizer_of_older_files() {
    let (language_model, (_folder, path)) = (language_model("blip2_opt"), target());
    publish_as_before(language_model.path());
    Conversion::new(file("blip2_opt.pth"), Architecture::Opt)
        .language_model(language_model.path())
        .config(fixture("blip2_opt"))
        .write(&path)
        .unwrap();
    assert!(path.join("tokenizer.json").is_file());
    assert!(!path.join("vocab.json").exists());
    equals(&path, "blip2_opt", 80);
}

/// No rows of embeddings are made up for an id far beyond them.
#[test]
fn a_tokenizer_with_one_huge_id_is_refused() {
    let (language_model, (_folder, path)) = (language_model("blip2_opt"), target());
    let tokenizer = language_model.path().join("tokenizer.json");
    let mut json = read_json(&tokenizer);
    json["model"]["vocab"]["far"] = 10_000_000.into();
    fs::write(&tokenizer, json.to_string()).unwrap();
    let converted = Conversion::new(file("blip2_opt.pth"), Architecture::Opt)
        .language_model(language_model.path())
        .config(fixture("blip2_opt"))
        .write(&path);
    let error = converted.unwrap_err().to_string();
    assert!(error.contains("largest id is 10000000"), "{error}");
    assert!(!path.exists());
}

/// The language model as the hub has it, with PyTorch's own weights.
#[test]
fn opt_with_a_pickled_language_model() {
    let (language_model, (_folder, path)) = (language_model("blip2_opt"), target());
    let weights = language_model.path().join("model.safetensors");
    let saved = TorchFile::of_safetensors(&fs::read(&weights).unwrap(), |_| true);
    fs::remove_file(weights).unwrap();
    fs::write(language_model.path().join("pytorch_model.bin"), saved.zip()).unwrap();
    Conversion::new(file("blip2_opt.pth"), Architecture::Opt)
        .language_model(language_model.path())
        .config(fixture("blip2_opt"))
        .write(&path)
        .unwrap();
    equals(&path, "blip2_opt", 80);
}

/// A frozen image encoder is a file of its own, whose last layer is not used.
#[test]
fn t5_with_a_frozen_image_encoder() {
    let (language_model, (_folder, path)) = (language_model("blip2_t5"), target());
    let conversion = Conversion::new(file("blip2_t5_frozen.pth"), Architecture::T5)
        .language_model(language_model.path());
    let error = conversion.clone().write(&path).unwrap_err().to_string();
    assert!(error.contains("eva_vit_g.pth"), "{error}");
    let conversion = conversion.vision(file("eva_vit.pth"));
    // Without a configuration the last layer is left out as well.
    let by_count = conversion.clone().write(&path).unwrap();
    assert!(
        by_count
            .left_out
            .iter()
            .all(|name| name.starts_with("blocks.3."))
    );
    assert_eq!(by_count.left_out.len(), 13, "{by_count}");
    fs::remove_dir_all(&path).unwrap();
    conversion.config(fixture("blip2_t5")).write(&path).unwrap();
    equals(&path, "blip2_t5", 80);
}

#[test]
fn instructblip() {
    for (name, architecture) in [
        ("instructblip_t5", Architecture::InstructT5),
        ("instructblip_llama", Architecture::InstructVicuna),
    ] {
        let (_folder, path) = target();
        // A whole folder will do for the language model's.
        Conversion::new(file(&format!("{name}.pth")), architecture)
            .language_model(fixture(name))
            .tokenizer(fixture(name).join("qformer_tokenizer"))
            .config(fixture(name))
            .write(&path)
            .unwrap();
        if name == "instructblip_t5" {
            equals(&path, name, 40);
        } else {
            // LAVIS begins this model's texts with another token than the fixture, so the prompts
            // differ, but nothing else.
            let found = inspect(&path).unwrap();
            assert!(found.report.is_complete() && found.report.unused.is_empty());
            let ids = |folder: &Path| {
                let tokenizer = CheckpointFolder::open(folder).unwrap().tokenizer().unwrap();
                tokenizer.encode("a dog").unwrap()
            };
            let (own, fixtures) = (ids(&path), ids(&fixture(name)));
            assert_eq!(own[1..], fixtures[1..]);
            assert_eq!(own[0], 2, "{own:?} {fixtures:?}");
            let tokenizer = fixture(name).join("tokenizer.json");
            fs::copy(tokenizer, path.join("tokenizer.json")).unwrap();
            equals(&path, name, 40);
        }
    }
}

#[test]
fn the_first_stage() {
    let (_folder, path) = target();
    let converted = Conversion::new(file("blip2_itr.pth"), Architecture::Retrieval)
        .tokenizer(fixture("blip2_itr_legacy"))
        .config(fixture("blip2_itr_legacy"))
        .write(&path)
        .unwrap();
    assert_eq!(converted.temperature, Some(0.05));
    assert_eq!(
        converted.left_out,
        [
            "Qformer.bert.embeddings.position_ids",
            "Qformer.cls.predictions.bias"
        ]
    );
    let config = read_json(&path.join("config.json"));
    assert_eq!(config["itc_temperature"].as_f64().unwrap() as f32, 0.05);
    equals(&path, "blip2_itr_legacy", 20);
}

/// BLIP-2 with CLIP's image encoder, which `transformers` has no model for: every position passes
/// the last norm.
#[test]
fn clips_image_encoder() {
    let (language_model, (_folder, path)) = (language_model("blip2_t5"), target());
    Conversion::new(file("blip2_t5_frozen.pth"), Architecture::T5)
        .language_model(language_model.path())
        .vision(file("clip_vit.pth"))
        .write(&path)
        .unwrap();
    // The published model has heads of 64 numbers, this one of 8.
    let config = path.join("config.json");
    let mut json = read_json(&config);
    json["vision_config"]["num_attention_heads"] = 4.into();
    fs::write(&config, json.to_string()).unwrap();
    let found = inspect(&path).unwrap();
    assert!(found.report.is_complete() && found.report.unused.is_empty());

    let blip2 = Blip2Pipeline::from_pretrained(&path).unwrap();
    let bytes = fs::read(file("clip_vit.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |name: &str| -> (Vec<f32>, Vec<usize>) {
        let view = goldens.tensor(name).unwrap();
        let (numbers, _) = view.data().as_chunks::<4>();
        let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (numbers.collect(), view.shape().to_vec())
    };
    let (pixels, shape) = numbers("pixel_values");
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, shape), &Device::flex());
    let tower = blip2.model().vision_model();
    let seen = tower.forward(pixels, &VisionOptions::default()).unwrap();
    let seen = seen
        .last_hidden_state
        .into_data()
        .try_into_vec::<f32>()
        .unwrap();
    let (expected, _) = numbers("image_embeds");
    let furthest = seen.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let furthest = furthest.fold(0.0, f32::max);
    assert!(furthest < 1e-4, "{furthest}");
    blip2.answer(&picture(0), "what is this?").unwrap();
}

/// What LAVIS changes when it loads a published language model, and what a Hugging Face folder needs.
#[test]
fn language_models_are_adapted_as_lavis_does() {
    // A tokenizer and tables without a place for the picture.
    let folder = language_model("blip2_opt");
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer = read_json(&path);
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    added.retain(|token| token["content"] != "<image>");
    fs::write(&path, tokenizer.to_string()).unwrap();
    let (_folder, path) = target();
    let conversion = || {
        let opt = Conversion::new(file("blip2_opt.pth"), Architecture::Opt);
        opt.language_model(folder.path())
    };
    conversion().write(&path).unwrap();
    let blip2 = Blip2Pipeline::from_pretrained(&path).unwrap();
    assert_eq!(blip2.config().image_token_index, Some(427));
    assert_eq!(blip2.config().text_config.vocab_size(), 432);
    blip2.answer(&picture(0), "what is this?").unwrap();

    // With as many rows as tokens, one is added.
    let weights = folder.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let name = "decoder.embed_tokens.weight";
    let table = tensors.tensor(name).unwrap();
    let columns = table.shape()[1];
    let short = table.data()[..427 * columns * 4].to_vec();
    let view = safetensors::tensor::TensorView::new(table.dtype(), vec![427, columns], &short);
    let mut all: BTreeMap<String, _> = tensors
        .iter()
        .map(|(name, view)| (name.to_string(), view))
        .collect();
    all.insert(name.to_string(), view.unwrap());
    let shortened = folder.path().join("short.safetensors");
    serialize_to_file(all, None, &shortened).unwrap();
    fs::rename(shortened, weights).unwrap();
    let config = folder.path().join("config.json");
    let mut json = read_json(&config);
    json["vocab_size"] = 427.into();
    fs::write(&config, json.to_string()).unwrap();
    fs::remove_dir_all(&path).unwrap();
    conversion().write(&path).unwrap();
    let blip2 = Blip2Pipeline::from_pretrained(&path).unwrap();
    assert_eq!(blip2.config().text_config.vocab_size(), 428);
    blip2.answer(&picture(0), "what is this?").unwrap();
}

fn fault(conversion: Conversion, path: &Path) -> String {
    let written: Result<Converted, _> = conversion.write(path);
    written.unwrap_err().to_string()
}

#[test]
fn what_is_missing_is_said() {
    let (_folder, path) = target();
    let opt = || Conversion::new(file("blip2_opt.pth"), Architecture::Opt);
    let error = fault(opt(), &path);
    assert!(error.contains("language_model"), "{error}");
    let error = fault(opt().language_model(fixture("blip2_t5")), &path);
    assert!(
        error.contains("needs a opt") || error.contains("opt"),
        "{error}"
    );
    let stage1 = Conversion::new(file("blip2_itr.pth"), Architecture::Retrieval);
    let error = fault(stage1, &path);
    assert!(error.contains("bert-base-uncased"), "{error}");
    let other = Conversion::new(file("eva_vit.pth"), Architecture::Retrieval);
    let error = fault(other, &path);
    assert!(error.contains("query_tokens"), "{error}");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("mine.txt"), "keep").unwrap();
    let error = fault(opt().language_model(fixture("blip2_opt")), &path);
    assert!(error.contains("not empty"), "{error}");
    assert!("blip3".parse::<Architecture>().is_err());
    for architecture in Architecture::ALL {
        assert_eq!(architecture.name().parse(), Ok(architecture));
    }
}

/// A pickle that would run a command runs nothing.
#[test]
fn no_code_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (evil, made) = (folder.path().join("evil.pth"), folder.path().join("made"));
    fs::write(
        &evil,
        format!("cos\nsystem\n(S'touch {}'\ntR.", made.display()),
    )
    .unwrap();
    let conversion = Conversion::new(&evil, Architecture::Retrieval);
    let error = fault(conversion, &folder.path().join("out"));
    assert!(error.contains("evil.pth"), "{error}");
    assert!(!made.exists());
    fs::write(&evil, "no pickle at all").unwrap();
    let conversion = Conversion::new(&evil, Architecture::Retrieval);
    let error = fault(conversion, &folder.path().join("out"));
    assert!(error.contains("evil.pth"), "{error}");
    // Cut short anywhere, a file is an error and no panic.
    let whole = fs::read(file("blip2_itr.pth")).unwrap();
    for part in 1..40 {
        fs::write(&evil, &whole[..whole.len() * part / 40]).unwrap();
        let conversion = Conversion::new(&evil, Architecture::Retrieval);
        fault(
            conversion.tokenizer(fixture("blip2_itr")),
            &folder.path().join("out"),
        );
    }
}

/// A BLIP-1 as LAVIS saves it, made of a fixture.
fn saved_blip1(name: &str) -> (TempDir, std::path::PathBuf) {
    let bytes = fs::read(fixture(name).join("model.safetensors")).unwrap();
    let mut saved = TorchFile::of_safetensors(&bytes, |_| true);
    for view in &mut saved.views {
        let own = match view.name.strip_prefix("vision_model.") {
            Some(rest) => rest
                .replace("embeddings.class_embedding", "visual_encoder.cls_token")
                .replace("embeddings.position_embedding", "visual_encoder.pos_embed")
                .replace(
                    "embeddings.patch_embedding",
                    "visual_encoder.patch_embed.proj",
                )
                .replace("post_layernorm", "visual_encoder.norm")
                .replace("encoder.layers", "visual_encoder.blocks")
                .replace("layer_norm", "norm")
                .replace("self_attn.projection", "attn.proj")
                .replace("self_attn", "attn"),
            None => view.name.clone(),
        };
        view.name = format!("model.{own}");
    }
    saved.push("model.text_queue", Dtype::F32, &[1], &[0; 4]);
    saved.push(
        "model.text_decoder.cls.predictions.decoder.bias",
        Dtype::F32,
        &[1],
        &[0; 4],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blip1.pth");
    fs::write(&path, saved.zip()).unwrap();
    (folder, path)
}

#[test]
fn blip1() {
    for (name, architecture) in [
        ("blip1_caption", "blip_caption"),
        ("blip1_vqa", "blip_vqa"),
        ("blip1_itr", "blip_retrieval"),
    ] {
        let ((_saved, file), (_folder, path)) = (saved_blip1(name), target());
        let architecture: Architecture = architecture.parse().unwrap();
        let conversion = Conversion::new(file, architecture).config(fixture(name));
        let error = conversion.clone().write(&path).unwrap_err().to_string();
        assert!(error.contains("bert-base-uncased"), "{error}");
        let converted = conversion.tokenizer(fixture(name)).write(&path).unwrap();
        assert!(converted.left_out.contains(&"text_queue".to_string()));
        equals(&path, name, 10);
    }
}

/// Another architecture's file is told by what it lacks.
#[test]
fn a_blip1_of_another_kind() {
    let ((_saved, file), (_folder, path)) = (saved_blip1("blip1_itr"), target());
    let conversion = Conversion::new(file, Architecture::Blip1Caption);
    let error = conversion.write(&path).unwrap_err().to_string();
    assert!(error.contains("text_decoder.bert"), "{error}");
    assert!(!path.exists());
}
