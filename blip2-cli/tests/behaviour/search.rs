//! The program's commands for retrieval, from end to end.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/blip2_itr");
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");

/// Runs the program in a folder.
fn blip2(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("BLIP2_MODEL")
        .env_remove("BLIP2_RETRIEVAL_MODEL")
        .output()
        .unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32, parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

/// A folder `photos` of pictures that differ.
fn photos(count: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    for n in 0..count {
        image::RgbImage::from_fn(48, 32, |x, y| {
            image::Rgb([(x * 5) as u8 ^ n, (y * 7) as u8, n.wrapping_mul(40)])
        })
        .save(folder.path().join(format!("photos/{n}.png")))
        .unwrap();
    }
    folder
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn texts_are_matched_with_a_picture() {
    let folder = photos(1);
    let picture = "photos/0.png";
    let texts = ["two dogs in the park", "a plate of food"];
    let arguments = ["match", picture, texts[0], texts[1], "--model", MODEL];
    let text = stdout(&blip2(folder.path(), &arguments));
    assert_eq!(text.lines().count(), 2);
    for (line, text) in text.lines().zip(texts) {
        assert!(
            line.starts_with("match 0.") && line.ends_with(text),
            "{line}"
        );
    }
    let arguments = ["match", picture, texts[0], "--model", MODEL, "--json"];
    let found = &lines(&stdout(&blip2(folder.path(), &arguments)))[0];
    let probability = found["match_probability"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&probability));
    assert_eq!(found["text"], texts[0]);
}

#[test]
fn an_index_is_made_searched_drawn_and_changed() {
    let folder = photos(4);
    let run = |arguments: &[&str]| {
        let model: &[&str] = match arguments[1] {
            "add" | "search" => &["--model", MODEL],
            _ => &[],
        };
        blip2(folder.path(), &[arguments, model].concat())
    };
    stdout(&run(&["index", "add", "my.idx", "photos"]));
    let names = stdout(&run(&["index", "list", "my.idx"]));
    assert_eq!(names.lines().count(), 4);

    let search = ["index", "search", "my.idx", "a dog", "--limit", "3"];
    let sheet = [&search[..], &["--sheet", "sheet.png", "--json"]].concat();
    let hits = lines(&stdout(&run(&sheet)));
    assert_eq!(hits.len(), 3);
    assert!(hits[0]["score"].as_f64() >= hits[1]["score"].as_f64());
    assert_eq!(hits[0]["rank"], 1);
    let drawn = image::open(folder.path().join("sheet.png")).unwrap();
    assert_eq!(drawn.width(), 3 * (192 + 12) + 12);

    let alike = ["index", "search", "my.idx", "--image", "photos/2.png"];
    let first = stdout(&run(&alike));
    let first = first.lines().next().unwrap();
    assert!(
        first.contains("+1.0000") && first.ends_with("photos/2.png"),
        "{first}"
    );

    // Again nothing is added, and what is removed is not found.
    let again = run(&["index", "add", "my.idx", "photos"]);
    fails_not(&again, "0 added, 4 there already");
    let gone = hits[0]["image"].as_str().unwrap();
    stdout(&run(&["index", "remove", "my.idx", gone]));
    let left = lines(&stdout(&run(&[&search[..], &["--json"]].concat())));
    assert!(left.iter().all(|hit| hit["image"] != gone));
    let missing = run(&["index", "remove", "my.idx", "photos/1.png", gone]);
    fails(&missing, 1, &["my.idx", gone, "nothing was removed"]);
    assert_eq!(
        stdout(&run(&["index", "list", "my.idx"])).lines().count(),
        3
    );

    // Files that are gone; but not all, as in another folder than the index was made in.
    let prune = ["index", "remove", "my.idx", "--missing"];
    fails_not(&run(&prune), "0 removed, 3 left");
    let lost = ["photos/0.png", "photos/1.png"].map(|name| folder.path().join(name));
    let was_there = names.lines().filter(|name| *name != gone);
    let expected: Vec<_> = was_there
        .filter(|name| lost.iter().any(|lost| lost.ends_with(name)))
        .collect();
    for lost in lost {
        std::fs::remove_file(lost).unwrap();
    }
    let output = run(&prune);
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), expected);
    let left = 3 - expected.len();
    fails_not(&run(&prune), &format!("0 removed, {left} left"));
    std::fs::remove_dir_all(folder.path().join("photos")).unwrap();
    fails(
        &run(&prune),
        1,
        &["my.idx", "nothing was removed", "in the folder in which"],
    );
    let listed = stdout(&run(&["index", "list", "my.idx"]));
    assert_eq!(listed.lines().count(), left);
}

#[track_caller]
fn fails_not(output: &Output, part: &str) {
    stdout(output);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(part), "{error}");
}

/// A long list is saved on the way, and goes on from the saved file.
#[test]
fn a_long_list_is_saved_on_the_way() {
    let folder = photos(150);
    let add = ["index", "add", "my.idx", "photos", "--model", MODEL];
    fails_not(&blip2(folder.path(), &add), "150 added");
    let names = stdout(&blip2(folder.path(), &["index", "list", "my.idx"]));
    let mut names: Vec<_> = names.lines().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 150);
}

/// Files that have changed are encoded anew where that is asked for.
#[test]
fn pictures_are_replaced_when_asked_for() {
    let folder = photos(3);
    let add = ["index", "add", "my.idx", "photos", "--model", MODEL];
    fails_not(&blip2(folder.path(), &add), "3 added");
    let at = |name: &str| folder.path().join("photos").join(name);
    std::fs::copy(at("2.png"), folder.path().join("changed.png")).unwrap();
    std::fs::rename(at("1.png"), at("2.png")).unwrap();
    std::fs::rename(folder.path().join("changed.png"), at("1.png")).unwrap();
    let best = || {
        let search = ["index", "search", "my.idx", "--image", "photos/1.png"];
        let search = [&search[..], &["--json", "--model", MODEL]].concat();
        let found = lines(&stdout(&blip2(folder.path(), &search)));
        found[0]["image"].as_str().unwrap().to_string()
    };
    fails_not(&blip2(folder.path(), &add), "0 added, 3 there already");
    assert_eq!(best(), "photos/2.png", "what it was added as");
    let replace = [&add[..], &["--replace", "--batch", "2"]].concat();
    fails_not(
        &blip2(folder.path(), &replace),
        "0 added, 3 replaced, 0 there already, 3 together",
    );
    assert_eq!(best(), "photos/1.png");
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_encoded() {
    let folder = photos(255);
    let add = ["index", "add", "my.idx", "photos", "--batch", "1"];
    let add = [&add[..], &["--model", MODEL]].concat();
    let process = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(&add)
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    while !folder.path().join("my.idx").exists() {
        assert!(began.elapsed() < std::time::Duration::from_secs(60));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let id = process.id().to_string();
    let told = Command::new("kill").args(["-INT", &id]).status();
    assert!(told.unwrap().success());
    let ended = process.wait_with_output().unwrap();
    fails(&ended, 130, &["of 255 pictures are done", "goes on"]);
    let names = || stdout(&blip2(folder.path(), &["index", "list", "my.idx"]));
    let done = names().lines().count();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains(&format!("{done} of 255")), "{said}");
    assert!((64..255).contains(&done), "{done}");
    fails_not(
        &blip2(folder.path(), &add),
        &format!("{done} there already, 255 together"),
    );
    assert_eq!(names().lines().count(), 255);
}

#[test]
fn a_broken_picture_stops_no_other() {
    let folder = photos(2);
    std::fs::write(folder.path().join("photos/x.png"), b"no picture").unwrap();
    let add = ["index", "add", "my.idx", "photos", "--model", MODEL];
    fails(
        &blip2(folder.path(), &add),
        1,
        &["x.png", "1 of 3 pictures"],
    );
    let names = stdout(&blip2(folder.path(), &["index", "list", "my.idx"]));
    assert_eq!(names.lines().count(), 2);
}

/// What cannot be a picture's name in an index is told, and stops no other; subfolders are looked through if asked.
#[test]
fn a_name_that_cannot_be_stops_no_other() {
    let folder = photos(2);
    let within = folder.path().join("photos/more");
    std::fs::create_dir(&within).unwrap();
    let first = folder.path().join("photos/0.png");
    std::fs::copy(&first, within.join("within.png")).unwrap();
    std::fs::copy(&first, folder.path().join("photos/a\tb.png")).unwrap();
    let add = ["index", "add", "my.idx", "photos", "-r", "--model", MODEL];
    fails(
        &blip2(folder.path(), &add),
        1,
        &["control character", "rename it", "1 of 4 pictures"],
    );
    let names = stdout(&blip2(folder.path(), &["index", "list", "my.idx"]));
    assert_eq!(names.lines().count(), 3);
    assert!(names.contains("within.png"), "{names}");
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = photos(1);
    let run = |arguments: &[&str]| blip2(folder.path(), arguments);
    let picture = "photos/0.png";
    let wrong = run(&["match", picture, "a dog", "--model", DEMO]);
    fails(
        &wrong,
        1,
        &["Blip2ForConditionalGeneration", "`blip2 answer`"],
    );
    let wrong = run(&["answer", picture, "what?", "--model", MODEL]);
    fails(&wrong, 1, &["Blip2ForImageTextRetrieval", "`blip2 match`"]);
    fails(&run(&["match", picture, "a dog"]), 2, &["--model"]);
    fails(&run(&["match", picture, "--model", MODEL]), 2, &["TEXTS"]);
    fails(
        &run(&["index", "search", "no.idx", "--model", MODEL]),
        2,
        &["<TEXT>"],
    );
    let missing = run(&["index", "search", "no.idx", "a dog", "--model", MODEL]);
    fails(&missing, 1, &["no.idx"]);
    std::fs::write(folder.path().join("bad.idx"), b"BLIP2IDX").unwrap();
    fails(
        &run(&["index", "list", "bad.idx"]),
        1,
        &["bad.idx", "cut short"],
    );
    let long = vec!["dog"; 60].join(" ");
    let long = run(&["match", picture, &long, "--model", MODEL]);
    fails(&long, 1, &["62 tokens", "40 positions"]);
}

#[test]
fn inspect_says_what_a_folder_can_do() {
    let folder = photos(0);
    let text = stdout(&blip2(folder.path(), &["inspect", MODEL]));
    for part in [
        "Blip2ForImageTextRetrieval",
        "match pictures with texts",
        "itm_head",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let json = stdout(&blip2(folder.path(), &["inspect", MODEL, "--json"]));
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["abilities"][0], "match pictures with texts");
    assert_eq!(found["language_model"], Value::Null);
}

#[test]
fn two_that_add_at_once_both_find_their_pictures_in_the_index() {
    let folder = photos(24);
    let add = |which: &str| {
        Command::new(env!("CARGO_BIN_EXE_blip2"))
            .args(["index", "add", "photos.idx", which, "--model", MODEL])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut adding = ["photos/?.png", "photos/1?.png", "photos/2?.png"].map(add);
    for process in &mut adding {
        assert!(process.wait().unwrap().success());
    }
    let listed = stdout(&blip2(folder.path(), &["index", "list", "photos.idx"]));
    assert_eq!(listed.lines().count(), 24, "{listed}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "no lock and nothing half written: {left:?}");
}

#[test]
fn frames_of_animations_are_compared_and_found_by_their_numbers() {
    let folder = photos(2);
    let frames = [0, 1, 2].map(|n| {
        image::RgbaImage::from_fn(48, 32, |x, y| {
            image::Rgba([(x * 5) as u8, (y * 7) as u8 ^ (n * 90), n * 80, 255])
        })
    });
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    for frame in frames {
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    std::fs::write(folder.path().join("photos/moving.gif"), gif).unwrap();
    let run = |arguments: &[&str]| blip2(folder.path(), &[arguments, &["--model", MODEL]].concat());

    let compare = ["match", "photos/moving.gif", "a dog", "--json", "--frame"];
    let all = lines(&stdout(&run(&[&compare[..], &["all"]].concat())));
    let numbers: Vec<_> = all
        .iter()
        .map(|line| line["frame"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    let third = &lines(&stdout(&run(&[&compare[..], &["3"]].concat())))[0];
    assert_eq!(third["match_logit"], all[2]["match_logit"]);
    assert_ne!(third["match_logit"], all[0]["match_logit"]);

    stdout(&run(&[
        "index",
        "add",
        "photos.idx",
        "photos",
        "--frame",
        "all",
    ]));
    let again = run(&["index", "add", "photos.idx", "photos", "--frame", "all"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.contains("0 added, 3 there already, 5 together"),
        "{said}"
    );
    let names = stdout(&blip2(folder.path(), &["index", "list", "photos.idx"]));
    assert!(
        names.lines().any(|name| name == "photos/moving.gif#3"),
        "{names}"
    );
    let search = [
        "index",
        "search",
        "photos.idx",
        "--image",
        "photos/moving.gif",
        "--json",
    ];
    let found = lines(&stdout(&run(&[
        &search[..],
        &["--frame", "2", "--sheet", "s.png"],
    ]
    .concat())));
    assert_eq!(found[0]["image"], "photos/moving.gif#2");
    let several = run(&[&search[..], &["--frame", "all"]].concat());
    fails(&several, 2, &["give a frame's number"]);
}

#[test]
fn vectors_alone_are_searched_as_an_index_is_by_similarity() {
    let folder = photos(5);
    let run = |arguments: &[&str]| stdout(&blip2(folder.path(), arguments));
    run(&["index", "add", "my.idx", "photos", "--model", MODEL]);
    run(&["index", "export", "my.idx", "-o", "exported.npy"]);
    run(&["embed", "photos", "-o", "embedded.npy", "--model", MODEL]);
    let of = |file: &str, rerank: &[&str]| -> Vec<(String, f64)> {
        let search = [
            "index", "search", file, "a dog", "--json", "--limit", "4", "--model", MODEL,
        ];
        let hits = lines(&run(&[&search[..], rerank].concat()));
        let hit = |hit: &Value| {
            let name = hit["image"].as_str().unwrap().to_string();
            (name, hit["similarity"].as_f64().unwrap())
        };
        hits.iter().map(hit).collect()
    };
    let due = of("my.idx", &["--rerank", "0"]);
    for file in ["exported.npy", "embedded.npy"] {
        let found = of(file, &[]);
        assert_eq!(found.len(), due.len());
        for ((name, score), (due, due_score)) in found.iter().zip(&due) {
            assert_eq!(name, due, "{file}");
            assert!(
                (score - due_score).abs() < 1e-5,
                "{file}: {name} {score} {due_score}"
            );
        }
    }
    // An index of vectors alone, and one that has pictures as well.
    let add = ["index", "add", "vectors.idx", "--from", "embedded.npy"];
    run(&[&add[..], &["--model", MODEL]].concat());
    assert_eq!(
        of("vectors.idx", &[]),
        of("vectors.idx", &["--rerank", "0"])
    );
    let names = |found: Vec<(String, f64)>| found.into_iter().map(|(name, _)| name);
    assert!(names(of("vectors.idx", &[])).eq(names(due)));
    let again = blip2(folder.path(), &[&add[..], &["--model", MODEL]].concat());
    assert!(again.status.success());
    let told = String::from_utf8(again.stderr).unwrap();
    assert!(told.contains("0 added, 5 there already"), "{told}");
    let narrow = [
        "index",
        "add",
        "my.idx",
        "--from",
        "pooled.npy",
        "--model",
        MODEL,
    ];
    run(&[
        "embed",
        "photos",
        "--features",
        "pooled",
        "-o",
        "pooled.npy",
        "--model",
        MODEL,
    ]);
    fails(
        &blip2(folder.path(), &narrow),
        1,
        &["pooled.npy", "projected features"],
    );
    std::fs::write(folder.path().join("embedded.names.json"), "[\"one\"]").unwrap();
    let search = ["index", "search", "embedded.npy", "a dog", "--model", MODEL];
    let names = ["embedded.names.json", "1 names for the 5 rows"];
    fails(&blip2(folder.path(), &search), 1, &names);
    std::fs::write(folder.path().join("cut.npy"), b"\x93NUMPY\x01\x00").unwrap();
    let search = ["index", "search", "cut.npy", "a dog", "--model", MODEL];
    fails(&blip2(folder.path(), &search), 1, &["cut.npy", "cut short"]);
}

#[cfg(feature = "tables")]
#[test]
fn a_mapped_table_of_vectors_is_searched() {
    let folder = photos(5);
    let run = |arguments: &[&str]| stdout(&blip2(folder.path(), arguments));
    run(&["embed", "photos", "-o", "all.npy", "--model", MODEL]);
    run(&[
        "map",
        "photos",
        "--embed",
        "-o",
        "all.parquet",
        "--model",
        MODEL,
    ]);
    let rows = |file: &str| -> Vec<Value> {
        let search = [
            "index",
            "search",
            file,
            "a plate of food",
            "--json",
            "--model",
            MODEL,
        ];
        let hits = lines(&run(&search));
        hits.iter().map(|hit| hit["row"].clone()).collect()
    };
    assert_eq!(rows("all.parquet"), rows("all.npy"));
    assert_eq!(rows("all.npy").len(), 5);
}

/// A picture that could not be read is a row without a vector, and one that is asked about twice has two rows.
#[cfg(feature = "tables")]
#[test]
fn rows_without_a_vector_and_rows_of_one_picture_are_passed_over() {
    let folder = photos(3);
    std::fs::write(folder.path().join("photos/a.png"), b"no picture").unwrap();
    let files = std::fs::read_dir(folder.path().join("photos")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut table = String::from("image\n");
    for file in files.iter().chain(&files[1..3]) {
        table.push_str(&format!("{}\n", file.display()));
    }
    std::fs::write(folder.path().join("table.csv"), table).unwrap();
    let run = |arguments: &[&str]| {
        let output = blip2(folder.path(), &[arguments, &["--model", MODEL]].concat());
        let told = String::from_utf8(output.stderr.clone()).unwrap();
        (stdout(&output), told)
    };
    for output in ["all.parquet", "parts"] {
        let folder_of_parts = (output == "parts").then_some("parts/");
        run(&[
            "map",
            "table.csv",
            "--embed",
            "-o",
            folder_of_parts.unwrap_or(output),
        ]);
        let (found, told) = run(&["index", "search", output, "a dog", "--json"]);
        assert!(told.contains("a row has no vector"), "{told}");
        let mut found: Vec<_> = lines(&found)
            .iter()
            .map(|hit| hit["row"].as_u64())
            .collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 4, 5].map(Some), "{output}");
        let index = format!("{}.idx", output.replace('.', "-"));
        let (_, told) = run(&["index", "add", &index, "--from", output]);
        assert!(told.contains("3 added, 2 there already"), "{told}");
    }
}
