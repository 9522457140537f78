//! Adapters: those of PEFT here, ours there, over a base of 8 bits, merged; and states to go on from.
//! `make_peft.py` beside the fixtures made PEFT's, `open_with_peft.py` what PEFT makes of ours.

use std::{fs, path::Path};

use blip2_core::{
    Blip2Pipeline, CheckpointFolder, Precision, model::Blip2ForConditionalGeneration,
};
use blip2_io::Adapter;
use blip2_lm::{Keep, LanguageModel};
use blip2_testing::{copy, fixture, largest_difference, view::floats};
use blip2_train::{
    AdamW, Lora, LoraConfig, Progress, Trained, Training, merge,
    objective::{Batch, language_model_loss},
};
use burn::tensor::Tensor;
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

use crate::common::{batch, goldens, models};

type Model = Blip2ForConditionalGeneration;

fn training(model: &str) -> Training {
    Training::of(&CheckpointFolder::open(models().join(model)).unwrap()).unwrap()
}

fn loss(model: &Model, batch: &Batch) -> Tensor<1> {
    language_model_loss(model, batch, 0.0).unwrap()
}

/// The logits of a decoder-only model, plain.
fn logits(model: &Model, batch: &Batch) -> Vec<f32> {
    let embeds = model.encode_image(batch.pixel_values.clone()).unwrap();
    let features = model.query(embeds).unwrap();
    let (embeds, mask) = model.inputs_embeds(&features, &batch.rows).unwrap();
    let LanguageModel::Decoder(opt) = model.language_model() else {
        panic!("the model is of another kind")
    };
    let logits = opt.forward(embeds, &mask, Keep::NOTHING).unwrap().logits;
    logits.inner().into_data().try_into_vec().unwrap()
}

fn tensors(path: &Path) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let all = tensors.iter();
    let mut all: Vec<_> = all
        .map(|(name, view)| (name.to_string(), view.shape().to_vec(), floats(&view)))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Saves the model, which then gives the same logits as it does with its adapters apart.
fn saved_the_same(trained: &Trained<Model>, batch: &Batch) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    trained.save(folder.path()).unwrap();
    let merged = Training::of(&CheckpointFolder::open(folder.path()).unwrap()).unwrap();
    let merged = merged.bridge().load().unwrap().into_model();
    let apart = logits(trained.model(), batch);
    let (most, largest) = largest_difference(&logits(&merged, batch), &apart);
    assert!(
        most < 1e-4 * (largest / 10.0).max(1.0),
        "{most} of {largest}"
    );
    folder
}

fn steps(
    trained: &mut Trained<Model>,
    optimizer: &mut AdamW,
    batch: &Batch,
    count: usize,
) -> Vec<f32> {
    let mut losses = Vec::new();
    for _ in 0..count {
        let loss = loss(trained.model(), batch);
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = trained.gradients(loss).unwrap();
        optimizer
            .step(trained, gradients.clipped(1.0), 2e-3)
            .unwrap();
    }
    losses
}

#[test]
fn adapters_of_peft_give_its_numbers_and_are_written_as_it_does() {
    for model in ["blip2_opt", "blip2_t5"] {
        let folder = goldens("peft").join(model);
        let lora = Lora::load(&folder).unwrap();
        let trained = training(model).adapters(lora).load().unwrap();
        let batch = batch(model);
        let golden = tensors(&folder.join("golden.safetensors"));
        let found = loss(trained.model(), &batch).into_scalar::<f32>();
        assert!(
            (found - golden[1].2[0]).abs() < 1e-4 * golden[1].2[0],
            "{model}: {found}"
        );
        if model == "blip2_opt" {
            let (most, largest) =
                largest_difference(&logits(trained.model(), &batch), &golden[0].2);
            assert!(
                most < 1e-4 * (largest / 10.0).max(1.0),
                "{model}: {most} of {largest}"
            );
        }
        let written = tempfile::tempdir().unwrap();
        trained.save_lora(written.path()).unwrap();
        let file = "adapter_model.safetensors";
        assert_eq!(
            tensors(&written.path().join(file)),
            tensors(&folder.join(file)),
            "{model}"
        );
        let again = Lora::load(written.path()).unwrap();
        let mut theirs = Lora::load(&folder).unwrap().config().clone();
        let mut ours = again.config().clone();
        ours.target_modules.sort();
        theirs.target_modules.sort();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn what_peft_may_do_and_we_do_not_is_refused() {
    let folder = goldens("peft").join("blip2_opt");
    let copy = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(folder.join("adapter_config.json")).unwrap();
    fs::copy(
        folder.join("adapter_model.safetensors"),
        copy.path().join("adapter_model.safetensors"),
    )
    .unwrap();
    for (from, to) in [
        ("\"lora_bias\": false", "\"lora_bias\": true"),
        ("\"bias\": \"none\"", "\"bias\": \"all\""),
        ("\"LORA\"", "\"IA3\""),
    ] {
        assert!(config.contains(from), "{from}");
        fs::write(
            copy.path().join("adapter_config.json"),
            config.replace(from, to),
        )
        .unwrap();
        let error = Lora::load(copy.path()).unwrap_err().to_string();
        assert!(error.contains("not supported"), "{error}");
    }
    // Biases, which inference puts on.
    let error = Lora::load(fixture("peft").join("opt_saved")).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("not supported in training"), "{error}");
    // A rank that would take all memory.
    for (rank, named) in [
        (41, "q_proj"),
        (1_000_000_000, "r = "),
        (usize::MAX, "r = "),
    ] {
        let lora = LoraConfig::new(rank, ["q_proj"]);
        let refused = training("blip2_opt").lora(lora, 0);
        let refused = refused.and_then(|training| training.load());
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains(named) && error.contains(&rank.to_string()),
            "{error}"
        );
    }
    // Adapters of another model.
    let other = Lora::load(goldens("peft").join("blip2_t5")).unwrap();
    let error = training("blip2_opt")
        .adapters(other)
        .load()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("there is no layer `language_model.decoder.block"),
        "{error}"
    );
    let error = training("blip2_opt")
        .part("qformer.encodr")
        .load()
        .unwrap_err()
        .to_string();
    assert!(error.contains("`qformer.encodr`"), "{error}");
    assert!(error.contains("`qformer.encoder`"), "{error}");
}

/// What PEFT saved with lengths, or with ranks and scales by patterns, gives the logits here that its matrices
/// give merged, trains, and comes back.
#[test]
fn adapters_with_lengths_and_patterns_train_and_come_back() {
    let batch = batch("blip2_opt");
    for name in ["opt_dora", "opt_patterns"] {
        let saved = fixture("peft").join(name);
        let lora = Lora::load(&saved).unwrap();
        let mut trained = training("blip2_opt").adapters(lora).load().unwrap();
        let merged = Blip2Pipeline::builder(models().join("blip2_opt")).adapter(&saved);
        let merged = logits(merged.load().unwrap().model(), &batch);
        let (most, largest) = largest_difference(&logits(trained.model(), &batch), &merged);
        assert!(most < 1e-4 * largest, "{name}: {most} of {largest}");

        let losses = steps(&mut trained, &mut AdamW::default(), &batch, 5);
        assert!(losses[4] < losses[0], "{name}: {losses:?}");
        saved_the_same(&trained, &batch);
        let folder = tempfile::tempdir().unwrap();
        trained.save_lora(folder.path()).unwrap();
        let again = Lora::load(folder.path()).unwrap();
        let again = training("blip2_opt").adapters(again).load().unwrap();
        assert_eq!(
            logits(again.model(), &batch),
            logits(trained.model(), &batch),
            "{name}"
        );
    }
}

/// New adapters with lengths change nothing, and their lengths are trained.
#[test]
fn new_lengths_are_those_of_the_matrix_and_move() {
    let batch = batch("blip2_opt");
    let plain = training("blip2_opt").bridge().load().unwrap().into_model();
    for precision in [Precision::F32, Precision::Int8] {
        let lora = LoraConfig::new(4, ["q_proj", "v_proj"])
            .with_dora(true)
            .with_dropout(0.1);
        let training = training("blip2_opt")
            .precision(precision)
            .lora(lora, 3)
            .unwrap();
        let mut trained = training.load().unwrap();
        if precision == Precision::F32 {
            let (own, due) = (logits(trained.model(), &batch), logits(&plain, &batch));
            let (most, largest) = largest_difference(&own, &due);
            assert!(most < 1e-4 * largest, "{most} of {largest}");
        }
        let lengths = |trained: &Trained<Model>| {
            let values = trained.values();
            let own = values
                .iter()
                .filter(|(name, _)| name.ends_with("lora_magnitude_vector"));
            own.map(|(_, data)| data.try_to_vec::<f32>().unwrap())
                .collect::<Vec<_>>()
        };
        let before = lengths(&trained);
        steps(&mut trained, &mut AdamW::default(), &batch, 3);
        let after = lengths(&trained);
        assert!(!before.is_empty() && before != after);
    }
}

/// A regular expression, and blocks by their numbers, choose layers.
#[test]
fn layers_are_chosen_by_expressions_and_blocks() {
    let expression = r".*decoder\.layers\.\d+\..*(q|v)_proj";
    let lora = LoraConfig::new(2, [expression]).with_layers_to_transform([0]);
    let trained = training("blip2_opt").lora(lora, 0).unwrap().load().unwrap();
    let layers = trained.parameters().filter(|named| named.is_lora()).count() / 2;
    assert_eq!(layers, 2);
    let lora = LoraConfig::new(2, [r".*no_such_(a|b)"]);
    let refused = training("blip2_opt").lora(lora, 0).unwrap().load();
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("no linear layer is called"), "{error}");
}

/// The configuration that is written of adapters, as JSON.
fn written(trained: &Trained<Model>) -> Value {
    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    let text = fs::read(folder.path().join("adapter_config.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// What PEFT is told is of the layers whose tensors are beside it: blocks, and layers left out, stay.
#[test]
fn adapters_of_some_blocks_are_written_as_they_began() {
    let lora = LoraConfig::new(2, ["q_proj", "v_proj"])
        .with_alpha(6.0)
        .with_rslora(true)
        .with_rank_pattern([("v_proj".into(), 1)])
        .with_alpha_pattern([("q_proj".into(), 3.0)])
        .with_layers_to_transform([1]);
    let trained = training("blip2_opt").lora(lora, 0).unwrap().load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    let path = folder.path().join("adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(config["target_modules"], json!(["q_proj", "v_proj"]));
    assert_eq!(config["layers_to_transform"], json!([1]));

    // As PEFT writes it, in each of its forms.
    config["layers_pattern"] = json!("layers");
    config["exclude_modules"] = json!("vision_model.*");
    for (blocks, patterns) in [(json!(1), json!("layers")), (json!([1]), json!(["layers"]))] {
        config["layers_to_transform"] = blocks;
        config["layers_pattern"] = patterns;
        fs::write(&path, config.to_string()).unwrap();
        let lora = Lora::load(folder.path()).unwrap();
        let again = training("blip2_opt").adapters(lora).load().unwrap();
        let mut due = config.clone();
        due["layers_to_transform"] = json!([1]);
        due["layers_pattern"] = json!(["layers"]);
        assert_eq!(written(&again), due);
    }

    // What says more than the tensors are is made to say as much.
    config["layers_to_transform"] = Value::Null;
    config["layers_pattern"] = Value::Null;
    fs::write(&path, config.to_string()).unwrap();
    let lora = Lora::load(folder.path()).unwrap();
    let again = training("blip2_opt").adapters(lora).load().unwrap();
    let layer = |name: &str| format!("language_model.model.decoder.layers.1.self_attn.{name}");
    let own = written(&again);
    assert_eq!(
        own["target_modules"],
        json!([layer("q_proj"), layer("v_proj")])
    );
    for key in [
        "rank_pattern",
        "alpha_pattern",
        "use_rslora",
        "r",
        "lora_alpha",
    ] {
        assert_eq!(own[key], config[key], "{key}");
    }
}

/// An adapter with a module of another model's shape is told by its name.
#[test]
fn adapters_of_another_model_are_named() {
    let lora = LoraConfig::new(2, ["q_proj"]);
    let trained = training("blip2_opt").lora(lora, 0).unwrap();
    let trained = trained.part("language_projection").load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    for part in [None, Some("language_projection")] {
        let lora = Lora::load(folder.path()).unwrap();
        let other = training("blip2_t5").adapters(lora);
        let other = match part {
            Some(part) => other.part(part),
            None => other,
        };
        let error = other.load().unwrap_err().to_string();
        assert!(error.contains("made for another model"), "{error}");
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
    }
}

/// A head that is the table of tokens is no layer, and a misspelt name is not what is wrong with it.
#[test]
fn a_head_that_is_the_table_is_told() {
    for (target, precision) in [
        ("lm_head", Precision::F32),
        ("lm_head", Precision::Int8),
        ("language_model.lm_head", Precision::F32),
    ] {
        let lora = LoraConfig::new(2, [target, "q_proj"]);
        let training = training("blip2_opt").precision(precision);
        let refused = training.lora(lora, 0).unwrap().load();
        let error = refused.unwrap_err().to_string();
        for part in [target, "table of tokens", TABLE] {
            assert!(error.contains(part), "{error}");
        }
    }
}

/// A pattern that matches nothing is an error, even if all others match: less would be trained than
/// was meant.
#[test]
fn patterns_match_whole_parts_of_names_or_are_refused() {
    let count = |part: &str| {
        let trained = training("blip2_opt").part(part).load().unwrap();
        trained.parameters().count()
    };
    // A part from its beginning, and biases and layers wherever they are.
    assert!(count("qformer.encoder.layer.1") < count("qformer"));
    assert!(count("q_proj.bias") < count("language_model"));

    let refused = |training: Training| training.load().unwrap_err().to_string();
    let both = training("blip2_opt").part("qformer").part("qform");
    let error = refused(both);
    assert!(error.contains("no parameter is called `qform`"), "{error}");
    assert!(error.contains("`qformer`"), "{error}");
    for (target, nearest) in [("q_porj", "`q_proj`"), ("proj", "`q_proj`")] {
        let lora = LoraConfig::new(2, ["q_proj", target]);
        let error = refused(training("blip2_opt").lora(lora, 0).unwrap());
        assert!(
            error.contains(&format!("no linear layer is called `{target}`")),
            "{error}"
        );
        assert!(error.contains(nearest), "{error}");
    }
    // Of the optimizer's groups too.
    let batch = batch("blip2_opt");
    let mut trained = training("blip2_opt").part("qformer").load().unwrap();
    let gradients = trained.gradients(loss(trained.model(), &batch)).unwrap();
    for optimizer in [
        AdamW::default().with_no_decay(["qformer.layernorm", "query_token"]),
        AdamW::default().with_rate("q_former", 0.1),
    ] {
        let mut optimizer = optimizer;
        let error = optimizer
            .step(&mut trained, gradients.clone(), 1e-3)
            .unwrap_err();
        assert!(
            error.to_string().contains("no trained parameter"),
            "{error}"
        );
    }
}

/// What adapters of a whole part are for is told to PEFT layer by layer.
#[test]
fn adapters_of_a_part_are_named_as_peft_names_them() {
    let lora = LoraConfig::new(2, ["qformer", "v_proj"]);
    let trained = training("blip2_opt").lora(lora, 0).unwrap().load().unwrap();
    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    let saved = Lora::load(folder.path()).unwrap();
    let targets = &saved.config().target_modules;
    assert_eq!(targets[0].as_str(), "v_proj");
    let layers = trained.parameters().filter(|named| named.is_lora()).count() / 2;
    let of_the_part = targets[1..].iter();
    assert!(
        of_the_part
            .clone()
            .all(|target| target.as_str().starts_with("qformer.encoder."))
    );
    assert!(of_the_part.count() > 8 && layers > targets.len());
    training("blip2_opt").adapters(saved).load().unwrap();
}

#[test]
fn adapters_train_over_packed_weights_and_come_back_the_same() {
    let batch = batch("blip2_opt");
    for precision in [
        Precision::F32,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ] {
        let lora = LoraConfig::new(4, ["q_proj", "k_proj", "v_proj"]).with_alpha(8.0);
        let training = || training("blip2_opt").precision(precision);
        let mut trained = training().lora(lora, 7).unwrap().load().unwrap();
        let before = logits(trained.model(), &batch);
        let losses = steps(&mut trained, &mut AdamW::default(), &batch, 6);
        assert!(losses[5] < losses[0] - 0.1, "{precision}: {losses:?}");
        let after = logits(trained.model(), &batch);
        assert!(largest_difference(&before, &after).0 > 1e-2);

        let folder = tempfile::tempdir().unwrap();
        trained.save_lora(folder.path()).unwrap();
        let again = training()
            .adapters(Lora::load(folder.path()).unwrap())
            .load()
            .unwrap();
        assert_eq!(logits(again.model(), &batch), after, "{precision}");
        // Without gradients, by the kernels for inference, whose attention rounds its operands to
        // brain floats where the layers' matrices do (`Rounding::Bf16`).
        let tolerance = match precision {
            Precision::F32 => 1e-4,
            _ => 2e-3,
        };
        let plain = logits(&again.into_model(), &batch);
        let (most, largest) = largest_difference(&plain, &after);
        assert!(
            most < tolerance * largest,
            "{precision}: {most} of {largest}"
        );
    }
}

/// Matrices, heads, and tables that are looked up alone: what is trained begins with the numbers of the base, and
/// is saved as a state is.
#[test]
fn what_is_trained_is_so_in_full_precision_whatever_the_rest_is_held_in() {
    for model in ["blip2_opt", "blip2_t5"] {
        let load = |precision| {
            let part = training(model).precision(precision).part("language_model");
            part.load().unwrap()
        };
        let plain = load(Precision::F32).values();
        assert!(
            plain
                .keys()
                .any(|name| name.contains("embed") || name.contains("shared"))
        );
        for precision in [
            Precision::Bf16,
            Precision::F16,
            Precision::Int8,
            Precision::Int4,
        ] {
            let trained = load(precision);
            let values = trained.values();
            assert!(values.keys().eq(plain.keys()), "{model}, {precision}");
            for (name, value) in &values {
                assert!(*value == plain[name], "{model}, {precision}: {name}");
            }
            let folder = tempfile::tempdir().unwrap();
            let progress = Progress::new(0, &Value::Null).unwrap();
            let optimizer = AdamW::default();
            trained
                .save_state(&optimizer, &progress, folder.path())
                .unwrap();
        }
    }
}

#[test]
fn merged_adapters_give_the_same_numbers() {
    let batch = batch("blip2_opt");
    let lora = LoraConfig::new(
        4,
        [
            "q_proj",
            "fc1",
            "qformer.encoder.layer.0.attention.attention.query",
        ],
    );
    let mut trained = training("blip2_opt").lora(lora, 3).unwrap().load().unwrap();
    steps(&mut trained, &mut AdamW::default(), &batch, 4);
    let folder = saved_the_same(&trained, &batch);
    // What was not trained is as it was, to the bit.
    let of = |path: &Path| tensors(&path.join("model.safetensors"));
    let (old, new) = (of(&models().join("blip2_opt")), of(folder.path()));
    let changed: Vec<_> = old
        .iter()
        .zip(&new)
        .filter(|(a, b)| a != b)
        .map(|(a, _)| &a.0)
        .collect();
    assert_eq!(old.len(), new.len());
    assert!(
        changed.iter().all(|name| {
            name.contains("q_proj")
                || name.contains("fc1")
                || name.contains("layer.0.attention.attention.query")
        }),
        "{changed:?}"
    );
    assert!(!changed.is_empty());
}

/// What is trained whole beside adapters goes with them, and a training goes on from both.
#[test]
fn parts_trained_beside_adapters_are_saved_with_them() {
    let batch = batch("blip2_opt");
    let bridge = |lora: Lora| training("blip2_opt").bridge().adapters(lora);
    let lora = Lora::fresh(LoraConfig::new(4, ["q_proj", "v_proj"]), 3).unwrap();
    let mut trained = bridge(lora).load().unwrap();
    let before = logits(trained.model(), &batch);
    steps(&mut trained, &mut AdamW::default(), &batch, 4);
    let after = logits(trained.model(), &batch);
    assert!(largest_difference(&before, &after).0 > 1e-2);
    assert!(trained.beyond_peft().eq(["query_tokens"]));

    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    let config = fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["modules_to_save"],
        json!(["language_projection", "qformer"])
    );

    let saved = || Lora::load(folder.path()).unwrap();
    let again = bridge(saved()).load().unwrap();
    assert_eq!(logits(again.model(), &batch), after);
    let refused = training("blip2_opt").part("qformer").adapters(saved());
    let error = refused.load().unwrap_err().to_string();
    assert!(error.contains("name it in the parts"), "{error}");

    let blip2 = Blip2Pipeline::builder(models().join("blip2_opt")).adapter(folder.path());
    let found = logits(blip2.load().unwrap().model(), &batch);
    let (most, largest) = largest_difference(&found, &after);
    assert!(most < 1e-4 * largest, "{most} of {largest}");
}

/// The model's table of tokens, which is its head.
const TABLE: &str = "language_model.model.decoder.embed_tokens";

/// A table that is the head is trained as both, of which PEFT makes two modules.
#[test]
fn a_table_trained_as_the_head_is_saved_as_both() {
    let batch = batch("blip2_opt");
    let with_table = |lora: Lora| training("blip2_opt").part(TABLE).adapters(lora);
    let lora = Lora::fresh(LoraConfig::new(4, ["q_proj"]), 3).unwrap();
    let mut trained = with_table(lora).load().unwrap();
    steps(&mut trained, &mut AdamW::default(), &batch, 4);
    let after = logits(trained.model(), &batch);
    assert_eq!(trained.beyond_peft().count(), 0);

    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    let config = fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["modules_to_save"],
        json!(["language_model.lm_head", TABLE])
    );
    let again = with_table(Lora::load(folder.path()).unwrap())
        .load()
        .unwrap();
    assert_eq!(logits(again.model(), &batch), after);

    let base = CheckpointFolder::open(models().join("blip2_opt")).unwrap();
    let merged = tempfile::tempdir().unwrap();
    let adapter = Adapter::open(folder.path()).unwrap();
    merge(&base, &adapter, merged.path().join("model")).unwrap();
    let beside = Blip2Pipeline::builder(models().join("blip2_opt")).adapter(folder.path());
    for builder in [beside, Blip2Pipeline::builder(merged.path().join("model"))] {
        let found = logits(builder.load().unwrap().model(), &batch);
        let (most, largest) = largest_difference(&found, &after);
        assert!(most < 1e-4 * largest, "{most} of {largest}");
    }
}

/// A copy of a table beside it is not left with the old numbers, and a head of its own stays.
#[test]
fn copies_of_a_trained_table_are_not_left_behind() {
    const HEAD: &str = "language_model.lm_head.weight";
    let batch = batch("blip2_opt");
    for own in [false, true] {
        let base = copy("blip2_opt");
        let path = base.path().join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let held = SafeTensors::deserialize(&bytes).unwrap();
        let table = held.tensor(&format!("{TABLE}.weight")).unwrap();
        let mut numbers = table.data().to_vec();
        if own {
            numbers[3] ^= 0x80; // the first one's sign
        }
        let head = TensorView::new(table.dtype(), table.shape().to_vec(), &numbers).unwrap();
        let all = held.tensors().into_iter();
        let all = all.chain([(HEAD.to_string(), head)]);
        let written = safetensors::serialize(all, None).unwrap();
        fs::write(&path, written).unwrap();

        let training = Training::of(&CheckpointFolder::open(base.path()).unwrap()).unwrap();
        let mut trained = training.part(TABLE).load().unwrap();
        steps(&mut trained, &mut AdamW::default(), &batch, 2);
        let folder = saved_the_same(&trained, &batch);
        let saved = tensors(&folder.path().join("model.safetensors"));
        assert_eq!(saved.iter().any(|(name, ..)| name == HEAD), own);
    }
}

/// A layer may be trained and have an adapter: both are in what is written.
#[test]
fn adapters_of_trained_layers_are_merged_too() {
    let batch = batch("blip2_opt");
    let lora = LoraConfig::new(4, ["query", "value"]);
    let training_of_both = training("blip2_opt").bridge().lora(lora, 3).unwrap();
    let mut trained = training_of_both.load().unwrap();
    steps(&mut trained, &mut AdamW::default(), &batch, 4);
    saved_the_same(&trained, &batch);
}

#[test]
fn a_state_goes_on_as_if_nothing_had_happened() {
    let batch = batch("blip2_opt");
    let load = || training("blip2_opt").bridge().load().unwrap();
    let (mut whole, mut optimizer) = (load(), AdamW::default());
    let losses = steps(&mut whole, &mut optimizer, &batch, 6);

    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut optimizer) = (load(), AdamW::default());
    assert_eq!(first.resume(&mut optimizer, folder.path()).unwrap(), None);
    steps(&mut first, &mut optimizer, &batch, 3);
    let progress = Progress::new(3, &"notes").unwrap();
    first
        .save_state(&optimizer, &progress, folder.path())
        .unwrap();
    // What a process left that was killed in writing.
    fs::create_dir(folder.path().join("writing-1")).unwrap();

    let (mut second, mut optimizer) = (load(), AdamW::default());
    let found = second
        .resume(&mut optimizer, folder.path())
        .unwrap()
        .unwrap();
    assert_eq!((found.step, found.notes), (progress.step, progress.notes));
    assert_eq!(steps(&mut second, &mut optimizer, &batch, 3), losses[3..]);

    // Another training's state is refused, and old states go.
    let mut other = training("blip2_opt")
        .part("query_tokens")
        .part("language_model")
        .load()
        .unwrap();
    let error = other
        .resume(&mut AdamW::default(), folder.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("another training"), "{error}");
    for step in 4..7 {
        let progress = Progress::new(step, &()).unwrap();
        second
            .save_state(&optimizer, &progress, folder.path())
            .unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["step-000000005", "step-000000006"]);
}

/// New adapters with lengths of their own for rows, as `open_with_peft.py` has them trained: alone, or with ranks
/// by patterns and beside a module that is trained whole.
fn new_lengths(beside_others: bool) -> Trained<Model> {
    let lora = LoraConfig::new(4, ["q_proj", "v_proj"])
        .with_alpha(8.0)
        .with_dora(true);
    let lora = match beside_others {
        true => lora
            .with_rslora(true)
            .with_rank_pattern([("v_proj".into(), 2)]),
        false => lora,
    };
    let training = training("blip2_opt").lora(lora, 3).unwrap();
    let training = match beside_others {
        true => training.part("language_projection"),
        false => training,
    };
    training.load().unwrap()
}

/// PEFT 0.21 opened what was trained here and gave these logits; what is written now has the same form.
#[test]
fn peft_opens_adapters_with_lengths_that_were_trained_here() {
    let batch = batch("blip2_opt");
    for (name, beside_others) in [("opt_dora", false), ("opt_dora_and_projection", true)] {
        let folder = goldens("trained").join(name);
        let (_, shape, golden) = tensors(&folder.join("golden.safetensors")).remove(0);
        let [rows, last, vocab] = shape[..] else {
            panic!("{shape:?}")
        };
        let near = |found: &[f32]| {
            let each = found.len() / rows;
            let ends = found
                .chunks(each)
                .flat_map(|row| &row[each - last * vocab..]);
            let ends: Vec<f32> = ends.copied().collect();
            let (most, largest) = largest_difference(&ends, &golden);
            assert!(most < 1e-4 * largest, "{name}: {most} of {largest}");
        };
        let lora = Lora::load(&folder).unwrap();
        let again = training("blip2_opt").adapters(lora);
        let again = match beside_others {
            true => again.part("language_projection"),
            false => again,
        };
        near(&logits(again.load().unwrap().model(), &batch));
        let merged = Blip2Pipeline::builder(models().join("blip2_opt")).adapter(&folder);
        near(&logits(merged.load().unwrap().model(), &batch));

        let written = tempfile::tempdir().unwrap();
        let mut trained = new_lengths(beside_others);
        steps(&mut trained, &mut AdamW::default(), &batch, 1);
        trained.save_lora(written.path()).unwrap();
        let shapes = |folder: &Path| -> Vec<(String, Vec<usize>)> {
            let all = tensors(&folder.join("adapter_model.safetensors")).into_iter();
            all.map(|(name, shape, _)| (name, shape)).collect()
        };
        assert_eq!(shapes(written.path()), shapes(&folder), "{name}");
        let config = |folder: &Path| -> Value {
            let text = fs::read(folder.join("adapter_config.json")).unwrap();
            let mut config: Value = serde_json::from_slice(&text).unwrap();
            config["base_model_name_or_path"] = Value::Null;
            config
        };
        assert_eq!(config(written.path()), config(&folder), "{name}");
    }
}
