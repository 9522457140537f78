//! Adapters of PEFT on every member of the family: what models say with them is what they say in
//! Python. `fixtures/peft/make_adapters.py` made them.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval, Builder,
    GenerationConfig, Member, Options, Precision, memory::Workload, open_image, pack,
};
use blip2_io::{Adapter, ErrorKind};
use blip2_kernels::PackedFormat;
use blip2_testing::{assert_says, copy, fixture, json};
use image::RgbImage;
use serde_json::Value;

fn golden(name: &str) -> Value {
    json(&format!("peft/{name}/golden.json"))
}

fn image(golden: &Value) -> RgbImage {
    open_image(fixture(golden["picture"].as_str().unwrap())).unwrap()
}

fn options() -> Options {
    let generation = GenerationConfig::default()
        .with_max_new_tokens(6)
        .with_min_new_tokens(1);
    Options::default().with_generation(generation)
}

/// Tokens and log-probabilities as the golden has them, within 1e-4 of the scale of its logits.
fn assert_said(name: &str, answer: &blip2_core::Answer, golden: &Value) {
    let wanted = |key: &str| golden["adapted"][key].as_array().unwrap().clone();
    let tokens: Vec<u64> = wanted("tokens")
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect();
    let found: Vec<u64> = answer.tokens.iter().map(|token| token.id.into()).collect();
    assert_eq!(found, tokens, "{name}");
    let tolerance = 1e-4 * golden["adapted"]["scale"].as_f64().unwrap().max(1.0);
    for (token, wanted) in answer.tokens.iter().zip(wanted("log_probs")) {
        let difference = f64::from(token.log_prob) - wanted.as_f64().unwrap();
        assert!(
            difference.abs() < tolerance,
            "{name}: {token:?}, not {wanted}"
        );
    }
    assert_ne!(golden["adapted"], golden["plain"]);
}

fn assert_near(name: &str, found: f32, wanted: &Value) {
    let wanted = wanted.as_f64().unwrap();
    assert!(
        (f64::from(found) - wanted).abs() < 1e-4,
        "{name}: {found}, not {wanted}"
    );
}

fn adapted<M: Member>(builder: impl Fn(&Path) -> Builder<M>, name: &str, golden: &Value) -> M {
    let base = fixture(golden["base"].as_str().unwrap());
    builder(&base)
        .adapter(fixture("peft").join(name))
        .load()
        .unwrap()
}

#[test]
fn pipelines_say_with_an_adapter_what_peft_says() {
    for name in [
        "opt_list",
        "opt_patterns",
        "opt_saved",
        "opt_dora",
        // Of a head that is the base's table of tokens.
        "opt_head",
        "opt_head_saved",
        "opt_head_dora",
        // Of that table alone: the head keeps its own.
        "opt_tokens",
        "t5_all",
        // Of prompts' table alone: what is written is looked up in the old one.
        "t5_shared",
        "t5_tied_shared",
        "instruct_llama",
        // Of a head of its own, which PEFT saves beside.
        "llama_head",
        "llama_head_dora",
    ] {
        let golden = golden(name);
        let blip2 = adapted(|base| Blip2Pipeline::builder(base), name, &golden);
        let text = golden["text"].as_str().unwrap();
        let answer = blip2
            .prompt_with(&image(&golden), text, &options())
            .unwrap();
        assert_said(name, &answer, &golden);
    }
}

#[test]
fn blip1_says_with_an_adapter_what_peft_says() {
    for name in ["blip1_caption", "blip1_caption_all"] {
        let golden = golden(name);
        let text = golden["text"].as_str().unwrap();
        let captioner = adapted(|base| BlipCaptioner::builder(base), name, &golden);
        let caption = captioner.prompt_with(&image(&golden), text, &options());
        assert_said(name, &caption.unwrap(), &golden);
    }
    for name in ["blip1_vqa", "blip1_vqa_words", "blip1_vqa_head"] {
        let golden = golden(name);
        let text = golden["text"].as_str().unwrap();
        let answerer = adapted(|base| BlipAnswerer::builder(base), name, &golden);
        let answer = answerer.answer_with(&image(&golden), text, &options());
        assert_said(name, &answer.unwrap(), &golden);
    }
}

#[test]
fn retrieval_compares_with_an_adapter_as_peft_does() {
    let name = "itr";
    let golden_itr = golden(name);
    let (picture, text) = (image(&golden_itr), golden_itr["text"].as_str().unwrap());
    let blip2 = adapted(|base| Blip2Retrieval::builder(base), name, &golden_itr);
    let wanted = &golden_itr["adapted"];
    assert_near(
        name,
        blip2.match_probability(&picture, text).unwrap(),
        &wanted["match"],
    );
    assert_near(
        name,
        blip2.similarity(&picture, text).unwrap(),
        &wanted["similarity"],
    );

    let name = "blip1_itr";
    let golden = golden(name);
    let blip1 = adapted(|base| BlipRetrieval::builder(base), name, &golden);
    let wanted = &golden["adapted"];
    assert_near(
        name,
        blip1.match_probability(&picture, text).unwrap(),
        &wanted["match"],
    );
    assert_near(
        name,
        blip1.similarity(&picture, text).unwrap(),
        &wanted["similarity"],
    );
}

#[test]
fn adapters_stand_on_a_base_of_any_precision() {
    for (precision, tolerance) in [
        (Precision::Bf16, 0.2),
        (Precision::Int8, 0.3),
        (Precision::Int4, 2.0),
    ] {
        for name in ["opt_list", "opt_saved", "opt_dora", "t5_all"] {
            let golden = golden(name);
            let base = fixture(golden["base"].as_str().unwrap());
            let blip2 = Blip2Pipeline::builder(base)
                .adapter(fixture("peft").join(name))
                .precision(precision)
                .load()
                .unwrap();
            let text = golden["text"].as_str().unwrap();
            let answer = blip2
                .prompt_with(&image(&golden), text, &options())
                .unwrap();
            // The first token's probability alone: the rest may go another way.
            let found = f64::from(answer.tokens[0].log_prob);
            let wanted = golden["adapted"]["log_probs"][0].as_f64().unwrap();
            assert!(
                (found - wanted).abs() < tolerance,
                "{name} {precision}: {found}, {wanted}"
            );
        }
    }
}

#[test]
fn an_adapter_alone_finds_its_base_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter) = (folder.path().join("blip2_opt"), folder.path().join("mine"));
    copy_all(copy("blip2_opt").path(), &base);
    copy_all(&fixture("peft/opt_list"), &adapter);
    let golden = golden("opt_list");
    let blip2 = Blip2Pipeline::from_pretrained(&adapter).unwrap();
    let text = golden["text"].as_str().unwrap();
    let answer = blip2
        .prompt_with(&image(&golden), text, &options())
        .unwrap();
    assert_said("alone", &answer, &golden);

    fs::remove_dir_all(&base).unwrap();
    let error = Blip2Pipeline::from_pretrained(&adapter);
    assert_says(error, &["mine", "`blip2_opt`"]);
}

#[test]
fn what_is_looked_at_differs_only_where_the_adapter_touches_it() {
    let print = |adapter: Option<&str>| {
        let mut builder = Blip2Pipeline::builder(fixture("blip2_opt"));
        if let Some(adapter) = adapter {
            builder = builder.adapter(fixture("peft").join(adapter));
        }
        builder.load().unwrap().fingerprint().to_string()
    };
    // `opt_list` is in the language model alone, `opt_saved` in the image encoder too.
    assert_eq!(print(Some("opt_list")), print(None));
    assert_ne!(print(Some("opt_saved")), print(None));
}

#[test]
fn names_of_other_versions_are_found() {
    let golden = golden("opt_list");
    let folder = renamed("opt_list", |name| {
        name.replace("language_model.model.", "model.language_model.")
    });
    let blip2 = Blip2Pipeline::builder(fixture("blip2_opt")).adapter(folder.path());
    let text = golden["text"].as_str().unwrap();
    let answer = blip2
        .load()
        .unwrap()
        .prompt_with(&image(&golden), text, &options());
    assert_said("renamed", &answer.unwrap(), &golden);
}

#[test]
fn what_does_not_go_with_the_model_is_refused_by_name() {
    let load = |base: &str, adapter: &Path| {
        let builder = Blip2Pipeline::builder(fixture(base)).adapter(adapter);
        builder.load()
    };
    // Of another model.
    let refused = load("blip2_t5", &fixture("peft/opt_list"));
    assert_says(refused, &["opt_list", "self_attn", "matches nothing"]);
    // A layer that the base does not have.
    let folder = renamed("opt_list", |name| name.replace("layers.2.", "layers.7."));
    assert_says(
        load("blip2_opt", folder.path()),
        &["layers.7.", "matches nothing"],
    );
    // Something that is no layer.
    let folder = renamed("opt_list", |name| {
        name.replace("layers.2.self_attn.q_proj", "embed_tokens")
    });
    let error = load("blip2_opt", folder.path());
    assert_says(error, &["embed_tokens", "no linear layer"]);
    // Another rank than it says, and one that no file can hold.
    for rank in ["5", "1000000000000"] {
        let folder = configured("opt_list", "\"r\": 4", &format!("\"r\": {rank}"));
        let error = load("blip2_opt", folder.path());
        assert_says(error, &["lora_A", rank, "[4, 40]"]);
    }
    let folder = configured("opt_list", "\"LORA\"", "\"IA3\"");
    assert_says(
        load("blip2_opt", folder.path()),
        &["IA3", "merge_and_unload"],
    );
    // Nothing that can be read.
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("peft/opt_patterns"), folder.path());
    fs::write(folder.path().join("adapter_model.bin"), "x\n").unwrap();
    assert_says(load("blip2_opt", folder.path()), &["adapter_model.bin"]);
    fs::remove_file(folder.path().join("adapter_model.bin")).unwrap();
    assert_says(
        load("blip2_opt", folder.path()),
        &["adapter_model.safetensors"],
    );
    let absent = folder.path().join("absent");
    assert_says(load("blip2_opt", &absent), &["absent"]);
    let error = Adapter::open(&absent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// What a model says of a picture, to the bit.
fn said(blip2: &Blip2Pipeline) -> Vec<(u32, u32)> {
    let golden = golden("opt_list");
    let text = golden["text"].as_str().unwrap();
    let answer = blip2.prompt_with(&image(&golden), text, &options());
    let tokens = answer.unwrap().tokens.into_iter();
    tokens
        .map(|token| (token.id, token.log_prob.to_bits()))
        .collect()
}

#[test]
fn each_of_several_adapters_says_what_it_says_alone() {
    const NAMES: [&str; 4] = ["opt_list", "opt_patterns", "opt_saved", "opt_dora"];
    let base = || Blip2Pipeline::builder(fixture("blip2_opt"));
    for precision in [
        Precision::F32,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ] {
        let mut builder = base();
        for name in NAMES {
            builder = builder.named_adapter(name, fixture("peft").join(name));
        }
        let blip2 = builder.precision(precision).load().unwrap();
        assert_eq!(blip2.adapters().collect::<Vec<_>>(), NAMES);
        let plain = said(&base().precision(precision).load().unwrap());
        assert_eq!(said(&blip2), plain);
        for name in NAMES {
            let alone = base().adapter(fixture("peft").join(name));
            let alone = alone.precision(precision).load().unwrap();
            let own = blip2.with_adapter(name).unwrap();
            assert_eq!(own.active_adapter(), Some(name));
            assert_eq!(said(&own), said(&alone), "{name} {precision}");
            assert_eq!(own.fingerprint(), alone.fingerprint(), "{name} {precision}");
            assert_ne!(said(&own), plain, "{name} {precision}");
            // The one that is given alone can be put off, too.
            assert_eq!(alone.active_adapter(), Some("default"));
            for base in [alone.without_adapter(), own.without_adapter()] {
                assert_eq!(base.active_adapter(), None);
                assert_eq!(said(&base), plain, "{name} {precision}");
            }
        }
    }
}

#[test]
fn adapters_over_a_packed_file_and_a_draft_are_chosen_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("int8.safetensors");
    pack(fixture("blip2_opt"), Precision::Int8, &file).unwrap();
    for speculative in [false, true] {
        let builder = Blip2Pipeline::builder(&file).speculative(speculative);
        let both = builder
            .clone()
            .named_adapter("list", fixture("peft/opt_list"))
            .named_adapter("dora", fixture("peft/opt_dora"));
        let both = both.load().unwrap();
        for name in ["list", "dora"] {
            let alone = builder.clone().adapter(fixture(format!("peft/opt_{name}")));
            let own = both.with_adapter(name).unwrap();
            assert_eq!(said(&own), said(&alone.load().unwrap()), "{name}");
        }
        assert_eq!(said(&both), said(&builder.load().unwrap()));
    }
}

#[test]
fn members_that_compare_choose_among_adapters() {
    let golden = golden("itr");
    let (picture, text) = (image(&golden), golden["text"].as_str().unwrap());
    let base = fixture(golden["base"].as_str().unwrap());
    let builder = Blip2Retrieval::builder(base).named_adapter("mine", fixture("peft/itr"));
    let blip2 = builder.load().unwrap();
    let probability = |blip2: &Blip2Retrieval| blip2.match_probability(&picture, text).unwrap();
    let mine = blip2.with_adapter("mine").unwrap();
    assert_near("plain", probability(&blip2), &golden["plain"]["match"]);
    assert_near("mine", probability(&mine), &golden["adapted"]["match"]);
    assert_ne!(blip2.fingerprint(), mine.fingerprint());
}

#[test]
fn memory_is_predicted_for_all_adapters_together() {
    let weights = |names: &[&str]| {
        let mut builder = Blip2Pipeline::builder(fixture("blip2_opt")).precision(Precision::F32);
        for name in names {
            builder = builder.named_adapter(*name, fixture("peft").join(name));
        }
        let blip2 = builder.load().unwrap();
        blip2.memory().predict(&Workload::default()).weights
    };
    let size = |name: &str| Adapter::open(fixture("peft").join(name)).unwrap().size();
    let plain = weights(&[]);
    let (list, saved) = (size("opt_list"), size("opt_saved"));
    assert_eq!(weights(&["opt_list", "opt_saved"]), plain + list + saved);
    // What DoRA is merged into stands beside the model's own.
    let dora = Adapter::open(fixture("peft/opt_dora")).unwrap();
    let shapes = dora.layers().map(|layer| dora.shape(layer).unwrap());
    let merged: usize = shapes
        .map(|[outputs, inputs]| PackedFormat::F32.bytes(outputs, inputs))
        .sum();
    assert_eq!(weights(&["opt_dora"]), plain + dora.size() + merged as u64);
}

#[test]
fn names_of_adapters_are_each_one_of_their_own_and_a_wrong_one_is_told_what_there_is() {
    let base = || Blip2Pipeline::builder(fixture("blip2_opt"));
    let list = fixture("peft/opt_list");
    let blip2 = base().named_adapter("cats", &list).load().unwrap();
    let unknown = blip2.with_adapter("dogs");
    assert!(matches!(unknown, Err(Blip2Error::UnknownAdapter { .. })));
    assert_says(unknown, &["`dogs`", "there are: cats"]);
    let plain = base().load().unwrap();
    assert_says(plain.with_adapter("dogs"), &["`dogs`", "none was loaded"]);
    let twice = base().named_adapter("cats", &list);
    assert_says(
        twice.named_adapter("cats", &list).load(),
        &["`cats`", "two"],
    );
    assert_says(base().named_adapter(" ", &list).load(), &["empty"]);
    // One that does not go with the model is told before the model is read.
    let of_t5 = base().named_adapter("t5", fixture("peft/t5_all"));
    let read = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&read);
    let of_t5 = of_t5.progress(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
    });
    assert_says(of_t5.load(), &["t5_all", "matches nothing"]);
    assert_eq!(read.load(Ordering::Relaxed), 0);
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A copy of an adapter whose configuration says something else.
fn configured(name: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("peft").join(name), folder.path());
    let path = folder.path().join("adapter_config.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    folder
}

/// A copy of an adapter whose tensors have other names.
fn renamed(name: &str, rename: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("peft").join(name), folder.path());
    let path = folder.path().join("adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let all: Vec<_> = tensors
        .iter()
        .map(|(name, view)| (rename(name), view))
        .collect();
    fs::write(&path, safetensors::serialize(all, None).unwrap()).unwrap();
    folder
}
