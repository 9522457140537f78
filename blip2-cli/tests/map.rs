//! `blip2 map`: a whole table through the model, in every form, stopped anywhere and gone on with.

#![cfg(feature = "tables")]
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use blip2_io::tables::{
    Table, TableFormat, TableWriter,
    arrow_array::{
        Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
        cast::AsArray, types::Float32Type,
    },
    arrow_schema::{DataType, Field},
};
use blip2_testing::fixture;
use serde_json::Value;

const QUESTION: &str = "what color is the shape?";

fn blip2(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .env("RAYON_NUM_THREADS", "1");
    command
}

fn run(arguments: &[&str]) -> Output {
    blip2(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

#[track_caller]
fn fails(arguments: &[&str], code: i32, says: &str) -> String {
    let output = run(arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {}",
        said(&output)
    );
    assert!(
        said(&output).contains(says),
        "{arguments:?}: {}",
        said(&output)
    );
    said(&output)
}

/// A picture of a colour of its own, as a PNG file's bytes.
fn picture(n: usize) -> Vec<u8> {
    let color = [(n * 37) as u8, (n * 101) as u8, (255 - n * 59 % 256) as u8];
    let image = image::RgbImage::from_fn(32, 32, |x, y| {
        let inside = (8..24).contains(&x) && (6..26).contains(&y);
        image::Rgb(if inside { color } else { [240, 240, 240] })
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    /// A folder `photos` of pictures.
    fn photos(&self, count: usize) {
        fs::create_dir(self.path("photos")).unwrap();
        for n in 0..count {
            fs::write(self.path(&format!("photos/{n:03}.png")), picture(n)).unwrap();
        }
    }

    /// `photos.parquet` as the hub has it: pictures in structs, questions and numbers beside them.
    fn hub_table(&self, count: usize) {
        let bytes = BinaryArray::from_iter_values((0..count).map(picture));
        let names = StringArray::from_iter_values((0..count).map(|n| format!("{n}.png")));
        let image = StructArray::from(vec![
            (
                Arc::new(Field::new("bytes", DataType::Binary, true)),
                Arc::new(bytes) as ArrayRef,
            ),
            (
                Arc::new(Field::new("path", DataType::Utf8, true)),
                Arc::new(names) as ArrayRef,
            ),
        ]);
        let questions = (0..count).map(|n| match n % 2 {
            0 => QUESTION,
            _ => "what shape is in the image?",
        });
        self.parquet(
            "photos.parquet",
            vec![
                ("n", Arc::new(Int64Array::from_iter_values(0..count as i64))),
                ("image", Arc::new(image)),
                (
                    "question",
                    Arc::new(StringArray::from_iter_values(questions)),
                ),
            ],
        );
    }

    fn parquet(&self, name: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer =
            TableWriter::create(self.path(name), TableFormat::Parquet, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }

    fn read(&self, name: &str) -> RecordBatch {
        let table = Table::open(self.path(name)).unwrap();
        let rows = table.rows();
        let mut batches = table.batches(0..rows, rows.max(1) as usize).unwrap();
        batches.next().unwrap().unwrap()
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    let array = batch.column_by_name(name).unwrap();
    let texts = array.as_string::<i32>();
    texts
        .iter()
        .map(|text| text.unwrap_or("null").to_string())
        .collect()
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    let array = batch.column_by_name(name).unwrap();
    array.as_primitive::<Float32Type>().iter().collect()
}

/// Every file of a folder but the lock, with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| !name.ends_with(".lock"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_form_of_input_gets_the_captions_of_the_command_for_pictures() {
    let place = Place::new();
    place.photos(7);
    place.hub_table(7);
    let captions = blip2(&["caption", &place.text("photos")]).output().unwrap();
    let due: Vec<String> = String::from_utf8(captions.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["caption"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    assert_eq!(due.len(), 7);
    let names: Vec<String> = (0..7).map(|n| format!("photos/{n:03}.png")).collect();
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("{{\"file_name\": \"{name}\", \"tags\": [1]}}\n"))
        .collect();
    fs::write(place.path("photos.jsonl"), lines.concat()).unwrap();
    fs::write(
        place.path("photos.csv"),
        format!(
            "id,image\n{}",
            names
                .iter()
                .map(|name| format!("1,{name}\n"))
                .collect::<String>()
        ),
    )
    .unwrap();
    let bytes = BinaryArray::from_iter_values((0..7).map(picture));
    place.parquet("bytes.parquet", vec![("img", Arc::new(bytes))]);
    let paths = StringArray::from_iter_values(&names);
    place.parquet("paths.parquet", vec![("where", Arc::new(paths))]);
    fs::create_dir(place.path("shards")).unwrap();
    fs::copy(
        place.path("photos.parquet"),
        place.path("shards/train-0.parquet"),
    )
    .unwrap();
    for (input, image) in [
        ("photos", None),
        ("photos.parquet", None),
        ("photos.jsonl", None),
        ("photos.csv", Some("image")),
        ("bytes.parquet", None),
        ("paths.parquet", Some("where")),
        ("shards", None),
    ] {
        let output = format!("{}.out.parquet", input.replace('.', "-"));
        let (from, to) = (place.text(input), place.text(&output));
        let mut arguments = vec![
            "map",
            &from,
            "-o",
            &to,
            "--caption",
            "--batch",
            "3",
            "--part-rows",
            "4",
        ];
        arguments.extend(image.into_iter().flat_map(|name| ["--image", name]));
        let told = succeeds(&arguments);
        assert!(told.contains("7 rows: 2 parts computed, 0 kept"), "{told}");
        let found = place.read(&output);
        assert_eq!(column(&found, "caption"), due, "{input}");
        assert_eq!(
            column(&found, "caption_finish_reason"),
            ["eos"; 7],
            "{input}"
        );
        assert!(
            numbers(&found, "caption_confidence")
                .iter()
                .all(|sure| sure.unwrap() > 0.0)
        );
        assert!(
            numbers(&found, "caption_log_prob")
                .iter()
                .all(|sum| sum.unwrap() <= 0.0)
        );
        assert_eq!(
            found.column_by_name("error").unwrap().null_count(),
            7,
            "{input}"
        );
        // What was there is carried through as it was.
        let input =
            Table::open(&from).or_else(|_| Table::of_pictures("", &[place.path("photos/000.png")]));
        for field in input.unwrap().schema().fields() {
            assert!(
                found.column_by_name(field.name()).is_some(),
                "{}",
                field.name()
            );
        }
        assert!(!place.path(&format!("{output}.parts")).exists());
    }
    let (before, after) = (
        place.read("photos.parquet"),
        place.read("photos-parquet.out.parquet"),
    );
    for name in ["n", "image", "question"] {
        assert_eq!(before.column_by_name(name), after.column_by_name(name));
    }
}

#[test]
fn several_things_at_once_are_what_each_is_alone() {
    let place = Place::new();
    place.hub_table(9);
    let input = place.text("photos.parquet");
    let map = |name: &str, more: &[&str]| {
        let output = place.text(name);
        let mut arguments = vec![
            "map",
            &input,
            "-o",
            &output,
            "--part-rows",
            "5",
            "--batch",
            "2",
        ];
        arguments.extend(more);
        succeeds(&arguments);
        place.read(name)
    };
    let all = map(
        "all.parquet",
        &[
            "--caption",
            "--answer",
            "question",
            "--rank",
            "red, blue, 'teal'",
            "--score",
            "question",
            "--embed",
            "--without",
            "image",
        ],
    );
    let caption = map("caption.parquet", &["--caption"]);
    let answer = map("answer.parquet", &["--answer", "question"]);
    let rank = map(
        "rank.parquet",
        &["--question", "question", "--rank", "red, blue, 'teal'"],
    );
    let embed = map("embed.parquet", &["--embed"]);
    for (alone, names) in [
        (
            &caption,
            [
                "caption",
                "caption_confidence",
                "caption_log_prob",
                "caption_finish_reason",
            ]
            .as_slice(),
        ),
        (
            &answer,
            &[
                "answer",
                "answer_confidence",
                "answer_log_prob",
                "answer_finish_reason",
            ],
        ),
        (&rank, &["best", "best_share", "best_log_prob", "shares"]),
        (&embed, &["embedding"]),
    ] {
        for name in names {
            assert_eq!(
                all.column_by_name(name),
                alone.column_by_name(name),
                "{name}"
            );
        }
    }
    assert!(all.column_by_name("image").is_none() && all.column_by_name("n").is_some());
    assert!(matches!(
        embed.column_by_name("embedding").unwrap().data_type(),
        DataType::FixedSizeList(..)
    ));
    let shares = rank
        .column_by_name("shares")
        .unwrap()
        .as_list::<i32>()
        .value(0);
    let sum: f32 = shares.as_primitive::<Float32Type>().values().iter().sum();
    assert!((sum - 1.0).abs() < 1e-3);
    assert!(
        numbers(&all, "score")
            .iter()
            .all(|score| score.unwrap() < 0.0)
    );
    let captions = map("score.parquet", &["--score", "question"]);
    assert_ne!(
        numbers(&captions, "score"),
        numbers(&all, "score"),
        "as captions, not as answers"
    );
}

#[test]
fn a_retrieval_model_matches_and_embeds() {
    let place = Place::new();
    let names = ["images/rgb_97x61.png", "images/rgb_640x427.jpg"];
    let lines =
        names.map(|name| format!("{{\"image\": {:?}, \"text\": \"a dog\"}}\n", fixture(name)));
    fs::write(
        place.path("in.jsonl"),
        format!(
            "{}{{\"image\": \"none.png\", \"text\": \"a dog\"}}\n",
            lines.concat()
        ),
    )
    .unwrap();
    let (input, output) = (place.text("in.jsonl"), place.text("out.jsonl"));
    for model in ["blip2_itr", "blip1_itr"] {
        let model = fixture(model).to_str().unwrap().to_string();
        let told = succeeds(&[
            "map",
            &input,
            "-o",
            &output,
            "--match",
            "text",
            "--embed",
            "--model",
            &model,
            "--restart",
        ]);
        assert!(
            told.contains("1 of 3 rows have an error, which the column `error` tells"),
            "{told}"
        );
        let found = place.lines("out.jsonl");
        for (line, name) in found.iter().zip(names) {
            let alone = run(&[
                "match",
                fixture(name).to_str().unwrap(),
                "a dog",
                "--json",
                "--model",
                &model,
            ]);
            let alone: Value = serde_json::from_slice(&alone.stdout).unwrap();
            for (own, other) in [
                ("match_probability", "match_probability"),
                ("similarity", "similarity"),
            ] {
                let difference = line[own].as_f64().unwrap() - alone[other].as_f64().unwrap();
                assert!(difference.abs() < 1e-5, "{line} {alone}");
            }
            assert!(
                line["embedding"]
                    .as_array()
                    .is_some_and(|vector| !vector.is_empty())
            );
        }
        assert_eq!(found[2]["match_probability"], Value::Null);
        assert!(found[2]["error"].as_str().unwrap().contains("none.png"));
    }
    fails(
        &[
            "map",
            &input,
            "-o",
            &place.text("x"),
            "--caption",
            "--model",
            fixture("blip2_itr").to_str().unwrap(),
        ],
        2,
        "writes none",
    );
    fails(
        &["map", &input, "-o", &place.text("y"), "--match", "text"],
        2,
        "retrieval checkpoint",
    );
}

#[test]
fn a_row_that_fails_has_its_error_and_the_rest_goes_on() {
    let place = Place::new();
    let broken = [
        Some(picture(1)),
        None,
        Some(b"no picture".to_vec()),
        Some(picture(2)),
        Some(picture(3)),
    ];
    let questions = [
        Some(QUESTION),
        Some(QUESTION),
        Some(QUESTION),
        None,
        Some("  "),
    ];
    place.parquet(
        "in.parquet",
        vec![
            (
                "image",
                Arc::new(broken.iter().map(Option::as_deref).collect::<BinaryArray>()),
            ),
            ("question", Arc::new(StringArray::from(questions.to_vec()))),
        ],
    );
    let (input, output) = (place.text("in.parquet"), place.text("out"));
    let arguments = [
        "map",
        &input,
        "-o",
        &output,
        "--answer",
        "question",
        "--part-rows",
        "2",
    ];
    let told = succeeds(&arguments);
    assert!(told.contains("4 of 5 rows have an error"), "{told}");
    let found = place.read("out");
    let errors = column(&found, "error");
    for (error, due) in errors.iter().zip([
        "null",
        "there is no picture in the column `image`",
        "format",
        "there is no text in the column `question`",
        "the question is empty",
    ]) {
        assert!(error.contains(due), "{errors:?}");
    }
    assert_ne!(column(&found, "answer")[0], "null");
    assert_eq!(column(&found, "answer")[1..], ["null"; 4]);
    // What failed is counted again where nothing is left to do.
    let again: Vec<&str> = arguments.into_iter().chain(["--fail-on-error"]).collect();
    let told = fails(&again, 1, "4 of 5 rows have an error");
    assert!(told.contains("0 parts computed, 3 kept"), "{told}");
}

#[test]
fn what_a_table_lacks_is_said_before_a_model_is_loaded() {
    let place = Place::new();
    place.hub_table(3);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    place.parquet(
        "numbers.parquet",
        vec![("image", Arc::clone(&numbers)), ("caption", numbers)],
    );
    let (input, wrong, out) = (
        place.text("photos.parquet"),
        place.text("numbers.parquet"),
        place.text("out"),
    );
    let missing = place.text("no-model");
    let case = |input: &str, more: &[&str], code, says| {
        let mut arguments = vec!["map", input, "-o", &out, "--model", &missing];
        arguments.extend(more);
        let told = fails(&arguments, code, says);
        assert!(!told.contains("panicked"), "{told}");
    };
    case(
        &wrong,
        &["--embed"],
        1,
        "give --image one of image, caption",
    );
    case(
        &wrong,
        &["--embed", "--image", "image"],
        1,
        "the column `image` holds Int64",
    );
    case(
        &input,
        &["--answer", "n"],
        1,
        "the column `n` holds Int64, where --answer needs texts",
    );
    case(
        &input,
        &["--answer", "qestion"],
        1,
        "the column `qestion` is not there; the columns are n, image, question",
    );
    case(&input, &["--rank", "a,b"], 2, "give their question");
    case(
        &input,
        &["--embed", "--without", "nn"],
        1,
        "the column `nn` is not there",
    );
    case(
        &input,
        &["--caption", "--num-return-sequences", "2", "--beams", "2"],
        2,
        "one text of each kind",
    );
    case(&input, &[], 2, "--caption");
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([picture(0)]));
    place.parquet(
        "taken.parquet",
        vec![
            ("image", bytes),
            ("caption", Arc::new(StringArray::from(vec!["x"]))),
        ],
    );
    case(
        &place.text("taken.parquet"),
        &["--caption"],
        1,
        "the column `caption` is there already",
    );
    assert!(!place.path("out").exists());
    fails(&["map", &input, "-o", &input, "--caption"], 2, "is read");
    fails(
        &["map", &input, "-o", &place.text("out.csv"), "--caption"],
        2,
        "ends in .parquet or .jsonl",
    );
    let told = succeeds(&[
        "map",
        &place.text("taken.parquet"),
        "-o",
        &place.text("new.parquet"),
        "--caption",
        "--prefix",
        "new_",
    ]);
    assert!(told.contains("1 rows"), "{told}");
    assert_eq!(column(&place.read("new.parquet"), "caption"), ["x"]);
    assert!(
        place
            .read("new.parquet")
            .column_by_name("new_caption")
            .is_some()
    );
}

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
    place.hub_table(600);
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
            told.contains(&format!("{} parts computed, {before} kept", 60 - before))
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
    let left: Vec<_> = fs::read_dir(place.folder.path())
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

#[test]
fn a_run_that_is_asked_otherwise_is_refused_with_the_way_out() {
    let place = Place::new();
    place.hub_table(6);
    let (input, output) = (place.text("photos.parquet"), place.text("out"));
    let base = ["map", &input, "-o", &output, "--part-rows", "4"];
    let with = |more: &[&'static str]| {
        base.iter()
            .copied()
            .chain(more.iter().copied())
            .collect::<Vec<_>>()
    };
    succeeds(&with(&["--answer", "question"]));
    for (other, says) in [
        (
            ["--answer", "what color is it?"].as_slice(),
            "--answer was \"question\" and is \"what color is it?\"",
        ),
        (
            &["--answer", "question", "--beams", "3"],
            "--beams was [\"1\"] and is [\"3\"]",
        ),
        (
            &["--answer", "question", "--precision", "int8"],
            "--precision was not given and is \"int8\"",
        ),
        (
            &["--answer", "question", "--embed"],
            "--embed was false and is true",
        ),
    ] {
        let told = fails(&with(other), 1, says);
        assert!(
            told.contains("--restart") && told.contains("--output another name"),
            "{told}"
        );
    }
    // A later option of the same name holds.
    let rows = base
        .iter()
        .map(|part| if *part == "4" { "5" } else { part });
    let rows: Vec<&str> = rows.chain(["--answer", "question"]).collect();
    fails(&rows, 1, "--part-rows was 4 and is 5");
    place.hub_table(7);
    fails(
        &with(&["--answer", "question"]),
        1,
        "the input has changed since (6 rows then, 7 now)",
    );
    let told = succeeds(&with(&["--answer", "question", "--restart"]));
    assert!(told.contains("7 rows: 2 parts computed, 0 kept"), "{told}");
    fs::write(place.path("foreign.parquet"), "x").unwrap();
    fails(
        &[
            "map",
            &input,
            "-o",
            &place.text("foreign.parquet"),
            "--caption",
        ],
        1,
        "does not know what made it",
    );
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

#[test]
fn a_table_without_a_row_gives_one() {
    let place = Place::new();
    fs::write(place.path("in.csv"), "image,question\n").unwrap();
    let (input, output) = (place.text("in.csv"), place.text("out.parquet"));
    succeeds(&["map", &input, "-o", &output, "--answer", "question"]);
    let table = Table::open(&output).unwrap();
    assert_eq!((table.rows(), table.schema().fields().len()), (0, 7));
}
