//! The first steps of trainings against goldens made by `transformers` and PyTorch's AdamW, on every
//! device of the build: losses, gradients, norms and parameters, of BLIP-2, InstructBLIP on videos and BLIP-1.
//! `train_ref.py`, `train_ref_video.py` and `train_ref_blip1.py` beside the fixtures made them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use blip2_core::device_names;
use blip2_testing::fixture;
use blip2_verify::{VerifyOptions, verify};

/// On every device of the build.
fn follows(name: &str) {
    let mut seen = false;
    for device in device_names() {
        // These need a GPU or a browser; `wgpu` runs on software drivers too.
        if ["vulkan", "metal", "webgpu", "cuda", "rocm"].contains(&device) {
            continue;
        }
        let options = VerifyOptions::on(device).unwrap();
        for report in verify(fixture("train").join(name), &options).unwrap() {
            assert!(report.passed(), "on {device}: {report}");
            assert_eq!(report.unchecked, [], "on {device}: {report}");
            let stages = |prefix: &str| {
                let checks = report.checks.iter();
                checks
                    .filter(|check| check.stage.starts_with(prefix))
                    .count()
            };
            assert_eq!((stages("loss."), stages("grad_norm.")), (6, 5), "{report}");
            assert!(stages("grad0.") > 3 && stages("final.") > 3, "{report}");
            seen = true;
        }
    }
    assert!(seen);
}

#[test]
fn blip1_that_answers_with_adapters() {
    follows("blip1_vqa__lora_qk");
}

#[test]
fn blip1_that_answers_by_its_text_models() {
    follows("blip1_vqa__text");
}

#[test]
fn blip1_that_describes_with_adapters() {
    follows("blip1_caption__lora_qk");
}

#[test]
fn blip1_that_describes_with_smoothed_labels() {
    follows("blip1_caption__text_smooth");
}

#[test]
fn blip2_with_opt_and_adapters_and_the_bridge() {
    follows("blip2_opt__lora_qk_plus_qformer");
}

#[test]
fn blip2_with_t5_and_adapters_and_the_bridge() {
    follows("blip2_t5__lora_qk_plus_qformer");
}

#[test]
fn instructblip_of_videos_with_t5_and_the_bridge() {
    follows("instructblipvideo_t5__qformer_proj");
}

#[test]
fn instructblip_of_videos_with_llama_and_adapters() {
    follows("instructblipvideo_llama__lora_qk");
}

/// A certificate that could not fail would say nothing.
#[test]
fn another_course_diverges() {
    let here = tempfile::tempdir().unwrap();
    let golden = here.path().join("train/golden");
    fs::create_dir_all(&golden).unwrap();
    let model = here.path().join("blip1_vqa");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(fixture("blip1_vqa")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let from = fixture("train/blip1_vqa__lora_qk");
    fs::copy(
        from.join("golden.safetensors"),
        golden.join("golden.safetensors"),
    )
    .unwrap();
    let text = fs::read_to_string(from.join("golden.json")).unwrap();
    let diverges = |text: &str| {
        fs::write(golden.join("golden.json"), text).unwrap();
        let options = VerifyOptions::on("flex").unwrap();
        let report = verify(&golden, &options).unwrap().remove(0);
        report.first_divergence().map(|check| check.stage.clone())
    };
    assert_eq!(diverges(&text), None);
    let slower = text.replace("\"lr\": 0.002", "\"lr\": 0.001");
    assert_eq!(diverges(&slower).as_deref(), Some("loss.1"));
    let smoothed = text.replace("\"label_smoothing\": 0.0", "\"label_smoothing\": 0.1");
    assert_eq!(diverges(&smoothed).as_deref(), Some("loss.0"));
}
