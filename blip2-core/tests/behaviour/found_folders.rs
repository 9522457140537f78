//! Folders as people have them answer as the fixture that they were made of, or say what they are.

use std::{fs, path::Path};

use blip2_core::{
    Blip2Pipeline, PrecisionPlan,
    inspect::inspect,
    pack,
    preprocessing::{ImageProcessor, Resizing},
};
use blip2_lm::LanguageModel;
use blip2_testing::{TorchFile, copy, fixture, picture};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a fixture, the folders in it too.
fn whole(name: &str) -> TempDir {
    let folder = copy(name);
    let below = fixture(name).join("qformer_tokenizer");
    if below.is_dir() {
        let to = folder.path().join("qformer_tokenizer");
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(below).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    folder
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The ids of an answer, which are those of the model alone.
fn answer(model: impl AsRef<Path>) -> Vec<u32> {
    let blip2 = Blip2Pipeline::from_pretrained(model).unwrap();
    let answer = blip2.answer(&picture(3), "what is this?").unwrap();
    answer.token_ids().to_vec()
}

/// Takes the safetensors file away and puts what is made of it in its place.
fn replace(folder: &Path, files: impl FnOnce(&[u8]) -> Vec<(&'static str, Vec<u8>)>) {
    let file = folder.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    for (name, content) in files(&bytes) {
        fs::write(folder.join(name), content).unwrap();
    }
}

fn is_language_model(name: &str) -> bool {
    name.starts_with("language_model.")
}

#[test]
fn pickled_weights_answer_as_safetensors_do() {
    let expected = answer(fixture("blip2_opt"));
    const BIN: &str = "pytorch_model.bin";
    for form in 0..3 {
        let folder = whole("blip2_opt");
        replace(folder.path(), |file| {
            let all = TorchFile::of_safetensors(file, |_| true);
            match form {
                0 => vec![(BIN, all.zip())],
                1 => vec![(BIN, all.legacy())],
                _ => vec![
                    (
                        "pytorch_model-00001-of-00002.bin",
                        TorchFile::of_safetensors(file, is_language_model).zip(),
                    ),
                    (
                        "pytorch_model-00002-of-00002.bin",
                        TorchFile::of_safetensors(file, |name| !is_language_model(name)).zip(),
                    ),
                ],
            }
        });
        assert_eq!(answer(folder.path()), expected);
        assert!(inspect(folder.path()).unwrap().is_complete());
        let packed = folder.path().join("packed");
        pack(folder.path(), PrecisionPlan::default(), &packed).unwrap();
        assert_eq!(answer(packed), expected);
    }
}

#[test]
fn weights_that_are_copied_answer_as_mapped_ones_do() {
    let copied = Blip2Pipeline::builder(fixture("blip2_opt"))
        .copy_weights(true)
        .load()
        .unwrap();
    let found = copied.answer(&picture(3), "what is this?").unwrap();
    assert_eq!(found.token_ids(), answer(fixture("blip2_opt")));
}

#[test]
fn mt5_answers_as_the_t5_that_it_is() {
    let folder = whole("blip2_t5");
    edit(folder.path(), "config.json", |config| {
        config["text_config"]["model_type"] = json!("mt5");
    });
    assert_eq!(answer(folder.path()), answer(fixture("blip2_t5")));
    let found = inspect(folder.path()).unwrap();
    assert!(found.is_complete() && found.report.unused.is_empty());
}

/// As the reference generates: by the ids of `text_config`, whatever the tokenizer's are, and a
/// padding id below zero is none.
#[test]
fn vicuna_s_copies_generate_by_the_configuration_s_ids() {
    let folder = whole("instructblip_llama");
    edit(folder.path(), "config.json", |config| {
        config["text_config"]["pad_token_id"] = json!(-1);
    });
    let expected = answer(fixture("instructblip_llama"));
    assert_eq!(answer(folder.path()), expected);
    // Whatever ends a text here, the first id of the answer does.
    edit(folder.path(), "config.json", |config| {
        config["text_config"]["eos_token_id"] = json!([expected[0], -1]);
        config["text_config"]["bos_token_id"] = json!(0);
    });
    edit(folder.path(), "generation_config.json", |config| {
        config["eos_token_id"] = json!(2);
    });
    assert!(answer(folder.path()).len() <= 1);
}

/// The reference takes them and never meets them; of what is always looked up it says so.
#[test]
fn ids_that_no_vocabulary_has_are_never_met() {
    for name in ["blip2_opt", "blip2_t5", "instructblip_llama"] {
        let folder = whole(name);
        let expected = answer(fixture(name));
        edit(folder.path(), "config.json", |config| {
            let own = config["text_config"]["eos_token_id"].clone();
            config["text_config"]["eos_token_id"] = json!([own.as_u64().unwrap_or(2), 99_999]);
            config["text_config"]["bos_token_id"] = json!(99_999);
        });
        assert_eq!(answer(folder.path()), expected, "{name}");
        let found = inspect(folder.path()).unwrap();
        assert!(found.is_complete(), "{name}: {:?}", found.obstacles);
        assert_eq!(found.notes.len(), 2, "{name}: {:?}", found.notes);
        assert!(
            found
                .to_string()
                .contains("note: text_config.bos_token_id = 99999")
        );
    }
    assert!(inspect(fixture("blip2_opt")).unwrap().notes.is_empty());
}

#[test]
fn a_folder_that_keeps_the_aspect_and_cuts() {
    let folder = whole("blip2_opt");
    edit(folder.path(), "preprocessor_config.json", |config| {
        config["size"] = json!({ "shortest_edge": 32 });
        config["do_center_crop"] = json!(true);
        config["crop_size"] = json!(32);
    });
    let blip2 = Blip2Pipeline::from_pretrained(folder.path()).unwrap();
    let wide = blip2_core::preprocessing::resize(&picture(3), 97, 61, Default::default());
    let found = blip2.answer(&wide, "what is this?").unwrap();
    // The middle of it, cut by hand, as the plain folder sees it.
    let edge = blip2_core::preprocessing::resize(&wide, 50, 32, Default::default());
    let middle = blip2_core::image::imageops::crop_imm(&edge, 9, 0, 32, 32).to_image();
    let plain = Blip2Pipeline::from_pretrained(fixture("blip2_opt")).unwrap();
    let expected = plain.answer(&middle, "what is this?").unwrap();
    assert_eq!(found.token_ids(), expected.token_ids());
    assert_eq!(found.confidence(), expected.confidence());
    // And without a cut the pictures have no one shape.
    edit(folder.path(), "preprocessor_config.json", |config| {
        config["do_center_crop"] = json!(false);
    });
    let error = Blip2Pipeline::from_pretrained(folder.path()).unwrap_err();
    assert!(error.to_string().contains("crop_size"), "{error}");
    let obstacles = inspect(folder.path()).unwrap().obstacles;
    assert!(obstacles[0].contains("of many shapes"), "{obstacles:?}");
}

#[test]
fn pictures_larger_than_the_model_was_trained_at() {
    let folder = whole("blip2_opt");
    edit(folder.path(), "preprocessor_config.json", |config| {
        config["size"] = json!({ "height": 64, "width": 64 });
    });
    let obstacles = inspect(folder.path()).unwrap().obstacles;
    assert!(obstacles[0].contains("64×64") && obstacles[0].contains("32×32"));
    let asked = |folder: &Path| {
        let builder = Blip2Pipeline::builder(folder).image_size(64);
        let answer = builder.load().unwrap().answer(&picture(3), "what is this?");
        answer.unwrap().token_ids().to_vec()
    };
    assert_eq!(asked(folder.path()), asked(&fixture("blip2_opt")));
}

#[test]
fn the_way_of_resizing_is_chosen() {
    let load = |resizing: Option<Resizing>| {
        let builder = Blip2Pipeline::builder(fixture("blip2_opt"));
        match resizing {
            Some(resizing) => builder.resizing(resizing),
            None => builder,
        }
        .load()
        .unwrap()
    };
    let wide = blip2_core::preprocessing::resize(&picture(3), 97, 61, Default::default());
    let scores = |blip2: Blip2Pipeline| {
        let answer = blip2.answer(&wide, "what is this?").unwrap();
        answer.confidence()
    };
    let plain = scores(load(None));
    assert_eq!(scores(load(Some(Resizing::Pillow))), plain);
    assert_eq!(scores(load(Some(Resizing::Folder))), plain);
    assert_ne!(scores(load(Some(Resizing::Torchvision))), plain);
    // A processor that a program makes takes it too.
    let config = blip2_core::preprocessing::ImageProcessorConfig::default()
        .with_resizing(Resizing::Torchvision);
    ImageProcessor::new(config).unwrap();
}

#[test]
fn what_is_missing_beside_the_weights_is_said() {
    for (name, file, parts) in [
        (
            "instructblip_llama",
            "qformer_tokenizer/tokenizer.json",
            ["qformer_tokenizer", "Salesforce/instructblip"],
        ),
        ("blip2_opt", "tokenizer.json", ["tokenizer.json", "missing"]),
        ("blip2_itr", "tokenizer.json", ["tokenizer.json", "missing"]),
        ("blip1_vqa", "tokenizer.json", ["tokenizer.json", "missing"]),
        (
            "blip1_itr",
            "preprocessor_config.json",
            ["preprocessor_config.json", "copy it from"],
        ),
    ] {
        let folder = whole(name);
        assert!(inspect(folder.path()).unwrap().is_complete(), "{name}");
        fs::remove_file(folder.path().join(file)).unwrap();
        let found = inspect(folder.path()).unwrap();
        assert!(found.report.is_complete() && !found.is_complete());
        let [obstacle] = found.obstacles.as_slice() else {
            panic!("{name}: {:?}", found.obstacles);
        };
        for part in parts {
            assert!(obstacle.contains(part), "{obstacle}");
            assert!(found.to_string().contains(part));
        }
    }
    let found = inspect(fixture("blip2_opt")).unwrap();
    assert_eq!(found.transformers_version.as_deref(), Some("5.23.0"));
}

/// A head that stands beside the table of tokens is a copy of it, or one that was trained apart.
#[test]
fn a_head_of_its_own_is_used_whatever_the_configuration_calls_tied() {
    let whole_llama = whole("instructblip_llama");
    let due = answer(whole_llama.path());
    edit(whole_llama.path(), "config.json", |config| {
        config["text_config"]["tie_word_embeddings"] = true.into();
    });
    assert_eq!(answer(whole_llama.path()), due);
    let packed = whole_llama.path().join("packed.safetensors");
    pack(whole_llama.path(), blip2_core::Precision::AsStored, &packed).unwrap();
    assert_eq!(answer(&packed), due);

    // A copy is no head of its own, and costs no memory.
    let opt = whole("blip2_opt");
    let due = answer(opt.path());
    let file = fs::read(opt.path().join("model.safetensors")).unwrap();
    let table = "language_model.model.decoder.embed_tokens.weight";
    for change in [0u8, 1] {
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let mut copied = tensors.tensor(table).unwrap().data().to_vec();
        // The least significant byte of one number.
        copied[0] ^= change;
        let shape = tensors.tensor(table).unwrap().shape().to_vec();
        let head = TensorView::new(Dtype::F32, shape, &copied).unwrap();
        let mut all = tensors.tensors();
        all.push(("language_model.lm_head.weight".into(), head));
        let path = opt.path().join("model.safetensors");
        safetensors::serialize_to_file(all, None, &path).unwrap();
        assert_eq!(answer(opt.path()), due);
        let blip2 = Blip2Pipeline::from_pretrained(opt.path()).unwrap();
        let LanguageModel::Decoder(model) = blip2.model().language_model() else {
            panic!("OPT is a decoder");
        };
        assert_eq!(model.has_own_head(), change == 1);
    }
}

/// What wrappers of PyTorch put before every name is taken away; what another did is told in a line.
#[test]
fn names_behind_a_wrapper() {
    let base = whole("blip2_opt");
    let due = answer(base.path());
    let file = fs::read(base.path().join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let put = |prefix: &str| {
        let named = tensors.tensors().into_iter();
        let named = named.map(|(name, view)| (format!("{prefix}{name}"), view));
        let path = base.path().join("model.safetensors");
        safetensors::serialize_to_file(named, None, &path).unwrap();
    };
    for prefix in ["module.", "_orig_mod.", "module._orig_mod."] {
        put(prefix);
        assert_eq!(answer(base.path()), due, "{prefix}");
    }
    put("wrapped.");
    let error = Blip2Pipeline::from_pretrained(base.path()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("begin with `wrapped.`"), "{said}");
    assert!(said.lines().count() < 30, "{said}");
}
