//! Several processes train as one, over MPI; killed, and going on with another number of them.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    helpers::{blip2, config, data, errors, losses},
    newest,
};

/// `mpirun -n SIZE blip2`.
fn processes(size: usize) -> Command {
    let mut command = Command::new("mpirun");
    // More processes than there are cores, as root in a container, are for tests alone.
    command.args([
        "--allow-run-as-root",
        "--oversubscribe",
        "--bind-to",
        "none",
    ]);
    command
        .args(["-n", &size.to_string()])
        .arg(blip2().get_program());
    command.stdin(Stdio::null());
    command
}

fn run(size: usize, arguments: &[&str]) -> Output {
    processes(size).args(arguments).output().unwrap()
}

pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (losses(one), losses(other));
    assert_eq!(one.len(), other.len());
    for ((step, a), (other_step, b)) in one.iter().zip(&other) {
        assert_eq!(step, other_step);
        assert!((a - b).abs() < 1e-5, "step {step}: {a} {b}");
    }
}

/// Adapters with dropout, parts beside them, pictures that are moved, and a score. The rate is small: AdamW steps by
/// it wherever a gradient is nothing but rounding, and at a large one two dozen losses show that.
const RECIPE: &str = "[train]
parts = [\"qformer\", \"language_projection\"]
[lora]
rank = 4
alpha = 8
dropout = 0.3
targets = [\"q_proj\", \"fc1\", \"qkv\"]
[recipe]
steps = 24
batch = 3
accumulate = 2
lr = 1e-4
warmup = 5
save_every = 3
evaluate_every = 8
gradient_checkpointing = false
[recipe.augmentation]
shift = 2
";

pub(crate) fn recipe(folder: &Path, out: &str) -> std::path::PathBuf {
    let path = config(folder, out, "");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("[validation]\n", "[validation]\nloss = true\n");
    fs::write(&path, text + RECIPE).unwrap();
    path
}

#[test]
fn two_processes_train_as_one() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    for checkpointing in [false, true] {
        let named = |name: &str| {
            let path = recipe(folder.path(), &format!("{name}-{checkpointing}"));
            let text = fs::read_to_string(&path).unwrap();
            let off = "gradient_checkpointing = false";
            assert!(text.contains(off));
            fs::write(
                &path,
                text.replace(off, &off.replace("false", &checkpointing.to_string())),
            )
            .unwrap();
            path
        };
        let [one, two, three] = ["one", "two", "three"].map(named);
        let alone = blip2().arg("train").arg(&one).output().unwrap();
        assert!(alone.status.success(), "{}", errors(&alone));
        for (size, path) in [(2, &two), (3, &three)] {
            let output = run(size, &["train", path.to_str().unwrap()]);
            assert!(output.status.success(), "{}", errors(&output));
            let text = errors(&output);
            assert_eq!(text.matches("before the first step").count(), 1, "{text}");
            assert!(text.contains(&format!("processes {size}")), "{text}");
            let [one, other] = [&one, path].map(|path| path.with_extension(""));
            assert_same(&one, &other);
            let scores = |out: &Path| fs::read_to_string(out.join("scores.jsonl")).unwrap();
            let score = |text: String| -> Vec<(f64, f64)> {
                let rows = text.lines().map(|line| {
                    let row: serde_json::Value = serde_json::from_str(line).unwrap();
                    (
                        row["value"].as_f64().unwrap(),
                        row["loss"].as_f64().unwrap(),
                    )
                });
                rows.collect()
            };
            let (one, other) = (score(scores(&one)), score(scores(&other)));
            assert_eq!(one.len(), 4);
            for (a, b) in one.iter().zip(&other) {
                assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-5, "{a:?} {b:?}");
            }
        }
    }
}

/// The processes that `mpirun` began.
fn began(mpirun: &Child) -> Vec<u32> {
    let pid = mpirun.id();
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let children = threads.flatten().map(|thread| {
        let children = fs::read_to_string(thread.path().join("children"));
        children.unwrap_or_default()
    });
    let children: Vec<String> = children.collect();
    let numbers = children.iter().flat_map(|text| text.split_whitespace());
    numbers.map(|number| number.parse().unwrap()).collect()
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until there is a state after `before`.
pub(crate) fn wait_for_state(states: &Path, before: &Option<std::ffi::OsString>) {
    let started = Instant::now();
    while newest(states) == *before && started.elapsed() < Duration::from_secs(120) {
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn wait(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "it hangs");
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_dead_worker_ends_all_and_any_number_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let whole = recipe(folder.path(), "whole");
    let output = blip2().arg("train").arg(&whole).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));

    let killed = recipe(folder.path(), "killed");
    let out = folder.path().join("killed");
    let states = out.join("states");
    let start = |size: usize| {
        let mut command = processes(size);
        command.arg("train").arg(&killed).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // Of two the second dies.
    let child = start(2);
    wait_for_state(&states, &None);
    let first: u32 = fs::read_to_string(out.join(".lock"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let second = began(&child).into_iter().find(|process| *process != first);
    signal("-KILL", second.unwrap());
    let output = wait(child);
    assert!(!output.status.success());
    let before = newest(&states);
    assert!(before.is_some());

    // Of three, which go on from there, all are asked to end.
    let child = start(3);
    wait_for_state(&states, &before);
    signal("-USR1", child.id());
    let output = wait(child);
    let text = errors(&output);
    if !output.status.success() {
        assert!(text.contains("going on after"), "{text}");
        assert_eq!(
            text.matches("the same command goes on from").count(),
            1,
            "{text}"
        );
    }

    // One makes the rest.
    let output = blip2().arg("train").arg(&killed).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    assert!(
        errors(&output).contains("going on after"),
        "{}",
        errors(&output)
    );
    assert_same(&folder.path().join("whole"), &out);
}

#[test]
fn what_is_refused_is_told_once_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "small", "[recipe]\nbatch = 1\nsteps = 2\n");
    let output = run(2, &["train", path.to_str().unwrap()]);
    assert!(!output.status.success());
    let text = errors(&output);
    assert_eq!(
        text.matches("is shared by 2 processes").count(),
        1,
        "{text}"
    );
    assert!(!folder.path().join("small").exists());

    // In use: the first process alone knows it.
    let path = config(folder.path(), "used", "[recipe]\nsteps = 2\n");
    let _lock = blip2_train::FolderLock::take(folder.path().join("used")).unwrap();
    let output = run(2, &["train", path.to_str().unwrap()]);
    let text = errors(&output);
    assert!(!output.status.success(), "{text}");
    assert_eq!(
        text.matches("is training in this folder").count(),
        1,
        "{text}"
    );
}
