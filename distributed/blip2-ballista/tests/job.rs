//! `blip2-sql` on one machine: results, kills, refusals.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::{path::Path, thread, time::Duration};

use support::*;

const FILES: usize = 12;
const ROWS: usize = 24;
const LIGHT: [&str; 4] = ["--threads", "1", "--batch", "4"];

#[test]
fn what_was_killed_ten_times_is_what_an_undisturbed_job_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let calm = folder.path().join("calm");
    table(&input, FILES, ROWS);
    let mut undisturbed = sql(folder.path().join("log"), &input, &calm, &LIGHT);
    assert!(undisturbed.end(), "{}", undisturbed.said());
    assert_eq!(undisturbed.counts(), [FILES, 0, FILES, FILES * ROWS, 0]);
    assert_eq!(rows_in(&calm), alone(FILES * ROWS));

    let (mut moment, mut in_the_middle) = (11_u64, 0);
    for _ in 0..10 {
        let before = whole(&output);
        if before.len() == FILES {
            // Killed late each time: what is left of the ten begins anew.
            std::fs::remove_file(&before[FILES / 2]).unwrap();
            continue;
        }
        let done = times(&before);
        let mut job = sql(folder.path().join("killed"), &input, &output, &LIGHT);
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        until("it works", || {
            job.said().contains("rows") || !job.is_running()
        });
        thread::sleep(Duration::from_millis((moment >> 33) % 400));
        in_the_middle += usize::from(job.is_running());
        job.kill();
        assert_eq!(times(&before), done, "what was done was computed again");
    }
    assert!(
        in_the_middle >= 3,
        "{in_the_middle} of the kills were in the middle"
    );
    let before = whole(&output);
    let mut last = sql(folder.path().join("last"), &input, &output, &LIGHT);
    assert!(last.end(), "{}", last.said());
    assert_eq!(
        last.counts()[..3],
        [FILES, before.len(), FILES - before.len()]
    );
    for (ours, calm) in whole(&output).iter().zip(whole(&calm)) {
        assert!(
            std::fs::read(ours).unwrap() == std::fs::read(&calm).unwrap(),
            "{}",
            ours.display()
        );
    }
    let left = std::fs::read_dir(&output).unwrap();
    let left = left.filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "partial")
    });
    assert_eq!(left.count(), 0);
}

fn times(files: &[std::path::PathBuf]) -> Vec<std::time::SystemTime> {
    let times = files
        .iter()
        .map(|path| path.metadata().unwrap().modified().unwrap());
    times.collect()
}

/// Runs what must fail, and gives what is said.
fn refused(folder: &Path, args: &[&str]) -> String {
    let log = folder.join("refused");
    let mut job = Process::start(env!("CARGO_BIN_EXE_blip2-sql"), log, args);
    assert!(!job.end(), "{args:?} succeeds");
    let said = job.said();
    assert!(said.lines().count() < 20, "{said}");
    said
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    table(&input, 1, 2);
    let photos = format!("photos={}", input.display());
    let (inside, outside) = (input.display().to_string(), output.display().to_string());
    let run = |sql: &str, table: &str, output: &str| {
        refused(folder.path(), &[sql, "--table", table, "--output", output])
    };
    let cases = [
        (
            run("SELECT blip2_caption(id) FROM photos", &photos, &outside),
            "`id`, is of type Int64",
        ),
        (
            run(
                "SELECT blip2_match(image, 'a') FROM photos",
                &photos,
                &outside,
            ),
            "blip2_match",
        ),
        (run("SELEKT 1", &photos, &outside), "SELEKT"),
        (run("SELECT 1", &photos, &inside), "--output another"),
        (run("SELECT 1", "photos", &outside), "NAME=PATH"),
        (run("SELECT 1", "photos=nowhere", &outside), "nowhere"),
        (
            run("SELECT 1", &format!("photos={outside}"), "elsewhere"),
            "no files that end in .parquet",
        ),
        (
            refused(
                folder.path(),
                &[
                    "SELECT 1", "--table", &photos, "--output", &outside, "--beams", "0",
                ],
            ),
            "num_beams",
        ),
    ];
    for (said, why) in cases {
        assert!(said.contains(why), "{why}: {said}");
    }
    let _ = std::fs::remove_dir("elsewhere");
}

#[test]
fn another_query_does_not_go_on_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    table(&input, 2, 2);
    let mut first = sql(folder.path().join("first"), &input, &output, &LIGHT);
    assert!(first.end(), "{}", first.said());
    let photos = format!("photos={}", input.display());
    let there = output.display().to_string();
    let other = [
        "SELECT id FROM photos",
        "--table",
        &photos,
        "--output",
        &there,
    ];
    let said = refused(folder.path(), &other);
    assert!(
        said.contains("the query was") && said.contains("--restart"),
        "{said}"
    );

    // A file that is added is computed; one that changed is refused.
    table(&input, 3, 2);
    let mut second = sql(folder.path().join("second"), &input, &output, &LIGHT);
    assert!(second.end(), "{}", second.said());
    assert_eq!(second.counts()[..3], [3, 2, 1]);
    table(&input, 1, 9);
    let mut changed = sql(folder.path().join("changed"), &input, &output, &LIGHT);
    assert!(!changed.end());
    assert!(
        changed.said().contains("photos-00.parquet has changed"),
        "{}",
        changed.said()
    );

    let restart = [&other[..], &["--restart"]].concat();
    let mut anew = Process::start(
        env!("CARGO_BIN_EXE_blip2-sql"),
        folder.path().join("anew"),
        &restart,
    );
    assert!(anew.end(), "{}", anew.said());
    assert_eq!(anew.counts()[..3], [3, 0, 3]);
    let stray = folder.path().join("stray");
    table(&stray, 1, 1);
    let mut foreign = sql(folder.path().join("foreign"), &input, &stray, &LIGHT);
    assert!(!foreign.end());
    assert!(
        foreign.said().contains("no such job wrote"),
        "{}",
        foreign.said()
    );
    assert_eq!(whole(&stray).len(), 1);
}
