//! A scheduler and executors as processes, of which some are killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::time::Duration;

use blip2_ballista::Session;
use blip2_datafusion::Functions;
use support::*;

const FILES: usize = 8;
const ROWS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_eight_files_survives_the_death_of_an_executor() {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), FILES, ROWS);
    let mut cluster = Cluster::start(2);
    let functions = Functions::declared(DEMO).unwrap();
    let session = Session::remote(cluster.url(), &functions).unwrap();
    let ctx = session.context(FILES).await.unwrap();
    let path = folder.path().to_str().unwrap();
    ctx.register_parquet("photos", path, Default::default())
        .await
        .unwrap();
    let query = ctx.sql(SQL).await.unwrap();
    let running = tokio::spawn(query.collect());

    until("both executors compute", || {
        cluster.executors.iter().all(|one| one.computed() > 0)
    });
    assert!(
        !running.is_finished(),
        "the query ended before anything was killed"
    );
    let (killed, other) = (
        cluster.executors[0].computed(),
        cluster.executors[1].computed(),
    );
    cluster.executors[0].kill();
    assert!(killed > 0 && other > 0, "{killed} {other}");

    let batches = tokio::time::timeout(PATIENCE, running).await;
    let batches = batches.unwrap_or_else(|_| panic!("the query hangs: {}", cluster.told()));
    let batches = batches
        .unwrap()
        .unwrap_or_else(|error| panic!("{error}: {}", cluster.told()));
    assert_eq!(rows_of(&batches), alone(FILES * ROWS));
    let by_other = cluster.executors[1].computed();
    assert!(
        by_other > other && by_other < 2 * FILES * ROWS + ROWS,
        "{other} {by_other}"
    );
}

#[test]
fn a_job_goes_on_after_its_client_and_an_executor_were_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    table(&input, FILES, ROWS);
    let mut cluster = Cluster::start(2);
    let url = cluster.url();
    let more = ["--scheduler", &url, "--at-once", "3"];

    let mut first = sql(folder.path().join("first"), &input, &output, &more);
    until("two files are there", || whole(&output).len() >= 2);
    first.kill();
    let done = whole(&output);
    let times: Vec<_> = done
        .iter()
        .map(|path| path.metadata().unwrap().modified().unwrap())
        .collect();
    assert!(done.len() < FILES, "the job ended before it was killed");

    let before = [0, 1].map(|one: usize| cluster.executors[one].computed());
    let mut second = sql(folder.path().join("second"), &input, &output, &more);
    until("both executors compute", || {
        (0..2).all(|one| cluster.executors[one].computed() > before[one]) || !second.is_running()
    });
    assert!(
        second.is_running(),
        "the job ended before an executor was killed: {}",
        second.said()
    );
    cluster.executors[0].kill();
    assert!(second.end(), "{}\n{}", second.said(), cluster.told());

    let [files, found, computed, rows, _] = second.counts();
    assert_eq!(
        [files, found, computed],
        [FILES, done.len(), FILES - done.len()]
    );
    assert_eq!(rows, computed * ROWS);
    for (path, time) in done.iter().zip(times) {
        assert_eq!(
            path.metadata().unwrap().modified().unwrap(),
            time,
            "{}",
            path.display()
        );
    }
    assert_eq!(rows_in(&output), alone(FILES * ROWS));
}

#[test]
fn executors_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let kills = std::env::var("BLIP2_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    let kills: usize = kills.unwrap_or(2);
    let files = FILES.max(4 * kills);
    table(&input, files, ROWS);
    let mut cluster = Cluster::start(1);
    let url = cluster.url();
    let more = ["--scheduler", &url, "--at-once", "2"];
    let mut job = sql(folder.path().join("job"), &input, &output, &more);
    let mut killed = 0;
    let mut moment = 17_u64;
    while killed < kills && job.is_running() {
        let before = cluster.executors[killed].computed();
        until("the executor computes", || {
            cluster.executors[killed].computed() > before || !job.is_running()
        });
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        std::thread::sleep(Duration::from_millis((moment >> 33) % 700));
        cluster.executors[killed].kill();
        killed += 1;
        cluster.add();
    }
    assert_eq!(killed, kills, "the job ended early: {}", job.said());
    assert!(job.end(), "{}\n{}", job.said(), cluster.told());
    let [_, found, computed, ..] = job.counts();
    assert_eq!([found, computed], [0, files]);
    assert_eq!(rows_in(&output), alone(files * ROWS));
}
