//! Nothing of a training is lost: not what it reads, not what it has made.

use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use super::helpers::{RECIPE, blip2, config, data, errors, losses, model, run, text};

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copied(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// A training in `out` of the model in `model`.
fn config_of(folder: &Path, model: &Path, out: &str) -> String {
    let path = config(folder, "here", RECIPE);
    let file = fs::read_to_string(&path).unwrap();
    let file = file
        .replace(text(&super::helpers::model()), text(model))
        .replace("out = \"here\"", &format!("out = \"{out}\""));
    fs::write(&path, file).unwrap();
    text(&path).to_string()
}

#[test]
fn what_is_read_is_never_written_onto() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let base = folder.path().join("mine/model");
    copied(&model(), &base);
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("mine"), folder.path().join("link")).unwrap();
    let mut outs = vec!["mine", "mine/model", "mine/model/run", "x/../mine"];
    if cfg!(unix) {
        outs.push("link");
    }
    let files = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let sizes = entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().len()));
        sizes.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files(&base);
    for out in outs {
        for more in [&[][..], &["--dry-run"]] {
            let path = config_of(folder.path(), &base, out);
            let output = run(&[&["train", &path][..], more].concat());
            assert_eq!(output.status.code(), Some(1), "{out}");
            let said = errors(&output);
            assert!(
                said.contains("`out` would be written onto"),
                "{out}: {said}"
            );
        }
    }
    assert_eq!(files(&base), before);
    // The answers of an evaluation are not its questions.
    let path = config_of(folder.path(), &base, "elsewhere");
    let questions = folder.path().join("train.jsonl");
    let output = run(&["eval", &path, "--answers", text(&questions)]);
    assert!(
        errors(&output).contains("would be written over"),
        "{}",
        errors(&output)
    );
    assert!(fs::metadata(&questions).unwrap().len() > 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    fs::write(folder.path().join("file"), "no folder").unwrap();
    for out in ["file/run", "file"] {
        let path = config_of(folder.path(), &model(), out);
        for more in [&[][..], &["--dry-run"]] {
            let output = run(&[&["train", &path][..], more].concat());
            assert_eq!(output.status.code(), Some(1), "{out}");
            let said = errors(&output);
            assert!(said.contains("cannot be written in"), "{said}");
            assert!(!said.contains("recipe"), "{said}");
        }
    }
}

#[test]
fn what_changed_is_told_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "run", RECIPE);
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    let changed = RECIPE
        .replace("lr = 1e-3", "lr = 1e-2")
        .replace("steps = 30", "steps = 32");
    let path = config(folder.path(), "run", &changed);
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    for part in [
        "recipe.lr was 0.001, and is 0.01",
        "recipe.steps was 30, and is 32",
        "going on after 30 steps",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // Scored otherwise, the best model before is scored again.
    let other = fs::read_to_string(&path).unwrap();
    let other = other.replace(
        "score = \"exact-match\"",
        "score = \"exact-match\"\nfirst = 3",
    );
    fs::write(&path, other).unwrap();
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    for part in ["going on after 32 steps", "was scored again"] {
        assert!(said.contains(part), "{said}");
    }
    // The states of one base model cannot be put into another.
    let base = folder.path().join("base");
    copied(&model(), &base);
    let path = config_of(folder.path(), &base, "run");
    let weights = base.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let output = run(&["train", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("another `model`"),
        "{}",
        errors(&output)
    );
}

/// An interrupt ends it after a step, with a state, and it goes on from there.
#[cfg(unix)]
#[test]
fn an_interrupt_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let recipe = RECIPE
        .replace("steps = 30", "steps = 100000")
        .replace("save_every = 3", "save_every = 100000")
        .replace("warmup = 5\n", "schedule = \"constant\"\n")
        .replace("evaluate_every = 10", "evaluate_every = 0");
    for signal in ["-INT", "-TERM"] {
        let out = format!("run{signal}");
        let path = config(folder.path(), &out, &recipe);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = blip2()
            .args(["train", text(&path)])
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let started = Instant::now();
        let said = || fs::read_to_string(folder.path().join("log")).unwrap();
        while !said().contains("step 1 of") && started.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        let kill = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(130), "{}", said());
        assert!(
            said().contains("the same command goes on from"),
            "{}",
            said()
        );
        let made = losses(&folder.path().join(&out)).len();
        assert!(made > 0);

        let few = recipe.replace("steps = 100000", &format!("steps = {}", made + 1));
        let path = config(folder.path(), &out, &few);
        let output = run(&["train", text(&path)]);
        let going_on = format!("going on after {made} steps");
        assert!(errors(&output).contains(&going_on), "{}", errors(&output));
        assert!(output.status.success());
    }
}

#[test]
fn one_training_at_a_time_writes_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let recipe = RECIPE.replace("steps = 30", "steps = 100000");
    let path = config(folder.path(), "run", &recipe);
    let mut first = blip2()
        .args(["train", text(&path)])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let states = folder.path().join("run/states");
    let started = Instant::now();
    while !states.exists() && started.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(5));
    }
    let second = run(&["train", text(&path)]);
    let process = format!("process {} is training", first.id());
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(errors(&second).contains(&process), "{}", errors(&second));
}

/// A rate that destroys the model leaves the best one that was scored, and the curve.
#[test]
fn numbers_that_are_none_leave_what_was_scored() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let recipe = RECIPE
        .replace("lr = 1e-3", "lr = 1e3\nclip = 0.0\nschedule = \"constant\"")
        .replace("evaluate_every = 10", "evaluate_every = 1")
        .replace("steps = 30", "steps = 200")
        .replace("warmup = 5\n", "")
        .replace("ema = 0.8\n", "");
    let path = config(folder.path(), "run", &recipe);
    let output = run(&["train", text(&path)]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("at a learning rate of 1e3"), "{said}");
    let out = folder.path().join("run");
    for file in ["metrics.jsonl", "curve.svg", "model/model.safetensors"] {
        assert!(out.join(file).exists(), "{file}: {said}");
    }
}

/// Without a score there is no best model, and what the last step spoilt is not written in its place.
#[test]
fn a_model_whose_last_step_spoilt_it_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let recipe = |steps: usize, lr: &str| {
        let more = format!(
            "[train]\nparts = [\"language_projection\"]\n[recipe]\nsteps = {steps}\nbatch = 4\n\
             lr = {lr}\nschedule = \"constant\"\nclip = 0.0\n"
        );
        let path = config(folder.path(), "run", &more);
        let file = fs::read_to_string(&path).unwrap();
        let (before, after) = file.split_once("[validation]").unwrap();
        let (_, after) = after.split_once("[train]").unwrap();
        fs::write(&path, format!("{before}[train]{after}")).unwrap();
        path
    };
    let output = run(&["train", text(&recipe(1, "1e-3"))]);
    assert!(output.status.success(), "{}", errors(&output));
    let weights = folder.path().join("run/model/model.safetensors");
    let good = fs::read(&weights).unwrap();
    let output = run(&["train", text(&recipe(2, "1e300"))]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a number of `language_projection."), "{said}");
    assert!(said.contains("goes on from"), "{said}");
    assert!(fs::read(&weights).unwrap() == good, "{said}");
}

/// What a model was trained with goes with it, and adapters go on as what they are.
#[test]
fn the_template_and_the_adapters_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let table = |rank, targets: &str, more: &str| {
        format!(
            "[train]\ntemplate = \"Q: {{}} A:\"\n[lora]\nrank = {rank}\nalpha = 8\ntargets = {targets}\n{more}
[recipe]\nsteps = 2\nbatch = 4\n"
        )
    };
    let own = "[\"q_proj\", \"qformer.encoder.layer.0.attention\"]";
    let path = config(folder.path(), "first", &table(4, own, ""));
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    let prompts = fs::read_to_string(folder.path().join("first/model/blip2.json")).unwrap();
    assert!(
        prompts.contains("\"answer_template\": \"Q: {} A:\""),
        "{prompts}"
    );

    // Beside the adapter too, and in what it is merged into.
    let out = folder.path().join("first");
    let base = model();
    let adapter = out.join("adapter");
    let merged = folder.path().join("merged");
    let arguments = [
        "merge",
        text(&base),
        "--adapter",
        text(&adapter),
        "-o",
        text(&merged),
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", errors(&output));
    for folder in [&adapter, &merged] {
        let own = fs::read_to_string(folder.join("blip2.json")).unwrap();
        assert_eq!(own, prompts);
    }
    let card = fs::read_to_string(adapter.join("README.md")).unwrap();
    assert!(card.contains("asked as `Q: {} A:`"), "{card}");
    // It may go on in another template, in which the best model before is scored again.
    let other = table(4, own, "")
        .replace("Q: {} A:", "{}")
        .replace("steps = 2", "steps = 3");
    let path = config(folder.path(), "first", &other);
    let output = run(&["train", text(&path), "--dry-run"]);
    assert!(output.status.success(), "{}", errors(&output));

    let start = "start = \"first/adapter\"";
    for (rank, targets, part) in [
        (8, own, "[lora] rank = 8"),
        (4, "[\"q_proj\"]", "[lora] targets = "),
        (4, "[\"q_proj\", \"qformer\", \"fc1\"]", "[lora] targets = "),
    ] {
        let path = config(folder.path(), "second", &table(rank, targets, start));
        let output = run(&["train", text(&path)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(part), "{}", errors(&output));
    }
    let path = config(folder.path(), "second", &table(4, own, start));
    let output = run(&["train", text(&path)]);
    assert!(output.status.success(), "{}", errors(&output));
    // They would be written where they are read.
    let path = config(folder.path(), "first", &table(4, own, start));
    let output = run(&["train", text(&path)]);
    assert!(
        errors(&output).contains("would be written onto"),
        "{}",
        errors(&output)
    );
}
