//! Adapters of PEFT merged into their bases: the models say what PEFT's say.
//! `fixtures/peft/make_adapters.py` made the goldens.

use std::{collections::BTreeMap, fs, path::Path};

use blip2_core::{
    Answer, Blip2Pipeline, BlipAnswerer, CheckpointFolder, GenerationConfig, Options, open_image,
};
use blip2_io::Adapter;
use blip2_testing::{copy, fixture, json};
use blip2_train::{TrainError, merge};
use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

fn merged(base: &Path, adapter: &str, out: &Path) -> Result<(), TrainError> {
    let base = CheckpointFolder::open(base).unwrap();
    merge(&base, &Adapter::open(fixture(adapter)).unwrap(), out)
}

fn options() -> Options {
    let generation = GenerationConfig::default()
        .with_max_new_tokens(6)
        .with_min_new_tokens(1);
    Options::default().with_generation(generation)
}

fn assert_said(name: &str, answer: &Answer, golden: &Value) {
    let wanted = &golden["adapted"];
    let scale = wanted["scale"].as_f64().unwrap().max(1.0);
    let tokens = wanted["tokens"].as_array().unwrap();
    let log_probs = wanted["log_probs"].as_array().unwrap();
    assert_eq!(answer.tokens.len(), tokens.len(), "{name}");
    for (token, (id, log_prob)) in answer.tokens.iter().zip(tokens.iter().zip(log_probs)) {
        assert_eq!(u64::from(token.id), id.as_u64().unwrap(), "{name}");
        let off = f64::from(token.log_prob) - log_prob.as_f64().unwrap();
        assert!(
            off.abs() < 1e-4 * scale,
            "{name}: {token:?}, not {log_prob}"
        );
    }
}

#[test]
fn a_merged_model_says_what_peft_says() {
    let out = tempfile::tempdir().unwrap();
    for name in [
        "opt_list",
        "opt_patterns",
        "opt_saved",
        "opt_dora",
        "t5_all",
        "instruct_llama",
        // PEFT saves the matrix of a head beside what it adds to it.
        "llama_head",
        "llama_head_dora",
    ] {
        let golden = json(&format!("peft/{name}/golden.json"));
        let base = fixture(golden["base"].as_str().unwrap());
        let folder = out.path().join(name);
        merged(&base, &format!("peft/{name}"), &folder).unwrap();
        let image = open_image(fixture(golden["picture"].as_str().unwrap())).unwrap();
        let blip2 = Blip2Pipeline::from_pretrained(&folder).unwrap();
        let text = golden["text"].as_str().unwrap();
        let answer = blip2.prompt_with(&image, text, &options()).unwrap();
        assert_said(name, &answer, &golden);
    }
    let golden = json("peft/blip1_vqa/golden.json");
    let folder = out.path().join("blip1");
    merged(&fixture("blip1_vqa"), "peft/blip1_vqa", &folder).unwrap();
    let image = open_image(fixture(golden["picture"].as_str().unwrap())).unwrap();
    let blip1 = BlipAnswerer::from_pretrained(&folder).unwrap();
    let text = golden["text"].as_str().unwrap();
    let answer = blip1.answer_with(&image, text, &options()).unwrap();
    assert_said("blip1_vqa", &answer, &golden);
}

/// Writes the weights of a folder anew, floats in one of the formats of 16 bits.
fn narrow(folder: &Path, (format, dtype): (Dtype, DType)) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let narrowed: BTreeMap<String, (Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, view)| {
            let floats = view.data().chunks_exact(4);
            let floats = floats.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            let data = TensorData::new(floats.collect::<Vec<f32>>(), view.shape().to_vec());
            let data = data.convert_dtype(dtype).as_bytes().to_vec();
            (name.to_string(), (view.shape().to_vec(), data))
        })
        .collect();
    let views = narrowed.iter().map(|(name, (shape, data))| {
        let view = TensorView::new(format, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_merged_model_has_the_formats_of_its_base() {
    let base = copy("blip2_opt");
    narrow(base.path(), (Dtype::BF16, DType::BF16));
    let out = tempfile::tempdir().unwrap();
    merged(base.path(), "peft/opt_saved", &out.path().join("merged")).unwrap();
    let open = |folder: &Path| {
        let folder = CheckpointFolder::open(folder).unwrap();
        folder.checkpoint().unwrap()
    };
    let (before, after) = (open(base.path()), open(&out.path().join("merged")));
    assert!(before.names().eq(after.names()));
    let mut changed = 0;
    for name in before.names() {
        assert_eq!(after.dtype(name), Some(DType::BF16), "{name}");
        changed += usize::from(before.tensor(name) != after.tensor(name));
    }
    assert!(changed > 0);
}

/// Numbers that the base's format does not hold are none, and no model is made of them.
#[test]
fn a_merge_beyond_its_base_s_format_writes_no_weights() {
    let base = copy("blip2_opt");
    narrow(base.path(), (Dtype::F16, DType::F16));
    let own = tempfile::tempdir().unwrap();
    let (from, adapter) = (fixture("peft/opt_saved"), own.path().join("adapter"));
    fs::create_dir(&adapter).unwrap();
    fs::copy(
        from.join("adapter_model.safetensors"),
        adapter.join("adapter_model.safetensors"),
    )
    .unwrap();
    let settings = fs::read(from.join("adapter_config.json")).unwrap();
    let mut settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
    settings["lora_alpha"] = 1e9.into();
    fs::write(adapter.join("adapter_config.json"), settings.to_string()).unwrap();
    let out = own.path().join("merged");
    let base = CheckpointFolder::open(base.path()).unwrap();
    let adapter = Adapter::open(&adapter).unwrap();
    let error = blip2_train::merge(&base, &adapter, &out)
        .unwrap_err()
        .to_string();
    assert!(error.contains("beyond what float16 holds"), "{error}");
    assert!(!out.join("model.safetensors").exists());
}

#[test]
fn nothing_is_written_where_something_does_not_go_together() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("merged");
    let error = merged(&fixture("blip2_t5"), "peft/opt_list", &folder).unwrap_err();
    assert!(error.to_string().contains("opt_list"), "{error}");
    assert!(!folder.exists());

    let base = copy("blip2_opt");
    let before = fs::read(base.path().join("model.safetensors")).unwrap();
    for folder in [base.path().to_path_buf(), base.path().join("inside")] {
        let error = merged(base.path(), "peft/opt_list", &folder).unwrap_err();
        assert!(matches!(error, TrainError::Overlap { .. }), "{error}");
    }
    let after = fs::read(base.path().join("model.safetensors")).unwrap();
    assert_eq!(before, after);

    let file = out.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = merged(&fixture("blip2_opt"), "peft/opt_list", &file).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is a file, and the model is written into a folder"),
        "{error}"
    );
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    let packed = out.path().join("packed");
    blip2_core::pack(base.path(), blip2_core::Precision::Int8, &packed).unwrap();
    let error = merged(&packed, "peft/opt_list", &folder).unwrap_err();
    assert!(error.to_string().contains("packed"), "{error}");
}
