//! Every stage and generation case of small checkpoints against goldens made by `transformers`, on
//! every device of the build. `fixtures/make_fixtures.py` made them; `golden.json` says with which
//! versions.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use blip2_core::device_names;
use blip2_testing::fixture;
use blip2_verify::{Check, Outcome, VerifyOptions, verify};

/// Verifies a fixture on the CPU backends and, with the feature, on wgpu.
fn passes_everywhere(name: &str, at_least: usize) {
    for device in device_names() {
        // These need a GPU or a browser; `wgpu` runs on software drivers too.
        if ["vulkan", "metal", "webgpu", "cuda", "rocm"].contains(&device) {
            continue;
        }
        let options = VerifyOptions::on(device).unwrap();
        for report in verify(fixture(name), &options).unwrap() {
            assert!(report.passed(), "on {device}: {report}");
            assert!(
                report.checks.len() >= at_least,
                "on {device}, too few checks: {report}"
            );
        }
    }
}

#[test]
fn blip2_with_opt() {
    passes_everywhere("blip2_opt", 80);
}

#[test]
fn blip2_with_t5_and_its_own_head() {
    passes_everywhere("blip2_t5", 80);
}

#[test]
fn blip2_with_tied_t5() {
    passes_everywhere("blip2_t5_tied", 80);
}

#[test]
fn blip2_with_tied_ungated_t5() {
    passes_everywhere("blip2_t5_relu_tied", 80);
}

#[test]
fn features_of_each_part() {
    for name in ["blip2_model_opt", "blip2_model_t5"] {
        passes_everywhere(name, 6);
        let options = VerifyOptions::on("flex").unwrap();
        let report = verify(fixture(name), &options).unwrap().remove(0);
        assert_eq!(report.unchecked, [], "{report}");
    }
}

#[test]
fn retrieval_with_and_without_placeholders() {
    for name in ["blip2_itr", "blip2_itr_legacy"] {
        passes_everywhere(name, 23);
        let options = VerifyOptions::on("flex").unwrap();
        let report = verify(fixture(name), &options).unwrap().remove(0);
        assert_eq!(report.unchecked, [], "{report}");
    }
}

#[cfg(feature = "speech")]
#[test]
fn granite_speech_with_an_adapter_and_without() {
    for (name, at_least) in [
        ("granite_speech", 80),
        ("granite_speech_untied", 80),
        ("granite_speech_lora", 80),
        ("audio", 20),
    ] {
        passes_everywhere(name, at_least);
        let options = VerifyOptions::on("flex").unwrap();
        let report = verify(fixture(name), &options).unwrap().remove(0);
        assert_eq!(report.unchecked, [], "{report}");
    }
}

/// Every recorded text that is written without beams, with a draft ahead.
#[test]
fn texts_are_the_same_with_a_draft_ahead() {
    let options = VerifyOptions::on("flex").unwrap().with_speculative(true);
    for name in [
        "blip2_opt",
        "blip2_t5",
        "blip2_t5_tied",
        "blip2_t5_relu_tied",
        "instructblip_llama",
        "instructblip_t5",
        "instructblipvideo_llama",
        "instructblipvideo_t5",
        #[cfg(feature = "speech")]
        "granite_speech_lora",
    ] {
        let report = verify(fixture(name), &options).unwrap().remove(0);
        assert!(report.passed(), "{report}");
        let ahead = |check: &&Check| check.stage.ends_with(".speculative");
        let count = report.checks.iter().filter(ahead).count();
        assert!(count >= 2, "{name}: {count} checks with a draft ahead");
    }
}

#[test]
fn clips_tower() {
    passes_everywhere("clip_vision_plain", 6);
    passes_everywhere("clip_vision", 7);
}

#[test]
fn instructblip_with_t5() {
    passes_everywhere("instructblip_t5", 40);
}

#[test]
fn instructblip_with_llama() {
    passes_everywhere("instructblip_llama", 40);
}

#[test]
fn instructblip_video_with_t5() {
    passes_everywhere("instructblipvideo_t5", 40);
}

#[test]
fn instructblip_video_with_llama() {
    passes_everywhere("instructblipvideo_llama", 40);
}

#[test]
fn blip1_of_every_kind() {
    for (name, checks) in [("blip1_vqa", 16), ("blip1_caption", 16), ("blip1_itr", 10)] {
        passes_everywhere(name, checks);
        let options = VerifyOptions::on("flex").unwrap();
        let report = verify(fixture(name), &options).unwrap().remove(0);
        assert_eq!(report.unchecked, [], "{report}");
    }
}

#[test]
fn images() {
    let options = VerifyOptions::on("flex").unwrap();
    let reports = verify(fixture("images"), &options).unwrap();
    assert!(reports[0].passed(), "{}", reports[0]);
    assert!(reports[0].checks.len() >= 90, "{}", reports[0]);
}

#[test]
fn tokenizers() {
    let options = VerifyOptions::on("flex").unwrap();
    let reports = verify(fixture("tokenizers"), &options).unwrap();
    assert_eq!(reports.len(), 5);
    for report in reports {
        assert!(report.passed(), "{report}");
    }
}

/// One changed number in one tensor is found, and the stage that it belongs to is named.
#[test]
fn a_perturbed_tensor_fails_and_its_stage_is_named() {
    for (tensor, stage) in [
        (
            "vision_model.encoder.layers.1.mlp.fc1.weight",
            "vision.hidden.2",
        ),
        (
            "qformer.encoder.layer.2.output_query.dense.bias",
            "qformer.hidden.3",
        ),
        ("language_projection.weight", "language_projection"),
        (
            "language_model.model.decoder.layers.0.fc2.weight",
            "lm.hidden.1",
        ),
    ] {
        let folder = whole_copy("blip2_opt");
        let path = folder.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let start = json[tensor]["data_offsets"][0].as_u64().unwrap() as usize + 8 + header;
        bytes[start..start + 4].copy_from_slice(&3f32.to_le_bytes());
        fs::write(&path, bytes).unwrap();

        let report = verify(folder.path(), &VerifyOptions::on("flex").unwrap())
            .unwrap()
            .remove(0);
        assert!(!report.passed());
        assert_eq!(report.first_divergence().unwrap().stage, stage, "{report}");
    }
}

/// A fixture with its goldens.
fn whole_copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// Changes a fixture's `golden.json`, and says how the stage that reads it came out.
fn with_golden(name: &str, stage: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let folder = whole_copy(name);
    let path = folder.path().join("golden.json");
    let mut golden = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut golden);
    fs::write(&path, golden.to_string()).unwrap();
    let options = VerifyOptions::on("flex").unwrap();
    let report = verify(folder.path(), &options).unwrap().remove(0);
    let check = report.checks.iter().find(|check| check.stage == stage);
    match &check.unwrap().outcome {
        Outcome::Exact {
            difference: Some(difference),
        } => difference.clone(),
        Outcome::Failed { error } => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_spoilt_golden_is_told_where_it_parts_and_takes_no_time() {
    let said = with_golden("blip2_opt", "gen.greedy", |golden| {
        let ids = golden["gen"]["greedy"]["sequences"][1]
            .as_array_mut()
            .unwrap();
        let last = ids.len() - 1;
        ids[last] = 3.into();
    });
    assert!(said.starts_with("sequence 1 differs at id "), "{said}");
    assert!(said.ends_with("[3]") && said.len() < 200, "{said}");

    let said = with_golden("blip2_t5", "gen.greedy", |golden| {
        golden["gen"]["greedy"]["kwargs"]["max_new_tokens"] = 1_000_000.into();
    });
    assert!(said.contains("1000000 new tokens are more"), "{said}");

    // Scores are judged by the larger of 1e-3 and a ten-thousandth of their size.
    let beams = |by: f64| {
        move |golden: &mut serde_json::Value| {
            let score = &mut golden["gen"]["beam3"]["sequences_scores"][0];
            *score = (score.as_f64().unwrap() + by).into();
        }
    };
    let said = with_golden("blip2_opt", "gen.beam3", beams(0.01));
    assert!(said.starts_with("sequence 0 has the score"), "{said}");
}

/// Logits of a vocabulary that is not the model's.
#[test]
fn a_golden_of_another_shape_is_refused() {
    let folder = whole_copy("blip2_t5");
    let path = folder.path().join("golden.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text = String::from_utf8(bytes[8..8 + header].to_vec()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let shape = &json["gen.greedy.logits"]["shape"];
    let [count, steps, vocab] = [0, 1, 2].map(|axis| shape[axis].as_u64().unwrap());
    // As many numbers in another order, in a header of the same length.
    let (told, other) = (
        format!("[{count},{steps},{vocab}]"),
        format!("[{count},{vocab},{steps}]"),
    );
    let place = text.find("\"gen.greedy.logits\"").unwrap();
    let end = place + text[place..].find('}').unwrap();
    let entry = text[place..end].replace(&told, &other);
    assert_ne!(
        entry,
        text[place..end],
        "the header is written as it was thought to be"
    );
    let text = [&text[..place], &entry, &text[end..]].concat();
    bytes[8..8 + header].copy_from_slice(text.as_bytes());
    fs::write(&path, bytes).unwrap();
    let options = VerifyOptions::on("flex").unwrap();
    let report = verify(folder.path(), &options).unwrap().remove(0);
    assert!(!report.passed());
    let failed = report
        .checks
        .iter()
        .find(|check| check.stage == "gen.greedy.logits");
    assert!(!failed.unwrap().outcome.ran(), "{report}");
}

/// What is not compared is said, and only what is of another precision or a mere record.
#[test]
fn unchecked_goldens_are_named() {
    let options = VerifyOptions::on("flex").unwrap();
    let report = verify(fixture("blip2_t5"), &options).unwrap().remove(0);
    let keys: Vec<_> = report
        .unchecked
        .iter()
        .map(|unchecked| unchecked.key.as_str())
        .collect();
    // Without a bos token in its configuration the reference cannot generate without a prompt.
    assert_eq!(
        keys,
        ["bf16.logits", "f16.logits", "gen_no_prompt"],
        "{report}"
    );
}

#[test]
fn a_folder_without_goldens_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = verify(folder.path(), &VerifyOptions::on("flex").unwrap()).unwrap_err();
    assert!(error.to_string().contains("golden.json"), "{error}");
}

/// A narrower precision is further from the goldens, and is reported so.
#[test]
fn of_many_folders_one_that_cannot_be_read_fails_alone() {
    let parent = tempfile::tempdir().unwrap();
    let bad = parent.path().join("a");
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("golden.json"), "{\"checkpoint\": \"nowhere\"}").unwrap();
    let good = whole_copy("clip_vision");
    fs::rename(good.path(), parent.path().join("b")).unwrap();
    let options = VerifyOptions::on("flex").unwrap();
    let reports = verify(parent.path(), &options).unwrap();
    assert_eq!([reports[0].passed(), reports[1].passed()], [false, true]);
    let Outcome::Failed { error } = &reports[0].checks[0].outcome else {
        panic!("{}", reports[0]);
    };
    assert!(error.contains("nowhere"), "{error}");
    verify(&bad, &options).unwrap_err();
}

#[test]
fn another_precision_shows_in_the_distances() {
    let options = VerifyOptions::on("flex")
        .unwrap()
        .with_precision(blip2_core::Precision::Bf16);
    let report = verify(fixture("blip2_opt"), &options).unwrap().remove(0);
    assert!(report.rounds && report.passed(), "{report}");
    assert!(!report.checks.iter().all(|check| check.outcome.passed()));
    let distance = report.logits_distance().unwrap();
    assert!(distance > 1e-4 && distance < 0.2, "{distance}");
}

/// On a GPU, narrow weights are multiplied with activations in `f32`. So do the CPU's kernels with `f16`, and
/// `ndarray` with the integers' weights, which it widens: as far from the goldens as these is right.
#[test]
fn narrow_precisions_on_a_gpu() {
    use blip2_core::Precision::{F16, Int4, Int8};
    for name in ["blip2_opt", "blip2_t5", "instructblip_llama"] {
        for (precision, peer) in [(F16, "flex"), (Int8, "ndarray"), (Int4, "ndarray")] {
            if !["wgpu", peer]
                .iter()
                .all(|name| device_names().contains(name))
            {
                continue;
            }
            let [distance, of_peer] = ["wgpu", peer].map(|device| {
                let options = VerifyOptions::on(device).unwrap().with_precision(precision);
                let report = verify(fixture(name), &options).unwrap().remove(0);
                assert!(report.passed(), "{report}");
                report.logits_distance().unwrap()
            });
            println!("{name} {precision}: {distance:.4e} on wgpu, {of_peer:.4e} on {peer}");
            assert!(
                (distance - of_peer).abs() < 1e-3,
                "{name}, {precision}: {distance} from the goldens, {of_peer} on {peer}"
            );
        }
    }
}
