//! `blip2 bench` from end to end, on the demonstration model; no test looks at a time.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("bench")
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = bench(&[&["--json", "--no-peaks", "--repeat", "2"], arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_stage_is_measured_as_often_as_asked() {
    let report = json(&[
        DEMO,
        "--threads",
        "1",
        "--prompt-tokens",
        "9",
        "--new-tokens",
        "5",
        "--batch",
        "3",
        "--beams",
        "2",
        "--lm-precision",
        "bf16",
    ]);
    assert_eq!(report["model"], "demo");
    assert_eq!(report["precision"]["vision"], "as-stored");
    assert_eq!(report["precision"]["language_model"], "bf16");
    for (key, value) in [
        ("threads", 1),
        ("batch", 3),
        ("beams", 2),
        ("prompt_tokens", 9),
        ("new_tokens", 5),
        ("image_size", 64),
    ] {
        assert_eq!(report[key], value, "{key}");
    }
    let stages = &report["stages"];
    assert_eq!(stages["load"]["runs"].as_array().unwrap().len(), 1);
    for stage in [
        "preprocess",
        "vision",
        "qformer",
        "prefill",
        "decode",
        "caption",
    ] {
        let runs = stages[stage]["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2, "{stage}");
        assert!(
            runs.iter().all(|run| run.as_f64().unwrap() > 0.0),
            "{stage}"
        );
    }
    for stage in ["vision", "qformer", "prefill"] {
        assert!(stages[stage]["gflops"].as_f64().unwrap() > 0.0, "{stage}");
        assert!(
            stages[stage]["of_peak"].is_null(),
            "the peaks were not asked for"
        );
    }
    assert_eq!(stages["caption"]["tokens"], 5);
    assert!(stages["decode"]["gb_per_second"].as_f64().unwrap() > 0.0);
    assert!(!report["machine"]["cpu"].as_str().unwrap().is_empty());
    assert!(report["machine"]["peaks"].is_null());
}

#[test]
fn a_single_token_needs_no_decoding_and_the_machine_has_limits() {
    let output = bench(&["--json", "--repeat", "1", "--new-tokens", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["model"], "demonstration");
    assert!(report["stages"]["decode"].is_null());
    let peaks = &report["machine"]["peaks"];
    assert!(peaks["f32_gflops"].as_f64().unwrap() > 0.5, "{peaks}");
    assert!(
        peaks["streaming_gb_per_second"].as_f64().unwrap() > 0.5,
        "{peaks}"
    );
    assert!(report["stages"]["vision"]["of_peak"].as_f64().unwrap() > 0.0);

    let text = bench(&["--no-peaks", "--repeat", "1"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for word in ["vision", "GFLOP/s", "tokens/s", "predicted", "cores"] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

/// The prediction from the configuration against what the system says the process held: of so small
/// a model, within a quarter. Models of some size are measured in `blip2-core`.
#[test]
#[cfg(target_os = "linux")]
fn peak_memory_is_as_predicted() {
    for arguments in [
        vec!["--image-size", "512", "--batch", "4"],
        vec!["--image-size", "640", "--batch", "2"],
        vec!["--image-size", "1024", "--beams", "2"],
        vec!["--batch", "256", "--beams", "4", "--prompt-tokens", "80"],
    ] {
        let report = json(&arguments);
        let bytes = |key: &str| report[key].as_f64().unwrap();
        let (measured, predicted) = (bytes("peak_memory_bytes"), bytes("predicted_peak_bytes"));
        let off = predicted / measured - 1.0;
        assert!(
            off.abs() < 0.25,
            "{arguments:?}: {measured} bytes, {predicted} predicted"
        );
        assert!(bytes("weights_bytes") < measured);
    }
}

#[test]
fn scaling_writes_points_and_plots() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plots");
    let output = bench(&[
        "--scaling",
        path.to_str().unwrap(),
        "--repeat",
        "1",
        "--new-tokens",
        "2",
        "--prompt-tokens",
        "4",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let points: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(path.join("points.json")).unwrap()).unwrap();
    let of = |axis: &'static str| points.iter().filter(move |point| point["axis"] == axis);
    for axis in ["batch", "prompt-tokens", "beams", "image-size", "threads"] {
        assert!(of(axis).next().is_some(), "{axis}");
        let svg = fs::read_to_string(path.join(format!("{axis}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("vision"), "{axis}");
    }
    let batches: Vec<_> = of("batch")
        .map(|point| point["value"].as_u64().unwrap())
        .collect();
    assert_eq!(batches, [1, 2, 4, 8]);
    // A prompt beyond the context is a point without figures, and says why.
    let long = of("prompt-tokens").next_back().unwrap();
    assert!(
        long["error"].as_str().unwrap().contains("context"),
        "{long}"
    );

    let csv = fs::read_to_string(path.join("points.csv")).unwrap();
    let measured = points
        .iter()
        .filter(|point| point["figures"].is_object())
        .count();
    assert_eq!(csv.lines().count(), 1 + measured);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, code, said) in [
        (vec!["--preset", "blip2-opt-2.8b"], 2, "blip2-opt-2.7b"),
        (
            vec![DEMO, "--preset", "blip2-opt-2.7b"],
            2,
            "cannot be used with",
        ),
        (vec!["--batch", "0"], 2, "above 0"),
        (vec!["--scaling", "x", "--json"], 2, "cannot be used with"),
        (vec!["no/folder"], 1, "no/folder"),
        (vec!["--prompt-tokens", "5000"], 1, "context"),
        (vec!["--image-size", "0"], 1, "size"),
        (vec!["--image-size", "9999999"], 1, "so large"),
    ] {
        let output = bench(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
