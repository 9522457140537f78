//! What the tests share: tables of pictures, what the pipeline alone gives of them, and a cluster of
//! processes on this machine.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use blip2_core::{
    Blip2Pipeline, Options,
    preprocessing::{DecodeOptions, decode_bytes},
};
use blip2_io::tables::{TableFormat, TableWriter};
use datafusion::arrow::{
    array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema},
};

pub(crate) const DEMO: &str = "../../blip2-cli/demo";
pub(crate) const COLOR: &str = "what color is the shape?";
pub(crate) const SQL: &str = "SELECT id, blip2_answer(image, 'what color is the shape?') AS color, \
                       blip2_caption(image) AS caption FROM photos";
/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A row of the result.
pub(crate) type Row = (i64, String, String);

/// The example pictures' files.
pub(crate) fn pictures() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir("../../examples/images").unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "png"));
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Writes a table of so many files of so many rows.
pub(crate) fn table(folder: &Path, files: usize, rows: usize) {
    std::fs::create_dir_all(folder).unwrap();
    let pictures = pictures();
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("image", DataType::Binary, false),
    ];
    let schema = Arc::new(Schema::new(fields));
    for file in 0..files {
        let ids: Vec<i64> = (file * rows..(file + 1) * rows)
            .map(|id| id as i64)
            .collect();
        let images = ids
            .iter()
            .map(|id| &pictures[*id as usize % pictures.len()]);
        let images = BinaryArray::from_iter_values(images);
        let columns: Vec<Arc<dyn Array>> =
            vec![Arc::new(Int64Array::from(ids.clone())), Arc::new(images)];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let path = folder.join(format!("photos-{file:02}.parquet"));
        let mut writer = TableWriter::create(path, TableFormat::Parquet, &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
}

/// What the pipeline alone says of a table of so many rows.
pub(crate) fn alone(rows: usize) -> Vec<Row> {
    let blip2 = Blip2Pipeline::from_pretrained(DEMO).unwrap();
    let pictures = pictures();
    let decoded = pictures
        .iter()
        .map(|file| decode_bytes(file, &DecodeOptions::default()).unwrap());
    let images: Vec<_> = decoded.collect();
    let pairs = images.iter().map(|image| (image, COLOR));
    let colors = blip2.answer_batch(pairs, &Options::default()).unwrap();
    let captions = blip2.caption_batch(&images, &Options::default()).unwrap();
    let row = |id: usize| {
        let picture = id % images.len();
        (
            id as i64,
            colors[picture].text.clone(),
            captions[picture].text.clone(),
        )
    };
    (0..rows).map(row).collect()
}

/// The rows of batches, in the order of their ids.
pub(crate) fn rows_of(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let (colors, captions) = (
            batch.column(1).as_string::<i32>(),
            batch.column(2).as_string::<i32>(),
        );
        for row in 0..batch.num_rows() {
            rows.push((
                ids.value(row),
                colors.value(row).into(),
                captions.value(row).into(),
            ));
        }
    }
    rows.sort();
    rows
}

/// The rows of the files of a result.
pub(crate) fn rows_in(folder: &Path) -> Vec<Row> {
    let table = blip2_io::tables::Table::open(folder).unwrap();
    let batches = table.batches(0..table.rows(), 64).unwrap();
    let batches: Vec<_> = batches.collect::<Result<_, _>>().unwrap();
    rows_of(&batches)
}

/// The files of a result that are whole.
pub(crate) fn whole(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".parquet") && !name.starts_with('.')
    });
    paths.sort();
    paths
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A process that ends with the test.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(program: &str, log: PathBuf, args: &[&str]) -> Self {
        let said = File::create(&log).unwrap();
        let child = Command::new(program)
            .args(["--model", DEMO])
            .args(args)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many rows an executor has computed, by its log.
    pub(crate) fn computed(&self) -> usize {
        let said = self.said();
        let lines = said
            .lines()
            .filter(|line| line.contains("computed function="));
        let counts =
            lines.filter_map(|line| line.rsplit_once("rows=")?.1.trim().parse::<usize>().ok());
        counts.sum()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end; whether it was a good one.
    pub(crate) fn end(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(begun.elapsed() < PATIENCE, "does not end: {}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The numbers of the last line of `blip2-sql`: files, found, computed, rows, attempts made again.
    pub(crate) fn counts(&self) -> [usize; 5] {
        let said = self.said();
        let line = said.lines().last().unwrap_or_default();
        let numbers = line
            .split([' ', ':', ','])
            .filter_map(|word| word.parse().ok());
        let numbers: Vec<usize> = numbers.take(5).collect();
        numbers
            .try_into()
            .unwrap_or_else(|_| panic!("no summary: {said}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A scheduler, and executors of one thread and one place.
pub(crate) struct Cluster {
    pub(crate) port: u16,
    pub(crate) scheduler: Process,
    pub(crate) executors: Vec<Process>,
    logs: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start(executors: usize) -> Self {
        let logs = tempfile::tempdir().unwrap();
        let port = free_port();
        let number = port.to_string();
        let scheduler = Process::start(
            env!("CARGO_BIN_EXE_blip2-scheduler"),
            logs.path().join("scheduler"),
            &[
                "--port",
                &number,
                "--executor-timeout",
                "10",
                "--log",
                "info",
            ],
        );
        until("the scheduler listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        let mut cluster = Self {
            port,
            scheduler,
            executors: Vec::new(),
            logs,
        };
        for _ in 0..executors {
            cluster.add();
        }
        cluster
    }

    pub(crate) fn url(&self) -> String {
        format!("df://localhost:{}", self.port)
    }

    /// Starts another executor.
    pub(crate) fn add(&mut self) {
        let (scheduler, port) = (self.port.to_string(), free_port());
        let number = port.to_string();
        let log = self
            .logs
            .path()
            .join(format!("executor-{}", self.executors.len()));
        let args = [
            "--scheduler-port",
            &scheduler,
            "--port",
            &number,
            "--host",
            "localhost",
            "--threads",
            "1",
            "--slots",
            "1",
            "--batch",
            "4",
            "--rows",
            "16",
            "--log",
            "info,blip2_datafusion=debug",
        ];
        let executor = Process::start(env!("CARGO_BIN_EXE_blip2-executor"), log, &args);
        until("the executor listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        self.executors.push(executor);
    }

    /// Who computes what, for those who read a failure.
    pub(crate) fn told(&self) -> String {
        let executors = self.executors.iter().map(Process::said);
        let all: Vec<_> = std::iter::once(self.scheduler.said())
            .chain(executors)
            .collect();
        all.join("\n----\n")
    }
}

/// Starts `blip2-sql` over a table.
pub(crate) fn sql(log: PathBuf, input: &Path, output: &Path, more: &[&str]) -> Process {
    let table = format!("photos={}", input.display());
    let output = output.display().to_string();
    let args = [&[SQL, "--table", &table, "--output", &output], more].concat();
    Process::start(env!("CARGO_BIN_EXE_blip2-sql"), log, &args)
}
