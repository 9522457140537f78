//! Checkpoint folders that are spoilt: each fault is named, and nothing panics.

use std::{collections::BTreeMap, fs, path::Path};

use blip2_core::{Blip2Pipeline, inspect::inspect};
use blip2_testing::copy;
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use serde_json::{Value, json};

use crate::common;

/// What loading says of a folder that was spoilt so.
fn fault(name: &str, spoil: impl FnOnce(&Path)) -> String {
    let folder = copy(name);
    spoil(folder.path());
    Blip2Pipeline::from_pretrained(folder.path())
        .unwrap_err()
        .to_string()
}

/// Rewrites the weights.
fn rewrite(
    folder: &Path,
    change: impl FnOnce(&mut BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<_, _> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    change(&mut tensors);
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| {
            (
                name.clone(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        })
        .collect();
    serialize_to_file(views, None, &path).unwrap();
}

fn edit_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_missing_folder() {
    let error = Blip2Pipeline::from_pretrained("no/such/folder")
        .unwrap_err()
        .to_string();
    says(&error, &["no/such/folder", "no such folder"]);
}

#[test]
fn missing_files() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let message = fault("blip2_opt", |folder| {
            fs::remove_file(folder.join(file)).unwrap()
        });
        says(&message, &[file, "missing"]);
    }
    let message = fault("blip2_opt", |folder| {
        fs::remove_file(folder.join("preprocessor_config.json")).unwrap();
    });
    says(&message, &["preprocessor_config.json"]);
}

#[test]
fn a_pickle_that_is_none() {
    let message = fault("blip2_opt", |folder| {
        fs::rename(
            folder.join("model.safetensors"),
            folder.join("pytorch_model.bin"),
        )
        .unwrap();
    });
    says(
        &message,
        &["pytorch_model.bin", "read without running code"],
    );
}

#[test]
fn truncated_and_corrupt_weights() {
    let message = fault("blip2_opt", |folder| {
        let path = folder.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
    says(
        &message,
        &["model.safetensors", "not a whole safetensors file"],
    );
    for garbage in [&b""[..], &b"short"[..], &[0xff; 64][..]] {
        let message = fault("blip2_opt", |folder| {
            fs::write(folder.join("model.safetensors"), garbage).unwrap();
        });
        says(&message, &["model.safetensors"]);
    }
}

#[test]
fn every_missing_extra_and_misshapen_tensor_is_listed() {
    let message = fault("blip2_opt", |folder| {
        rewrite(folder, |tensors| {
            tensors
                .remove("vision_model.post_layernorm.weight")
                .unwrap();
            let moved = tensors.remove("qformer.layernorm.bias").unwrap();
            tensors.insert("bert.layernorm.bias".into(), moved);
            let shape = &mut tensors.get_mut("language_projection.weight").unwrap().1;
            shape.reverse();
        });
    });
    says(
        &message,
        &[
            "2 missing, 1 misshapen, 1 unused",
            "missing: vision_model.post_layernorm.weight [32]",
            "missing: qformer.layernorm.bias [24] (the file has bert.layernorm.bias)",
            "misshapen: language_projection.weight should be [40, 24], the file has [24, 40]",
            "unused: bert.layernorm.bias",
        ],
    );
}

#[test]
fn integers_in_place_of_weights() {
    let message = fault("blip2_opt", |folder| {
        rewrite(folder, |tensors| {
            let (dtype, _, _) = tensors.get_mut("language_projection.bias").unwrap();
            *dtype = Dtype::I32;
        });
    });
    says(&message, &["language_projection.bias", "I32"]);
}

#[test]
fn extra_tensors_alone_are_reported_and_no_error() {
    let folder = copy("blip2_opt");
    rewrite(folder.path(), |tensors| {
        tensors.insert("extra.weight".into(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    let blip2 = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    assert_eq!(blip2.load_report().unused, ["extra.weight"]);
    assert_eq!(
        inspect(folder.path()).unwrap().report.unused,
        ["extra.weight"]
    );
}

#[test]
fn an_index_that_leads_out_of_its_folder() {
    for shard in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
    ] {
        let message = fault("blip2_opt", |folder| {
            fs::remove_file(folder.join("model.safetensors")).unwrap();
            let index = json!({ "weight_map": { "query_tokens": shard } });
            fs::write(
                folder.join("model.safetensors.index.json"),
                index.to_string(),
            )
            .unwrap();
        });
        says(&message, &[shard, "index"]);
    }
}

/// Splits the weights over three shards with an index.
fn shard(folder: &Path) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut shards: BTreeMap<String, Vec<(String, TensorView<'_>)>> = BTreeMap::new();
    let mut map = serde_json::Map::new();
    for (n, (name, view)) in file.tensors().into_iter().enumerate() {
        let shard = format!("model-{:05}-of-00003.safetensors", n % 3 + 1);
        map.insert(name.clone(), shard.clone().into());
        shards.entry(shard).or_default().push((name, view));
    }
    for (shard, tensors) in shards {
        serialize_to_file(tensors, None, &folder.join(shard)).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    fs::write(
        folder.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn shards_are_the_same_model_as_one_file() {
    let folder = copy("blip2_t5");
    shard(folder.path());
    let sharded = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    let whole = common::pipeline("blip2_t5");
    let image = blip2_testing::picture(1);
    let question = "how many cats?";
    assert_eq!(
        sharded.answer(&image, question).unwrap().log_probs(),
        whole.answer(&image, question).unwrap().log_probs()
    );
}

#[test]
fn a_missing_shard_and_a_shard_of_another_checkpoint() {
    let message = fault("blip2_opt", |folder| {
        shard(folder);
        fs::remove_file(folder.join("model-00002-of-00003.safetensors")).unwrap();
    });
    says(&message, &["model-00002-of-00003.safetensors", "missing"]);
    let message = fault("blip2_opt", |folder| {
        shard(folder);
        let (one, two) = (
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
        );
        fs::copy(folder.join(one), folder.join(two)).unwrap();
    });
    says(&message, &["should be in", "different checkpoints"]);
}

#[test]
fn configurations_that_make_no_sense() {
    type Change = fn(&mut Value);
    let cases: [(Change, &[&str]); 7] = [
        (
            |c| c["vision_config"]["num_attention_heads"] = 5.into(),
            &["vision_config.hidden_size"],
        ),
        (
            |c| c["qformer_config"]["cross_attention_frequency"] = 0.into(),
            &["qformer_config.cross_attention_frequency"],
        ),
        (
            |c| c["text_config"]["num_attention_heads"] = 7.into(),
            &["text_config.hidden_size"],
        ),
        (
            |c| c["text_config"]["model_type"] = "gptj".into(),
            &["gptj", "opt"],
        ),
        (|c| c["model_type"] = "llava".into(), &["llava", "blip-2"]),
        (
            |c| c["image_token_index"] = 9999.into(),
            &["image_token_index", "9999"],
        ),
        (
            |c| c["vision_config"]["hidden_act"] = "mish2".into(),
            &["mish2"],
        ),
    ];
    for (change, parts) in cases {
        let message = fault("blip2_opt", |folder| edit_config(folder, change));
        says(&message, &["config.json"]);
        says(&message, parts);
    }
    let message = fault("blip2_opt", |folder| {
        fs::write(folder.join("config.json"), "{ oops").unwrap()
    });
    says(&message, &["config.json", "line 1"]);
}

#[test]
fn a_configuration_of_other_weights() {
    let message = fault("blip2_opt", |folder| {
        edit_config(folder, |config| {
            config["text_config"]["ffn_dim"] = 88.into()
        });
    });
    says(
        &message,
        &[
            "9 misshapen",
            "layers.0.fc1.weight",
            "layers.2.fc2.weight",
            "[88, 40]",
        ],
    );
}

#[test]
fn a_tokenizer_of_another_model() {
    let message = fault("blip2_opt", |folder| {
        edit_config(folder, |config| {
            config["text_config"]["vocab_size"] = 100.into();
            config["image_token_index"] = 99.into();
        });
    });
    says(&message, &["tokenizer", "100"]);
}

#[test]
fn a_retrieval_checkpoint_is_told_apart() {
    let message = fault("blip2_opt", |folder| {
        edit_config(folder, |config| {
            config["architectures"] = json!(["Blip2ForImageTextRetrieval"])
        });
    });
    says(
        &message,
        &[
            "Blip2ForImageTextRetrieval",
            "Blip2ForConditionalGeneration",
        ],
    );
}

#[test]
fn weights_that_are_no_numbers() {
    let folder = copy("blip2_opt");
    rewrite(folder.path(), |tensors| {
        let (_, _, data) = tensors.get_mut("qformer.layernorm.bias").unwrap();
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let checkpoint = blip2_core::Checkpoint::open(folder.path()).unwrap();
    let error = checkpoint.verify_finite().unwrap_err().to_string();
    says(&error, &["qformer.layernorm.bias", "NaN"]);
    let blip2 = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    let error = blip2
        .caption(&blip2_testing::picture(0))
        .unwrap_err()
        .to_string();
    says(&error, &["logits"]);
}
