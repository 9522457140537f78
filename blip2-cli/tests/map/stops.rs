//! Stopped anywhere, and gone on with.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::helpers::{Place, blip2, fails, files, said, succeeds};

/// When each part of a folder was written.
fn parts(folder: &Path) -> BTreeMap<String, SystemTime> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    let entries = entries.map(Result::unwrap);
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("part-"))
        .map(|entry| {
            let written = entry.metadata().unwrap().modified().unwrap();
            (entry.file_name().into_string().unwrap(), written)
        })
        .collect()
}

fn start(arguments: &[&str]) -> Child {
    let mut command = blip2(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Numbers that look random and are the same each time.
fn pauses() -> impl Iterator<Item = Duration> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(Duration::from_millis(30 + state % 400))
    })
}

#[test]
fn killed_at_ten_moments_it_ends_as_if_undisturbed_and_computes_no_part_twice() {
    let place = Place::new();
    place.hub_table(240);
    let input = place.text("photos.parquet");
    for (due, output, kept) in [
        ("due", "out", "out"),
        ("due.jsonl", "out.jsonl", "out.jsonl.parts"),
    ] {
        let arguments = |name: &str| {
            let options = [
                "--answer",
                "question",
                "--embed",
                "--part-rows",
                "10",
                "--batch",
                "4",
            ];
            let head = [
                "map".to_string(),
                input.clone(),
                "-o".into(),
                place.text(name),
            ];
            head.into_iter()
                .chain(options.map(Into::into))
                .collect::<Vec<String>>()
        };
        let (of_due, of_output) = (arguments(due), arguments(output));
        let of_due: Vec<&str> = of_due.iter().map(String::as_str).collect();
        let of_output: Vec<&str> = of_output.iter().map(String::as_str).collect();
        succeeds(&of_due);
        let mut finished = BTreeMap::new();
        let mut kills = 0;
        for pause in pauses().take(10) {
            let mut child = start(&of_output);
            thread::sleep(pause);
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                kills += 1;
            }
            child.wait().unwrap();
            let now = parts(&place.path(kept));
            if place.path(output).is_file() {
                break;
            }
            for (name, written) in &finished {
                assert_eq!(now.get(name), Some(written), "{name} was made once");
            }
            finished = now;
        }
        assert!(kills > 0);
        let before = finished.len();
        let told = succeeds(&of_output);
        assert!(
            told.contains(&format!("{} parts computed, {before} kept", 24 - before))
                || told.contains("all rows were done before"),
            "{before}: {told}"
        );
        if place.path(output).is_dir() {
            let now = parts(&place.path(kept));
            assert!(
                finished
                    .iter()
                    .all(|(name, written)| now.get(name) == Some(written))
            );
            assert_eq!(files(&place.path(output)), files(&place.path(due)));
        } else {
            assert_eq!(
                fs::read(place.path(output)).unwrap(),
                fs::read(place.path(due)).unwrap()
            );
            assert!(!place.path(kept).exists());
        }
        let told = succeeds(&of_output);
        assert!(
            told.contains("all rows were done before") || told.contains("0 parts computed"),
            "{told}"
        );
    }
    let left: Vec<_> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().ends_with(".partial")),
        "{left:?}"
    );
}

#[test]
fn a_batch_is_no_setting_and_threads_change_no_byte() {
    let place = Place::new();
    place.hub_table(40);
    let input = place.text("photos.parquet");
    let outputs = ["1", "7", "16"].map(|batch| {
        let output = place.text(&format!("out-{batch}.parquet"));
        let arguments = [
            "map",
            &input,
            "-o",
            &output,
            "--caption",
            "--embed",
            "--part-rows",
            "9",
            "--batch",
            batch,
        ];
        let mut command = blip2(&arguments);
        let ended = command.env("RAYON_NUM_THREADS", "2").output().unwrap();
        assert!(ended.status.success(), "{}", said(&ended));
        fs::read(output).unwrap()
    });
    assert!(outputs.iter().all(|bytes| *bytes == outputs[0]));
}

#[cfg(unix)]
#[test]
fn of_two_at_once_the_second_is_refused_and_an_interrupt_leaves_whole_parts() {
    let place = Place::new();
    place.hub_table(3000);
    let (input, output) = (place.text("photos.parquet"), place.text("out"));
    let arguments = [
        "map",
        &input,
        "-o",
        &output,
        "--caption",
        "--part-rows",
        "20",
        "--batch",
        "4",
    ];
    let mut command = blip2(&arguments);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while parts(&place.path("out")).is_empty() {
        assert!(Instant::now() < patience, "no part in a minute");
        thread::sleep(Duration::from_millis(5));
    }
    fails(&arguments, 1, "another process is writing it");
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", said(&ended));
    let told = said(&ended);
    assert!(
        told.contains("of 3000 rows are done; the same command goes on from there"),
        "{told}"
    );
    let left = files(&place.path("out"));
    assert!(
        left.keys().all(|name| !name.ends_with(".partial")),
        "{:?}",
        left.keys()
    );
    for path in parts(&place.path("out")).keys() {
        assert_eq!(place.read(&format!("out/{path}")).num_rows(), 20);
    }
}
