//! Everything is checked before the first step.

use std::{fs, path::Path};

use super::helpers::{RECIPE, config, data, errors, losses, model, run, text};

/// Adds lines to the data of a folder, and gives the number of the first.
fn add(folder: &Path, lines: &[String]) -> usize {
    let path = folder.join("train.jsonl");
    let mut file = fs::read_to_string(&path).unwrap();
    let first = file.lines().count() + 1;
    for line in lines {
        file.push_str(line);
        file.push('\n');
    }
    fs::write(path, file).unwrap();
    first
}

fn asked(question: &str, answer: &str, pid: &str) -> String {
    serde_json::json!({ "question": question, "answer": answer, "pid": pid }).to_string()
}

#[test]
fn an_example_that_cannot_be_used_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    fs::create_dir(folder.path().join("pictures/broken")).unwrap();
    fs::write(
        folder.path().join("pictures/broken/image.png"),
        "no picture",
    )
    .unwrap();
    let long = "red ".repeat(500);
    let first = add(
        folder.path(),
        &[
            asked("is it red?", "yes", "broken"),
            asked("is it red?", &long, "1"),
            asked("is it red?", "no</s>", "1"),
            asked("is it</s> red?", "no", "1"),
            r#"{"question": "is it red?", "pid": 1}"#.into(),
        ],
    );
    let path = config(folder.path(), "run", RECIPE);
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    let reasons = [
        "image.png",
        "too long",
        "its answer",
        "its question",
        "answer",
    ];
    for (line, reason) in (first..).zip(reasons) {
        let told = said.lines().any(|text| {
            text.contains("left out")
                && text.contains(&format!("line {line}:"))
                && text.contains(reason)
        });
        assert!(told, "line {line}, {reason}: {said}");
    }

    // Where nothing is left out, nothing is trained either; a dry run says so too.
    let strict = fs::read_to_string(&path).unwrap();
    let strict = strict.replacen("on_broken = \"skip\"", "on_broken = \"fail\"", 1);
    let lines = fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
    let whole = lines.replace("{\"question\": \"?\"}\n", "");
    fs::write(folder.path().join("train.jsonl"), whole).unwrap();
    fs::write(&path, strict.replace("out = \"run\"", "out = \"strict\"")).unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let output = run(&[&["train", text(&path)][..], more].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = errors(&output);
        for line in first - 1..first + 4 {
            assert!(said.contains(&format!("line {line}:")), "{said}");
        }
        assert!(!folder.path().join("strict/states").exists());
    }
}

/// Whatever its positions are, a language model has a context.
#[test]
fn what_is_longer_than_llamas_context_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let long = "in ".repeat(600);
    let choice = serde_json::json!({
        "question": "which?", "answer": 0, "choices": ["red", long], "pid": 2,
    });
    let first = add(
        folder.path(),
        &[asked("what?", &long, "1"), choice.to_string()],
    );
    let path = config(folder.path(), "run", RECIPE);
    let file = fs::read_to_string(&path).unwrap();
    let llama = blip2_testing::fixture("instructblip_llama");
    let file = file.replace(text(&model()), text(&llama));
    fs::write(&path, &file).unwrap();
    let output = run(&["train", text(&path), "--dry-run"]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is too long"), "{said}");
    let left_out = |said: &str, line: usize| {
        let line = format!("line {line}:");
        let mut lines = said.lines();
        lines.any(|told| told.starts_with("left out:") && told.contains(&line))
    };
    assert!(left_out(&said, first), "{said}");

    let chosen = file.replace("score = \"exact-match\"", "score = \"multiple-choice\"");
    fs::write(&path, chosen).unwrap();
    let output = run(&["eval", text(&path)]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "nothing is left: {said}");
    for line in [1, first, first + 1] {
        assert!(said.contains(&format!("line {line}:")), "{said}");
    }
    let choice = serde_json::json!({
        "question": "which?", "answer": 0, "choices": ["red", "in"], "pid": 2,
    });
    let next = add(folder.path(), &[choice.to_string()]);
    let output = run(&["eval", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    let scored = String::from_utf8_lossy(&output.stdout);
    assert!(scored.contains("of 1 examples"), "{scored}");
    assert!(scored.contains("left out 11 records"), "{scored}");
    assert!(!left_out(&said, next), "{said}");
}

#[test]
fn choices_are_trained_on_by_their_words() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let choice = |answer: &str, choices: &str| {
        format!(r#"{{"question": "which?", "answer": {answer}, "choices": {choices}, "pid": 1}}"#)
    };
    let words = r#"["red", "blue"]"#;
    let first = add(
        folder.path(),
        &[
            choice("1", words),
            choice("\"red\"", words),
            choice("2", words),
            choice("0", r#"["choice_0.png", "choice_1.png"]"#),
        ],
    );
    let path = config(folder.path(), "run", RECIPE);
    let output = run(&["train", text(&path), "--dry-run"]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 ask for one of given choices"), "{said}");
    for (line, part) in [
        (first + 2, "none of its 2 choices"),
        (first + 3, "are pictures"),
    ] {
        assert!(said.contains(&format!("line {line}: its")), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn numbers_and_scores_that_cannot_be_are_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let refused = |change: &dyn Fn(String) -> String, part: &str| {
        let path = config(folder.path(), "bad", RECIPE);
        let file = change(fs::read_to_string(&path).unwrap());
        fs::write(&path, file).unwrap();
        let output = run(&["train", text(&path)]);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{part}: {said}");
        assert!(said.contains(part), "{part}: {said}");
        assert!(!said.contains("recipe    "), "{part}: {said}");
    };
    for (line, part) in [
        ("betas = [0.9, 1.5]", "[recipe] betas = 1.5"),
        ("weight_decay = -1", "[recipe] weight_decay = -1"),
        ("layer_decay = nan", "[recipe] layer_decay = NaN"),
        ("clip = -1", "[recipe] clip = -1"),
        ("patience = 0", "[recipe] patience = 0"),
        ("accumulate = 0", "[recipe] accumulate = 0"),
        ("min_lr = 1", "[recipe] min_lr = 1"),
    ] {
        let change = |file: String| file.replace("batch = 4\n", &format!("batch = 4\n{line}\n"));
        refused(&change, part);
    }
    refused(
        &|file| file.replace("warmup = 5", "warmup = 30"),
        "never ends",
    );
    let score = |name: &'static str| move |file: String| file.replace("exact-match", name);
    refused(&score("vqa"), "cannot be above 0 on this data");
    refused(&score("bleu4"), "cannot be above 0 on this data");
    let first = |file: String| file.replace("[validation]\n", "[validation]\nfirst = 0\n");
    refused(&first, "[validation] first = 0");
}

#[test]
fn an_evaluation_needs_no_training() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "run", "");
    let file = fs::read_to_string(&path).unwrap();
    let (start, end) = (
        file.find("out = ").unwrap(),
        file.find("[validation]").unwrap(),
    );
    fs::write(&path, format!("{}{}", &file[..start], &file[end..])).unwrap();
    let output = run(&["eval", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("of 8 examples"));
    let output = run(&["train", text(&path)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no `out`"), "{}", errors(&output));
}

#[test]
fn checkpoints_that_are_not_trained_are_told_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    for (fixture, part) in [
        ("instructblipvideo_llama", "videos"),
        ("blip2_itr", "first-stage"),
    ] {
        let path = config(folder.path(), "run", RECIPE);
        let file = fs::read_to_string(&path).unwrap();
        let other = blip2_testing::fixture(fixture);
        fs::write(&path, file.replace(text(&model()), text(&other))).unwrap();
        let output = run(&["train", text(&path)]);
        assert!(!output.status.success());
        assert!(errors(&output).contains(part), "{}", errors(&output));
        assert!(errors(&output).lines().count() < 5, "{}", errors(&output));
    }
}

/// Without a terminal a training is told in lines; the score before it too; the rate falls in the end.
#[test]
fn a_log_is_told_steps_and_the_score_before() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "run", &RECIPE.replace("warmup = 5\n", ""));
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    let steps = said
        .lines()
        .filter(|line| line.contains("loss") && line.contains("rate"));
    assert!(steps.count() >= 10, "{said}");
    assert!(said.contains("left 0:00:"), "{said}");
    assert!(said.contains("before the first step: score"), "{said}");
    let lines = fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let rates: Vec<f64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["lr"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert!(rates[29] < 0.1 * rates[2], "{rates:?}");
}

/// As many tokens weigh as much in several batches as in one, and what an epoch has left is a step.
#[test]
fn accumulated_batches_are_one() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let lines = fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
    let uneven = lines.replace("\"red\"", "\"red blue green red blue green red\"");
    fs::write(folder.path().join("train.jsonl"), uneven).unwrap();
    let first = |out: &str, batch: &str| {
        let recipe = RECIPE
            .replace("steps = 30", "epochs = 1")
            .replace("batch = 4", batch)
            .replace("warmup = 5\n", "");
        let path = config(folder.path(), out, &recipe);
        let output = run(&["train", text(&path)]);
        assert!(output.status.success(), "{}", errors(&output));
        losses(&folder.path().join(out))
    };
    let whole = first("whole", "batch = 8");
    let parts = first("parts", "batch = 3\naccumulate = 3");
    assert_eq!((whole.len(), parts.len()), (1, 1));
    assert!(
        (whole[0].1 - parts[0].1).abs() < 1e-4,
        "{whole:?} {parts:?}"
    );
    assert_eq!(first("rest", "batch = 2\naccumulate = 3").len(), 2);
}

/// Without MPI each of several processes would train by itself, into one folder.
#[test]
#[cfg(not(feature = "mpi"))]
fn one_of_several_processes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "several", RECIPE);
    let mut command = super::helpers::blip2();
    command.args(["train", text(&path)]);
    let output = command.env("OMPI_COMM_WORLD_SIZE", "2").output().unwrap();
    assert!(!output.status.success());
    let told = errors(&output);
    assert!(
        told.contains("one of 2 processes") && told.contains("--features mpi"),
        "{told}"
    );
    assert!(!folder.path().join("several").exists());
}
