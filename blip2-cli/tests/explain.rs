//! `blip2 explain`, on the CPU and, built with `blip2-core/wgpu`, on wgpu.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use blip2_core::device_by_name;
use blip2_testing::{fixture, workspace};
use serde_json::Value;

fn blip2(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("explain")
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .env_remove("BLIP2_RETRIEVAL_MODEL")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn picture() -> String {
    let path = workspace().join("examples/images/red-triangle.png");
    path.to_str().unwrap().to_string()
}

fn said(arguments: &[&str]) -> String {
    let output = blip2(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&said(&[arguments, &["--json"]].concat())).unwrap()
}

fn size(path: &Path) -> (u32, u32) {
    image::open(path).unwrap().to_rgb8().dimensions()
}

#[test]
fn an_answer_of_the_demonstration_model_is_explained() {
    let picture = picture();
    let asked = [picture.as_str(), "what color is the shape?"];
    let why = json(&asked);
    assert_eq!(why["grid"], serde_json::json!([8, 8]));
    assert_eq!(
        (&why["method"], &why["text"]),
        (&"relevance".into(), &"red".into())
    );
    let values = why["values"].as_array().unwrap();
    assert_eq!(values.len(), 64);
    let tokens = why["tokens"].as_array().unwrap();
    assert_eq!(tokens[0]["values"].as_array().unwrap().len(), 64);
    let whole: String = tokens
        .iter()
        .map(|token| token["text"].as_str().unwrap())
        .collect();
    assert_eq!(whole.trim(), "red");
    // The largest value lies on the shape, whose pixels differ from the ground's.
    let number = |value: &Value| value.as_f64().unwrap();
    let peak = (0..64).max_by(|a, b| number(&values[*a]).total_cmp(&number(&values[*b])));
    let (row, column) = (peak.unwrap() / 8, peak.unwrap() % 8);
    let image = image::open(&picture).unwrap().to_rgb8();
    let ground = *image.get_pixel(0, 0);
    let on = (0..64)
        .any(|n| *image.get_pixel(8 * column as u32 + n % 8, 8 * row as u32 + n / 8) != ground);
    assert!(on, "row {row}, column {column}");
    for method in ["rollout", "occlusion", "attention"] {
        let other = json(&[&asked[..], &["--method", method]].concat());
        assert_eq!(other["method"], method);
        assert_ne!(other["values"], why["values"]);
    }
    let given = json(&[&asked[..], &["--text", "blue"]].concat());
    assert_eq!(given["text"], "blue");
    assert_ne!(given["values"], why["values"]);
}

#[test]
fn maps_are_drawn() {
    let (folder, picture) = (tempfile::tempdir().unwrap(), picture());
    let path = folder.path().join("map.png");
    let output = path.to_str().unwrap();
    let asked = [picture.as_str(), "what color is the shape?", "-o", output];
    assert_eq!(said(&asked).trim(), "red");
    let whole = size(&path);
    assert!(whole.0 > 2 * 384 && whole.1 > 384);
    said(&[
        picture.as_str(),
        "--caption",
        "--text",
        "red red red",
        "--per-token",
        "-o",
        output,
    ]);
    let strip = size(&path);
    assert!(strip.0 > 3 * 192 && strip.1 < whole.1, "{strip:?}");
}

/// The devices that this build has.
fn devices() -> impl Iterator<Item = &'static str> {
    let known = ["flex", "wgpu"].into_iter();
    known.filter(|name| device_by_name(name).is_ok())
}

#[test]
fn every_member_that_sees_pictures_is_explained() {
    devices().for_each(every_member_is_explained_on);
}

fn every_member_is_explained_on(device: &str) {
    let picture = picture();
    let patches = |case: &str, what: &[&str]| {
        let model = fixture(case);
        let model = ["--model", model.to_str().unwrap(), "--max-new-tokens", "3"];
        let model = [&model[..], &["--device", device]].concat();
        let why = json(&[&[picture.as_str()], what, &model[..]].concat());
        let grid: u64 = why["grid"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .product();
        let values = why["values"].as_array().unwrap().len() as u64;
        assert_eq!(values, grid * why["frames"].as_u64().unwrap_or(1), "{case}");
        why["tokens"].as_array().unwrap().len()
    };
    let question = ["what is it?"];
    for case in [
        "blip2_opt",
        "blip2_t5",
        "blip2_t5_tied",
        "blip2_t5_relu_tied",
    ] {
        assert!(patches(case, &question) > 0 && patches(case, &["--caption"]) > 0);
    }
    for case in ["instructblip_llama", "instructblip_t5"] {
        assert!(patches(case, &question) > 0);
        assert!(patches(case, &["--prompt", "say it:", "--method", "occlusion"]) > 0);
    }
    assert!(patches("blip1_vqa", &question) > 0);
    assert!(patches("blip1_caption", &["--caption"]) > 0);
    for case in ["blip2_itr", "blip2_itr_legacy", "blip1_itr"] {
        for what in ["--match", "--similarity"] {
            assert_eq!(patches(case, &[what, "a red ball"]), 0);
        }
    }
}

#[test]
fn a_video_has_a_map_for_each_frame() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    fs::create_dir(&frames).unwrap();
    for (n, name) in [
        "red-triangle",
        "blue-circle",
        "gray-rectangle",
        "red-circle",
    ]
    .iter()
    .enumerate()
    {
        let from = workspace().join(format!("examples/images/{name}.png"));
        fs::copy(from, frames.join(format!("{n}.png"))).unwrap();
    }
    let cases = ["instructblipvideo_llama", "instructblipvideo_t5"].into_iter();
    for (case, device) in cases.flat_map(|case| devices().map(move |device| (case, device))) {
        let (model, path) = (fixture(case), folder.path().join("map.png"));
        let model = ["--model", model.to_str().unwrap(), "--max-new-tokens", "2"];
        let model = [&model[..], &["--device", device]].concat();
        let asked = [
            frames.to_str().unwrap(),
            "what happens?",
            "-o",
            path.to_str().unwrap(),
        ];
        let why = json(&[&asked[..], &model[..]].concat());
        assert_eq!(why["frames"], 4);
        assert!(size(&path).1 > 4 * 384);
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_a_model_is_loaded() {
    let (folder, picture) = (tempfile::tempdir().unwrap(), picture());
    let copy = folder.path().join("copy.png");
    fs::copy(&picture, &copy).unwrap();
    let copy = copy.to_str().unwrap();
    let model = |case: &str| fixture(case).to_str().unwrap().to_string();
    let (vqa, opt) = (model("blip1_vqa"), model("blip2_opt"));
    let (caption, itr) = (model("blip1_caption"), model("blip2_itr"));
    let question = "what is it?";
    for (arguments, word) in [
        (vec![copy, question, "-o", copy], "would write over"),
        (vec![copy, question, "-o", "map.jpg"], ".png"),
        (vec![copy, question], "--output"),
        (vec![copy, "--json"], "--caption"),
        (vec![copy, question, "--caption", "--json"], "--caption"),
        (vec![copy, question, "--json", "--per-token"], "--output"),
        (
            vec![copy, question, "--json", "--frame", "all"],
            "--frame all",
        ),
        (
            vec![
                copy,
                question,
                "--json",
                "--beams",
                "2",
                "--num-return-sequences",
                "2",
            ],
            "leave out --num-return-sequences",
        ),
        (
            vec![copy, "--match", "a dog", "--json"],
            "retrieval checkpoint",
        ),
        (
            vec![copy, "--match", "a dog", "--json", "--model", &opt],
            "retrieval checkpoint",
        ),
        (
            vec![copy, "--caption", "--json", "--model", &vqa],
            "give a question",
        ),
        (
            vec![copy, question, "--json", "--model", &caption],
            "give --caption",
        ),
        (vec![copy, question, "--json", "--model", &itr], "--match"),
        (
            vec![copy, "--match", "a", "--text", "b", "--json"],
            "--text",
        ),
        (
            vec![copy, question, "--method", "magic", "--json"],
            "occlusion",
        ),
    ] {
        let output = blip2(&arguments);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(word), "{arguments:?}: {told}");
    }
    let empty = blip2(&[copy, question, "--text", " ", "--json"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("empty"));
}
