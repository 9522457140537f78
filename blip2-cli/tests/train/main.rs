//! `blip2 train` and `blip2 eval`, from the file to the folders; killed, and going on.

#![allow(clippy::unwrap_used, clippy::panic)]

mod blank;
mod blip1;
mod breaks;
mod checked;
mod goes_on;
mod helpers;
mod kept;
mod layouts;
mod lost;
#[cfg(all(feature = "mpi", target_os = "linux"))]
mod machines;
#[cfg(feature = "mpi")]
mod mpi;
mod outputs;
mod scored;
mod videos;

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use helpers::{RECIPE, blip2, config, data, errors, losses, model, run, text};

/// The name of the newest state.
fn newest(states: &Path) -> Option<OsString> {
    let entries = fs::read_dir(states).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("step-"))
        .max()
}

#[test]
fn killed_at_any_moment_it_goes_on_along_the_same_curve() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let whole = config(folder.path(), "whole", RECIPE);
    let output = run(&["train", whole.to_str().unwrap()]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(errors(&output).contains("left out"), "{}", errors(&output));
    let expected = losses(&folder.path().join("whole"));
    assert_eq!(expected.len(), 30);
    assert!(expected[29].1 < expected[0].1);

    let killed = config(folder.path(), "killed", RECIPE);
    let states = folder.path().join("killed/states");
    let mut kills = 0;
    for milliseconds in [0, 60, 170, 280] {
        let before = newest(&states);
        let mut child = blip2()
            .arg("train")
            .arg(&killed)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From when there is another state to be spoilt.
        let started = Instant::now();
        while newest(&states) == before
            && child.try_wait().unwrap().is_none()
            && started.elapsed() < Duration::from_secs(60)
        {
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(Duration::from_millis(milliseconds));
        kills += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(kills > 0, "the training was always faster than its end");
    let output = run(&["train", killed.to_str().unwrap()]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(
        errors(&output).contains("going on after"),
        "{}",
        errors(&output)
    );
    assert_eq!(losses(&folder.path().join("killed")), expected);
    for file in ["model/model.safetensors", "states/metrics.csv", "curve.svg"] {
        assert!(folder.path().join("killed").join(file).exists(), "{file}");
    }
    let weights =
        |out: &str| fs::read(folder.path().join(out).join("model/model.safetensors")).unwrap();
    assert!(weights("whole") == weights("killed"));
}

#[test]
fn adapters_over_8_bits_are_written_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let more = "[train]
precision = \"int8\"
[lora]
rank = 8
alpha = 16
targets = [\"q_proj\", \"v_proj\", \"query\", \"value\", \"fc1\", \"fc2\"]
[recipe]
steps = 60
batch = 8
lr = 3e-3
warmup = 5
";
    let path = config(folder.path(), "lora", more);
    let path = path.to_str().unwrap();
    let dry = run(&["train", path, "--dry-run"]);
    assert!(dry.status.success(), "{}", errors(&dry));
    for part in ["(adapters)", "a step "] {
        assert!(errors(&dry).contains(part), "{}", errors(&dry));
    }
    let told = errors(&dry).contains("GB at the most");
    assert_eq!(told, cfg!(target_os = "linux"), "{}", errors(&dry));
    assert!(!folder.path().join("lora").exists());

    let output = run(&["train", path]);
    assert!(output.status.success(), "{}", errors(&output));
    let out = folder.path().join("lora");
    assert!(out.join("adapter/adapter_model.safetensors").exists());
    let answers = folder.path().join("answers.jsonl");
    let merged = out.join("model");
    let eval = |model: &Path| {
        let arguments = [
            "eval",
            path,
            "--model",
            model.to_str().unwrap(),
            "--answers",
            answers.to_str().unwrap(),
        ];
        let output = run(&arguments);
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = eval(&merged);
    assert!(
        text.starts_with("exact match 1.0000 of 8 examples"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&answers).unwrap().lines().count(), 8);
    assert!(!eval(&model()).starts_with("exact match 1.0000"));
}

/// A model of retrieval, trained on captions and evaluated by how pictures and texts find each other.
#[test]
fn the_first_stage_is_trained_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let captions = fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
    let captions = captions.replace(
        "\"question\": \"what color is this?\", \"answer\"",
        "\"caption\"",
    );
    fs::write(folder.path().join("train.jsonl"), captions).unwrap();
    let model = blip2_testing::fixture("blip2_itr");
    let write = |objective: &str, score: &str| {
        let recipe = RECIPE
            .replace("language_projection", "vision_model\", \"embeddings")
            .replace("[train]", &format!("[train]\nobjective = \"{objective}\""));
        let path = config(folder.path(), "seeing", &recipe);
        let found = fs::read_to_string(&path).unwrap();
        let found = found
            .replace(text(&helpers::model()), text(&model))
            .replace("exact-match", score);
        fs::write(&path, found).unwrap();
        path
    };
    let path = write("first-stage", "recall@1\"\nscores = [\"recall@5\"] #\"");
    let output = run(&["train", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", errors(&output));
    let lines = fs::read_to_string(folder.path().join("seeing/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    for part in ["itc", "itm", "itg"] {
        assert!(
            last[part].as_f64().is_some() || last["parts"][part].as_f64().is_some(),
            "{last}"
        );
    }

    let scores = fs::read_to_string(folder.path().join("seeing/scores.jsonl")).unwrap();
    for score in scores.lines() {
        let score: Value = serde_json::from_str(score).unwrap();
        assert!(score["loss"].as_f64().is_some(), "{score}");
    }
    assert!(errors(&output).contains("validation loss "));

    let trained = folder.path().join("seeing/model");
    let eval = [
        "eval",
        path.to_str().unwrap(),
        "--model",
        trained.to_str().unwrap(),
    ];
    let output = run(&eval);
    assert!(output.status.success(), "{}", errors(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("recall@1 of pictures "), "{said}");
    assert!(said.contains("recall@5 of pictures 1."), "{said}");
    assert!(said.contains("left out 1 record"), "{said}");
    let output = run(&[&eval[..], &["--answers", "x.jsonl"]].concat());
    assert_eq!(output.status.code(), Some(2));

    for (objective, score, part) in [
        ("first-stage", "vqa", "recall@1"),
        (
            "first-stage",
            "recall@1\"\nscores = [\"vqa\"] #\"",
            "VQA accuracy",
        ),
        ("first-stage", "recall@0", "above 0"),
        (
            "first-stage",
            "recall@99",
            "[validation] score: recall@99 of 8 pictures and 8 texts is 1",
        ),
        ("answers", "recall@1", "recall"),
        ("first-stage", "cider", "did you mean `cider-d`?"),
        ("first-stage", "unheard-of", "recall@5"),
    ] {
        let path = write(objective, score);
        let output = run(&["train", path.to_str().unwrap()]);
        assert!(!output.status.success());
        assert!(errors(&output).contains(part), "{}", errors(&output));
    }

    let path = write("first-stage", "recall@1");
    let one = fs::read_to_string(&path).unwrap();
    assert!(one.contains("batch = 4"));
    fs::write(&path, one.replace("batch = 4", "batch = 1")).unwrap();
    let output = run(&["train", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = errors(&output);
    assert!(
        told.contains("[recipe] batch: the first stage contrasts"),
        "{told}"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let example = run(&["train"]);
    assert!(example.status.success());
    assert!(String::from_utf8_lossy(&example.stdout).contains("[recipe]"));

    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    for (more, part) in [
        (
            "[recipe]\nlearning_rate = 1",
            "[recipe] has no `learning_rate`: did you mean `lr`?",
        ),
        (
            "[train]\nprecision = \"int7\"\nparts = [\"qformer\"]",
            "int7",
        ),
        ("[train]\nparts = [\"qfromer\"]", "qfromer"),
        ("[train]\nparts = [\"qformer\", \"qform\"]", "`qform`"),
        (
            "[lora]\nrank = 0\ntargets = [\"q_proj\"]",
            "[lora] rank = 0 must be at least 1",
        ),
        (
            "[train]\nparts = [\"qformer\"]\n[recipe]\nno_decay = [\"query_tokens\"]",
            "no trained parameter is called `query_tokens`",
        ),
        ("[train]\nparts = [\"qformer\"]\ndevice = \"tpu\"", "tpu"),
        ("", "nothing would be trained"),
    ] {
        let path = config(folder.path(), "bad", more);
        let output = run(&["train", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(part), "{}", errors(&output));
    }
    let more = "[train]\nobjective = \"first-stage\"\nparts = [\"qformer\"]";
    let path = config(folder.path(), "bad", more);
    let output = run(&["train", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let way_out = "`objective = \"answers\"`";
    assert!(errors(&output).contains(way_out), "{}", errors(&output));
    let output = run(&["train", "no-such-file.toml"]);
    assert!(errors(&output).contains("no-such-file.toml"));
}
