//! Scores: several at once, by kind, beside the loss; and the files that they are written to.

use std::fs;

use blip2_testing::fixture;
use serde_json::{Value, json};

use crate::helpers::{RECIPE, config, data, errors, run, text};

/// The eight colours with choices, of two kinds.
fn kinds(folder: &std::path::Path) {
    data(folder);
    let path = folder.join("train.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    let lines = lines.lines().filter_map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let number = record["pid"].as_u64()?;
        let kind = if number < 3 { "bright" } else { "other" };
        record["question_type"] = json!(kind);
        record["choices"] = json!(["purple", record["answer"]]);
        record["question_id"] = json!(100 + number);
        Some(format!("{record}\n"))
    });
    let lines: String = lines.collect();
    fs::write(path, lines).unwrap();
}

#[test]
fn several_scores_are_told_by_kind_and_written_for_people_and_servers() {
    let folder = tempfile::tempdir().unwrap();
    kinds(folder.path());
    let path = config(folder.path(), "run", "");
    let file = fs::read_to_string(&path).unwrap().replace(
        "score = \"exact-match\"",
        "score = \"exact-match\"\nscores = [\"exact-match-any-case\", \"multiple-choice\", \"rouge-l\"]",
    );
    fs::write(&path, file).unwrap();
    let [table, lines, results, sheet] =
        ["a.csv", "a.jsonl", "results.json", "worst.png"].map(|name| folder.path().join(name));
    let arguments = [
        "eval",
        text(&path),
        "--answers",
        text(&table),
        "--results",
        text(&results),
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", errors(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("exact match 0."), "{said}");
    for part in [
        "exact match in any case 0.",
        "multiple choice ",
        "ROUGE-L 0.",
        "question type   exact match",
        "\nbright ",
        "\nother ",
        "times\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("answer type"), "{said}");

    let written = fs::read_to_string(&table).unwrap();
    let header =
        "id,question,answer,right,exact-match,exact-match-any-case,multiple-choice,rouge-l";
    assert_eq!(written.lines().next(), Some(header));
    assert_eq!(written.lines().count(), 9);
    let worst = written.lines().nth(1).unwrap();
    assert_eq!(worst.split(',').nth(4), Some("0"), "{worst}");

    let served: Vec<Value> = serde_json::from_str(&fs::read_to_string(&results).unwrap()).unwrap();
    assert_eq!(served.len(), 8);
    assert_eq!(served[0]["question_id"], 100);
    assert!(served[0]["answer"].is_string());

    assert!(
        run(&[
            "eval",
            text(&path),
            "--answers",
            text(&lines),
            "--sheet",
            text(&sheet)
        ])
        .status
        .success()
    );
    let first = fs::read_to_string(&lines).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["right"], "red");
    let sheet = image::open(sheet).unwrap();
    // Five pictures side by side, in two rows.
    assert!(sheet.width() > 5 * 192 && sheet.height() > 2 * 192);
    assert!(first["scores"]["multiple-choice"].is_number());
}

#[test]
fn what_cannot_be_scored_or_served_is_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "run", RECIPE);
    let file = fs::read_to_string(&path).unwrap();
    let refused = |scores: &str, part: &str| {
        let score = "score = \"exact-match\"";
        fs::write(
            &path,
            file.replace(score, &format!("{score}\nscores = {scores}")),
        )
        .unwrap();
        for command in ["train", "eval"] {
            let output = run(&[command, text(&path)]);
            assert!(!output.status.success());
            assert!(errors(&output).contains(part), "{}", errors(&output));
        }
    };
    refused("[\"multiple-choice\"]", "is of questions with `choices`");
    refused("[\"bleu2\"]", "cannot be above 0 on this data");
    refused("[\"meteor\"]", "`meteor` is not computed here");
    refused("[\"SPICE\"]", "`blip2 eval --results FILE`");
    refused("[\"bleu\"]", "`bleu` is unknown");
    assert!(!folder.path().join("run/states").exists());

    fs::write(&path, &file).unwrap();
    let lines = fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
    let mixed = lines + "{\"caption\": \"a plain colour\", \"pid\": 1}\n";
    fs::write(folder.path().join("train.jsonl"), mixed).unwrap();
    let results = folder.path().join("results.json");
    let output = run(&["eval", text(&path), "--results", text(&results)]);
    assert!(
        errors(&output).contains("8 of the former and 1 of the latter"),
        "{}",
        errors(&output)
    );
    assert!(!results.exists());
}

/// Loss and scores of the validation data stand in the log, the table, and TensorBoard's file.
#[test]
fn a_training_tells_the_validation_loss_and_all_scores() {
    let folder = tempfile::tempdir().unwrap();
    kinds(folder.path());
    let path = config(folder.path(), "run", RECIPE);
    let file = fs::read_to_string(&path).unwrap().replace(
        "score = \"exact-match\"",
        "score = \"exact-match\"\nscores = [\"multiple-choice\"]",
    );
    fs::write(&path, file).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    let scored = said
        .lines()
        .filter(|line| line.contains("validation loss ") && line.contains(", multiple-choice "));
    assert_eq!(scored.count(), 4, "{said}");
    assert!(said.contains(" examples/s"), "{said}");
    let out = folder.path().join("run");
    let scores = fs::read_to_string(out.join("scores.jsonl")).unwrap();
    let scores: Vec<Value> = scores
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let losses: Vec<f64> = scores
        .iter()
        .map(|score| score["loss"].as_f64().unwrap())
        .collect();
    assert!(losses[3] < losses[0], "{losses:?}");
    let table = fs::read_to_string(out.join("metrics.csv")).unwrap();
    let header = table.lines().next().unwrap();
    assert!(
        header.ends_with(",score,validation_loss,multiple-choice"),
        "{header}"
    );
    let boards: Vec<_> = fs::read_dir(out.join("tensorboard")).unwrap().collect();
    assert_eq!(boards.len(), 1);
    let events = fs::read(boards[0].as_ref().unwrap().path()).unwrap();
    for tag in [
        "train/loss",
        "eval/loss",
        "eval/score",
        "eval/multiple-choice",
    ] {
        let found = events
            .windows(tag.len())
            .filter(|part| *part == tag.as_bytes());
        assert_eq!(
            found.count(),
            if tag == "train/loss" { 30 } else { 4 },
            "{tag}"
        );
    }
}

/// However captions stand in a file, a picture's are scored together, as pycocoevalcap does.
#[test]
fn captions_in_rows_of_their_own_are_scored_by_picture() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let at = |name: &str| folder.path().join(name);
    let captions = [
        (1, "a red dog"),
        (2, "dog in here"),
        (1, "in here a dog"),
        (2, "red"),
    ];
    let images = [1, 2].map(|id| json!({"id": id, "file_name": format!("{id}/image.png")}));
    let annotations: Vec<Value> = captions
        .iter()
        .map(|(image, caption)| json!({"image_id": image, "caption": caption}))
        .collect();
    let coco = json!({"images": images, "annotations": annotations});
    fs::write(at("coco.json"), coco.to_string()).unwrap();
    let rows: Vec<String> = captions
        .iter()
        .map(|(image, caption)| {
            let row = json!({"image": format!("{image}/image.png"), "caption": caption});
            row.to_string()
        })
        .collect();
    fs::write(at("rows.jsonl"), rows.join("\n")).unwrap();
    let model = fixture("blip1_caption");
    let scores = |kind: &str, file: &str, more: &str| {
        let settings = format!(
            "model = \"{}\"\n[validation]\nscore = \"bleu1\"\n{more}\
             [validation.data]\nkind = \"{kind}\"\nfile = \"{file}\"\npictures = \"pictures\"\n",
            model.display()
        );
        fs::write(at("eval.toml"), settings).unwrap();
        let output = run(&["eval", text(&at("eval.toml"))]);
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    // CIDEr-D is of several pictures.
    let all = "scores = [\"cider-d\", \"rouge-l\"]\n";
    for (more, count) in [(all, "of 2 examples"), ("first = 1\n", "of 1 examples")] {
        let together = scores("coco-captions", "coco.json", more);
        assert!(together.contains(count), "{together}");
        assert_eq!(scores("json-lines", "rows.jsonl", more), together);
    }
}

/// COCO's file of test pictures has no captions: they are what a server wants.
#[test]
fn pictures_that_nobody_described_are_captioned_and_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let at = |name: &str| folder.path().join(name);
    let images = [2, 1].map(|id| json!({"id": id, "file_name": format!("{id}/image.png")}));
    fs::write(
        at("image_info.json"),
        json!({ "images": images }).to_string(),
    )
    .unwrap();
    let data = "kind = \"coco-captions\"\nfile = \"image_info.json\"\npictures = \"pictures\"\n";
    let settings = format!(
        "model = \"{}\"\nout = \"run\"\n[data]\n{data}[validation]\nscore = \"bleu1\"\n\
         [validation.data]\n{data}[train]\nparts = [\"text_decoder\"]\n",
        fixture("blip1_caption").display()
    );
    fs::write(at("t.toml"), settings).unwrap();
    let results = at("results.json");
    let output = run(&["eval", text(&at("t.toml")), "--results", text(&results)]);
    assert!(output.status.success(), "{}", errors(&output));
    let rows: Value = serde_json::from_slice(&fs::read(results).unwrap()).unwrap();
    let ids: Vec<&Value> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["image_id"])
        .collect();
    assert_eq!(ids, [1, 2]);
    assert!(rows[0]["caption"].is_string());

    let output = run(&["train", "--dry-run", text(&at("t.toml"))]);
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(
        said.contains("has no right answer to compare with")
            || said.contains("has no answer to train on"),
        "{said}"
    );
    assert!(said.contains("`on_broken = \"skip\"`"), "{said}");
}
