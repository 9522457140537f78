//! What breaks or changes between two runs, or during one, ends none of them, and is told.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::helpers::{RECIPE, blip2, config, data, errors, model, run, text};

/// A training that runs, and what it has said up to now.
struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    fn begin(path: &Path) -> Self {
        let log = path.with_extension("log");
        let child = blip2()
            .args(["train", text(path)])
            .stderr(Stdio::from(fs::File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until(&mut self, part: &str) {
        let started = Instant::now();
        while !self.said().contains(part) && started.elapsed() < Duration::from_secs(120) {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.said())
    }
}

/// A recipe with other lines.
fn recipe(changes: &[(&str, &str)]) -> String {
    let usual = RECIPE.replace("warmup = 5\n", "schedule = \"constant\"\n");
    changes
        .iter()
        .fold(usual, |recipe, (from, to)| recipe.replace(from, to))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Validation data of its own, about pictures of its own.
fn validated_apart(folder: &Path, path: &Path, on_broken: &str) {
    let own = folder.join("held");
    for number in 0..4 {
        let from = folder.join(format!("pictures/{number}"));
        fs::create_dir_all(own.join(number.to_string())).unwrap();
        fs::copy(
            from.join("image.png"),
            own.join(format!("{number}/image.png")),
        )
        .unwrap();
    }
    let lines: Vec<String> = read(&folder.join("train.jsonl"))
        .lines()
        .take(4)
        .map(String::from)
        .collect();
    fs::write(folder.join("held.jsonl"), lines.join("\n")).unwrap();
    let file = read(path);
    let (before, after) = file.split_once("[validation.data]").unwrap();
    let after = after
        .replace("train.jsonl", "held.jsonl")
        .replace("\"pictures\"", "\"held\"")
        .replacen(
            "on_broken = \"skip\"",
            &format!("on_broken = \"{on_broken}\""),
            1,
        );
    fs::write(path, format!("{before}[validation.data]{after}")).unwrap();
}

#[test]
fn a_validation_picture_that_breaks_is_left_out_or_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let long = recipe(&[
        ("steps = 30", "steps = 80"),
        ("evaluate_every = 10", "evaluate_every = 40"),
    ]);
    let picture = folder.path().join("held/2/image.png");

    let path = config(folder.path(), "skip", &long);
    validated_apart(folder.path(), &path, "skip");
    let mut running = Running::begin(&path);
    running.until("after 40 steps: score");
    fs::write(&picture, "broken").unwrap();
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("left out:").count(), 2, "{said}");
    assert!(said.contains("held.jsonl, line 3: "), "{said}");
    assert!(said.contains("of 40 steps, was scored again"), "{said}");
    assert!(said.contains("after 80 steps: score"), "{said}");
    // The one before the first step was of all.
    assert!(!said.contains("before the first\n"), "{said}");
    // And it goes on without it.
    let file = read(&path).replace("steps = 80", "steps = 82");
    fs::write(&path, file).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("going on after 80 steps"), "{said}");

    let path = config(folder.path(), "fail", &long);
    validated_apart(folder.path(), &path, "fail");
    let mut running = Running::begin(&path);
    running.until("before the first step: score");
    let whole = fs::read(&picture).unwrap();
    fs::write(&picture, "broken").unwrap();
    let (code, said) = running.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the evaluation after 40 steps failed"),
        "{said}"
    );
    assert!(said.contains("held.jsonl, line 3: "), "{said}");
    assert!(said.contains("the same command goes on from"), "{said}");
    // A picture that is whole again is all that it needs.
    fs::write(&picture, whole).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("going on after 40 steps"), "{said}");
}

/// Of the first examples another one is the last where a picture is gone: they are the same data still.
#[test]
fn a_validation_picture_that_is_gone_leaves_the_first_examples_the_same_data() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let short = recipe(&[
        ("steps = 30", "steps = 4"),
        ("evaluate_every = 10", "evaluate_every = 2"),
    ]);
    let path = config(folder.path(), "run", &short);
    validated_apart(folder.path(), &path, "skip");
    let file = read(&path).replace("[validation]\n", "[validation]\nfirst = 3\n");
    fs::write(&path, &file).unwrap();
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));

    fs::remove_dir_all(folder.path().join("held/0")).unwrap();
    fs::write(&path, file.replace("steps = 4", "steps = 6")).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("going on after 4 steps"), "{said}");
    // Another number of them is other data, of which the best model before is scored again.
    let fewer = file
        .replace("steps = 4", "steps = 8")
        .replace("first = 3", "first = 2");
    fs::write(&path, fewer).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("was scored again"), "{said}");
}

/// Scores whose rows are gone are taken from what is told of the run, as losses are.
#[test]
fn scores_go_on_from_where_they_are_told() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let short = recipe(&[
        ("steps = 30", "steps = 4"),
        ("evaluate_every = 10", "evaluate_every = 2"),
    ]);
    let path = config(folder.path(), "run", &short);
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    fs::remove_file(folder.path().join("run/states/scores.jsonl")).unwrap();
    fs::write(&path, read(&path).replace("steps = 4", "steps = 6")).unwrap();
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    let rows = read(&folder.path().join("run/scores.jsonl"));
    let steps: Vec<u64> = rows
        .lines()
        .map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap())
        .map(|row| row["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [0, 2, 4, 6]);
}

/// All below a folder, by path, with its bytes.
fn tree(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

#[test]
fn a_dry_run_refuses_what_the_run_would() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let lora = |rank: usize, steps: usize| {
        format!(
            "[lora]\nrank = {rank}\nalpha = 4.0\ntargets = [\"q_proj\"]\n[recipe]\nsteps = {steps}\nbatch = 4\n"
        )
    };
    let path = config(folder.path(), "run", &lora(4, 2));
    let out = folder.path().join("run");
    // What it finds is not even kept where there is a folder for it.
    fs::create_dir(&out).unwrap();
    let output = run(&["train", text(&path), "--dry-run"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(tree(&out).is_empty());
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    let before = tree(&out);
    let refused = |part: &str| {
        for more in [&["--dry-run"][..], &[]] {
            let output = run(&[&["train", text(&path)][..], more].concat());
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(1), "{more:?}: {said}");
            assert!(said.contains(part), "{more:?}: {said}");
        }
    };
    // What goes on does so in a dry run too, which writes nothing.
    config(folder.path(), "run", &lora(4, 4));
    let output = run(&["train", text(&path), "--dry-run"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(errors(&output).contains("a step  "), "{}", errors(&output));
    assert_eq!(tree(&out), before);
    config(folder.path(), "run", &lora(4, 2));
    let output = run(&["train", text(&path), "--dry-run"]);
    assert!(
        errors(&output).contains("none is left to make"),
        "{}",
        errors(&output)
    );

    config(folder.path(), "run", &lora(8, 4));
    refused("alpha / rank");
    let file = read(&config(folder.path(), "run", &lora(4, 4)));
    fs::write(
        &path,
        file.replace("[validation]\n", "[validation]\nbeams = 5000\n"),
    )
    .unwrap();
    refused("[validation] beams = 5000");

    config(folder.path(), "run", &lora(4, 4));
    fs::remove_file(out.join("metrics.csv")).unwrap();
    fs::create_dir(out.join("metrics.csv")).unwrap();
    refused("metrics.csv would be written, and is a folder");
    fs::remove_dir(out.join("metrics.csv")).unwrap();

    // And a folder that another one trains in.
    let long = config(
        folder.path(),
        "long",
        &recipe(&[("steps = 30", "steps = 100000")]),
    );
    let mut running = Running::begin(&long);
    running.until("step 1 of");
    let output = run(&["train", text(&long), "--dry-run"]);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("is training in this folder"),
        "{}",
        errors(&output)
    );
}

#[test]
fn states_say_what_they_are_of_without_the_file_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let few = |steps: usize, lr: &str| {
        recipe(&[
            ("steps = 30", &format!("steps = {steps}")),
            ("lr = 1e-3", &format!("lr = {lr}")),
        ])
    };
    let path = config(folder.path(), "run", &few(4, "1e-3"));
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    let file = folder.path().join("run/run.json");
    let whole = fs::read(&file).unwrap();
    for (steps, content) in [
        (5, None),
        (6, Some(&whole[..0])),
        (7, Some(&whole[..whole.len() / 2])),
    ] {
        match content {
            None => fs::remove_file(&file).unwrap(),
            Some(content) => fs::write(&file, content).unwrap(),
        }
        let path = config(
            folder.path(),
            "run",
            &few(steps, &format!("1e-{}", steps - 1)),
        );
        let output = run(&["train", text(&path)]);
        let said = errors(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("changed   recipe.lr was"), "{said}");
        assert!(
            said.contains(&format!("going on after {} steps", steps - 1)),
            "{said}"
        );
        assert!(fs::read(&file).unwrap().len() > whole.len() / 2);
    }

    // Another base model is refused by the states alone.
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    for entry in fs::read_dir(model()).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() {
            fs::write(
                base.join(from.file_name().unwrap()),
                fs::read(&from).unwrap(),
            )
            .unwrap();
        }
    }
    let weights = base.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let path = config(folder.path(), "run", &few(9, "1e-3"));
    fs::write(&path, read(&path).replace(text(&model()), text(&base))).unwrap();
    fs::remove_file(&file).unwrap();
    for state in fs::read_dir(folder.path().join("run/states")).unwrap() {
        // Nor need they say more than that.
        let progress = state.unwrap().path().join("progress.json");
        assert!(!progress.exists() || read(&progress).contains("\"about\""));
    }
    for more in [&["--dry-run"][..], &[]] {
        let output = run(&[&["train", text(&path)][..], more].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("another"), "{}", errors(&output));
    }
}

/// The lines of a table without the times in them.
fn without_times(table: &str) -> Vec<String> {
    let place = table
        .lines()
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == "seconds");
    let place = place.unwrap();
    let cut = |line: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        cells.remove(place);
        cells.join(",")
    };
    table.lines().map(cut).collect()
}

#[test]
fn what_was_seen_is_the_same_to_the_last_digit_after_going_on() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let often = recipe(&[("evaluate_every = 10", "evaluate_every = 3")]);
    let path = config(folder.path(), "whole", &often);
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    for steps in [7, 16, 23, 30] {
        let part = often.replace("steps = 30", &format!("steps = {steps}"));
        let path = config(folder.path(), "parts", &part);
        let output = run(&["train", text(&path)]);
        assert!(output.status.success(), "{}", errors(&output));
    }
    let at = |out: &str, name: &str| read(&folder.path().join(out).join(name));
    let lines = |out: &str| {
        let table = without_times(&at(out, "metrics.csv"));
        // The last step of a part is scored, which the whole is not.
        let loss = |line: &String| line.split(',').take(5).collect::<Vec<_>>().join(",");
        table.iter().map(loss).collect::<Vec<_>>()
    };
    assert_eq!(lines("parts"), lines("whole"));
    let scores = |out: &str| {
        let text = at(out, "scores.jsonl");
        let rows = text.lines().filter(|line| {
            !["7", "16", "23"]
                .iter()
                .any(|step| line.starts_with(&format!("{{\"step\":{step},")))
        });
        rows.map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(scores("parts"), scores("whole"));
}

#[test]
fn batches_of_another_size_go_on_at_the_next_example() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let seen = |steps: usize, batch: usize| {
        let more = recipe(&[
            ("steps = 30", &format!("steps = {steps}")),
            ("batch = 4", &format!("batch = {batch}")),
        ]);
        let output = run(&["train", text(&config(folder.path(), "run", &more))]);
        assert!(output.status.success(), "{}", errors(&output));
        let rows = read(&folder.path().join("run/metrics.jsonl"));
        let rows = rows.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                row["epoch"].as_u64().unwrap(),
                row["examples"].as_u64().unwrap(),
            )
        });
        rows.collect::<Vec<_>>()
    };
    assert_eq!(seen(2, 2), [(0, 2), (0, 2)]);
    // Four of eight are left of the first epoch.
    assert_eq!(seen(6, 3)[2..], [(0, 3), (0, 1), (1, 3), (1, 3)]);
    assert_eq!(seen(8, 8)[6..], [(1, 2), (2, 8)]);
}

#[test]
fn epochs_are_those_of_the_data_whatever_the_size_of_batches_was() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let seen = |batch: usize, more: &[&str]| {
        let steps = if more.is_empty() {
            "epochs = 3"
        } else {
            "epochs = 0.5"
        };
        let recipe = recipe(&[
            ("steps = 30", steps),
            ("batch = 4", &format!("batch = {batch}")),
        ]);
        let path = config(folder.path(), "run", &recipe);
        let output = run(&["train", text(&path)]);
        assert!(output.status.success(), "{}", errors(&output));
        let rows = read(&folder.path().join("run/metrics.jsonl"));
        let rows = rows.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                row["epoch"].as_u64().unwrap(),
                row["examples"].as_u64().unwrap(),
            )
        });
        (rows.collect::<Vec<_>>(), errors(&output))
    };
    // Half an epoch of eight examples.
    let (rows, said) = seen(2, &["half"]);
    assert_eq!(rows, [(0, 2), (0, 2)]);
    assert!(!said.contains("what is left of the epochs"), "{said}");
    let (rows, said) = seen(3, &[]);
    assert_eq!(
        rows[2..],
        [
            (0, 3),
            (0, 1),
            (1, 3),
            (1, 3),
            (1, 2),
            (2, 3),
            (2, 3),
            (2, 2)
        ]
    );
    assert!(
        said.contains("what is left of the epochs takes 8 steps, 10 in all"),
        "{said}"
    );
    assert!(said.contains("step 10 of 10"), "{said}");
    assert!(folder.path().join("run/model/model.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn a_limit_on_files_is_an_error_and_what_was_half_written_goes() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(
        folder.path(),
        "run",
        &recipe(&[("steps = 30", "steps = 6")]),
    );
    let limited = |kilobytes: usize| {
        let shell = std::process::Command::new("bash")
            .args(["-c", &format!("ulimit -f {kilobytes}; exec \"$@\""), "bash"])
            .args([env!("CARGO_BIN_EXE_blip2"), "train", text(&path)])
            .output();
        shell.unwrap()
    };
    let output = limited(8);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`ulimit -f`"), "{said}");
    let out = folder.path().join("run");
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    };
    let half = |name: &String| name.ends_with(".partial") || name.starts_with("writing-");
    assert!(!names(&out.join("states")).iter().any(half), "{said}");

    // What a killed process left goes when the next one begins; what looks like it stays.
    for (place, name) in [
        ("states", "metrics.csv.1-2.partial"),
        ("", "run.json.12-0.partial"),
    ] {
        fs::create_dir_all(out.join(place)).unwrap();
        fs::write(out.join(place).join(name), "half").unwrap();
        fs::write(out.join(place).join("mine.partial"), "mine").unwrap();
    }
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    for place in ["states", ""] {
        let names = names(&out.join(place));
        assert_eq!(
            names
                .iter()
                .filter(|name| name.ends_with(".partial"))
                .collect::<Vec<_>>(),
            ["mine.partial"]
        );
    }
}

#[cfg(unix)]
#[test]
fn a_score_before_the_first_step_of_other_data_is_not_compared_with() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let long = recipe(&[
        ("steps = 30", "steps = 100000"),
        ("evaluate_every = 10\n", ""),
    ]);
    let path = config(folder.path(), "run", &long);
    let mut running = Running::begin(&path);
    running.until("step 1 of");
    let process = running.child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &process])
        .status();
    assert!(sent.unwrap().success());
    let (code, said) = running.end();
    assert_eq!(code, Some(130), "{said}");
    let rows = read(&folder.path().join("run/metrics.jsonl"))
        .lines()
        .count();
    let few = long.replace("steps = 100000", &format!("steps = {}", rows + 1));
    let path = config(folder.path(), "run", &few);
    let file = read(&path).replace("[validation]\n", "[validation]\nfirst = 3\n");
    fs::write(&path, file).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("it is not compared with"), "{said}");
    assert!(!said.contains("before the first\n"), "{said}");
}

#[test]
fn adapters_that_are_trained_on_keep_their_template() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let table = |template: &str, start: &str| {
        format!(
            "[train]\n{template}\n[lora]\nrank = 4\ntargets = [\"q_proj\"]\n{start}\n[recipe]\nsteps = 1\nbatch = 4\n"
        )
    };
    let own = "template = \"Q: {} A:\"";
    let output = run(&[
        "train",
        text(&config(folder.path(), "first", &table(own, ""))),
    ]);
    assert!(output.status.success(), "{}", errors(&output));
    let start = "start = \"first/adapter\"";
    for (out, template, part) in [
        ("second", "", "template  \"Q: {} A:\""),
        ("third", "template = \"{} ?\"", "go on with \"{} ?\""),
    ] {
        let output = run(&[
            "train",
            text(&config(folder.path(), out, &table(template, start))),
        ]);
        let said = errors(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(part), "{said}");
    }
    let prompts = |out: &str| read(&folder.path().join(out).join("adapter/blip2.json"));
    assert_eq!(prompts("second"), prompts("first"));
}
