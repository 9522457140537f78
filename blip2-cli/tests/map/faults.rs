//! What people have in tables and folders, and do with them.

use std::{collections::HashMap, fs, sync::Arc};

use blip2_io::tables::{
    TableFormat, TableWriter,
    arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray},
    arrow_schema::{DataType, Field, Schema},
};
use serde_json::Value;

use super::helpers::{Place, QUESTION, column, fails, files, picture, succeeds};

/// The texts of a key of a table of JSON lines.
fn key(place: &Place, name: &str, key: &str) -> Vec<String> {
    let lines = place.lines(name);
    let text = |line: &Value| match &line[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    lines.iter().map(text).collect()
}

#[test]
fn a_table_of_pandas_or_the_hub_becomes_parquet() {
    let place = Place::new();
    let hub = r#"{"info": {"features": {"image": {"_type": "Image"}}}}"#;
    let metadata = HashMap::from([
        ("pandas".to_string(), "{}".to_string()),
        ("huggingface".to_string(), hub.to_string()),
    ]);
    let fields = vec![Field::new("image", DataType::Binary, true)];
    let schema = Schema::new_with_metadata(fields, metadata);
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([picture(1)]));
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![bytes]).unwrap();
    let input = place.text("in.parquet");
    let mut writer = TableWriter::create(&input, TableFormat::Parquet, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    for output in ["out.parquet", "out"] {
        succeeds(&["map", &input, "-o", &place.text(output), "--caption"]);
        assert_ne!(column(&place.read(output), "caption"), ["null"]);
    }
}

#[test]
fn lists_are_ranked_as_lists_however_they_are_written() {
    let place = Place::new();
    place.photos(1);
    let image = "\"image\": \"photos/000.png\"";
    fs::write(
        place.path("in.jsonl"),
        format!(
            "{{{image}, \"c\": [\"red\", \"blue\"]}}\n{{{image}, \"c\": \"red, blue\"}}\n\
             {{{image}, \"c\": \"['red', 'blue']\"}}\n"
        ),
    )
    .unwrap();
    fs::write(
        place.path("in.csv"),
        "image,c\nphotos/000.png,\"[\"\"red\"\", \"\"blue\"\"]\"\n",
    )
    .unwrap();
    for (input, rows) in [("in.jsonl", 3), ("in.csv", 1)] {
        let (from, output) = (place.text(input), place.text(&format!("{input}.out.jsonl")));
        succeeds(&[
            "map",
            &from,
            "-o",
            &output,
            "--question",
            QUESTION,
            "--rank",
            "c",
        ]);
        let best = key(&place, &format!("{input}.out.jsonl"), "best");
        assert_eq!(best.len(), rows);
        let is_one = |best: &&String| *best == "red" || *best == "blue";
        assert!(best.iter().take(2).all(|best| is_one(&best)), "{best:?}");
    }
    let errors = key(&place, "in.jsonl.out.jsonl", "error");
    assert!(errors[2].contains("not JSON's"), "{errors:?}");
}

#[test]
fn a_column_of_several_kinds_asks_its_texts_and_stays_as_it_was() {
    let place = Place::new();
    place.photos(1);
    let lines = [
        format!(
            "{{\"image\":\"photos/000.png\",\"q\":{QUESTION:?},\"id\":18446744073709551616}}\n"
        ),
        "{\"image\":\"photos/000.png\",\"q\":7,\"id\":1}\n".into(),
        "{\"image\":17,\"q\":\"what?\",\"id\":2}\n".into(),
        "{\"image\":\"photos/000.png\",\"q\":{\"x\":1},\"id\":3}\n".into(),
    ];
    fs::write(place.path("in.jsonl"), lines.concat()).unwrap();
    fs::write(
        place.path("plain.csv"),
        format!("image,q\nphotos/000.png,{QUESTION}\nphotos/000.png,7\n"),
    )
    .unwrap();
    for input in ["in.jsonl", "plain.csv"] {
        let (from, output) = (place.text(input), place.text(&format!("{input}.out.jsonl")));
        succeeds(&["map", &from, "-o", &output, "--answer", "q"]);
    }
    let (found, due) = ("in.jsonl.out.jsonl", "plain.csv.out.jsonl");
    assert_eq!(
        key(&place, found, "answer")[..2],
        key(&place, due, "answer")
    );
    let errors = key(&place, found, "error");
    assert!(errors[2].contains("17") && errors[3].contains("no text in the column `q`"));
    let written = fs::read_to_string(place.path(found)).unwrap();
    for (line, was) in written.lines().zip(&lines) {
        assert!(line.starts_with(was.trim().trim_end_matches('}')), "{line}");
    }
}

#[test]
fn restart_takes_away_what_a_run_made_and_nothing_else() {
    let place = Place::new();
    place.photos(3);
    let (photos, out) = (place.text("photos"), place.text("out"));
    let arguments = ["map", &photos, "-o", &out, "--caption", "--part-rows", "1"];
    succeeds(&arguments);
    let others = [
        "out/part-list.xlsx",
        "out/part-2-thesis.txt",
        "out/part-00000-abc.snappy.crc",
        "out/.part-notes.partial",
    ];
    for name in others {
        fs::write(place.path(name), "x").unwrap();
    }
    fs::create_dir(place.path("out/part-00009.parquet")).unwrap();
    let restart = ["map", &photos, "-o", &out, "--caption", "--restart"];
    let told = succeeds(&restart);
    assert!(told.contains("1 parts computed, 0 kept"), "{told}");
    assert!(others.iter().all(|name| place.path(name).exists()));
    assert!(!place.path("out/part-00001.parquet").exists());
    // Other people's tables are neither taken away nor written among, and are told by name.
    fs::create_dir(place.path("spark")).unwrap();
    let foreign = "spark/part-00000-abc.snappy.parquet";
    fs::write(place.path(foreign), "x").unwrap();
    let spark = place.text("spark");
    for more in [None, Some("--restart")] {
        let arguments = ["map", &photos, "-o", &spark, "--caption"];
        let arguments: Vec<&str> = arguments.into_iter().chain(more).collect();
        let told = fails(&arguments, 1, "part-00000-abc.snappy.parquet");
        assert!(!told.contains("--restart"), "{told}");
    }
    assert_eq!(fs::read(place.path(foreign)).unwrap(), b"x");
}

#[test]
fn a_run_that_could_not_begin_is_in_nobody_s_way() {
    let place = Place::new();
    place.photos(1);
    let photos = place.text("photos");
    for output in ["out.parquet", "out"] {
        let (to, missing) = (place.text(output), place.text("no-model"));
        let arguments = ["map", &photos, "-o", &to, "--caption"];
        let wrong: Vec<&str> = arguments.into_iter().chain(["--model", &missing]).collect();
        fails(&wrong, 1, "no-model");
        assert!(!place.path("out.parquet.map.json").exists() || output == "out");
        fails(
            &["map", &photos, "-o", &to, "--match", "a dog"],
            2,
            "retrieval",
        );
        succeeds(&arguments);
    }
}

#[test]
fn a_text_that_is_too_long_is_its_row_s_error_whatever_is_asked() {
    let place = Place::new();
    place.photos(1);
    let long = ["color"; 600].join(" ");
    let rows = [QUESTION, &long, "is there a circle?"];
    let rows = rows.map(|question| format!("photos/000.png,{question},\"yes, no\"\n"));
    fs::write(
        place.path("in.csv"),
        format!("image,q,c\n{}", rows.concat()),
    )
    .unwrap();
    let input = place.text("in.csv");
    for (name, more) in [
        ("answer", [].as_slice()),
        ("caption", &["--caption"]),
        ("rank", &["--rank", "c"]),
    ] {
        let (name, mut arguments) = (format!("{name}.jsonl"), vec!["map", &input]);
        let output = place.text(&name);
        arguments.extend(["-o", &output, "--answer", "q"]);
        arguments.extend(more);
        let told = succeeds(&arguments);
        assert!(told.contains("1 of 3 rows have an error"), "{told}");
        let errors = key(&place, &name, "error");
        assert!(errors[1].contains("tokens"), "{errors:?}");
        assert!(!errors[1].contains("row "), "{errors:?}");
        assert_ne!(key(&place, &name, "answer")[2], "null");
    }
}

#[test]
fn a_word_is_a_text_where_it_is_marked_as_one() {
    let place = Place::new();
    place.photos(1);
    let (photos, out) = (place.text("photos"), place.text("out.jsonl"));
    let base = [
        "map",
        &photos,
        "-o",
        &out,
        "--question",
        QUESTION,
        "--score",
    ];
    let with = |word| base.iter().copied().chain([word]).collect::<Vec<_>>();
    fails(&with("yes"), 1, "give text:yes if that is the text itself");
    succeeds(&with("text:yes"));
    assert_ne!(key(&place, "out.jsonl", "score"), ["null"]);
}

#[test]
fn what_failed_is_tried_again_and_the_rest_is_kept() {
    let place = Place::new();
    place.photos(4);
    let rows: String = (0..4).map(|n| format!("photos/{n:03}.png\n")).collect();
    fs::write(place.path("in.csv"), format!("image\n{rows}")).unwrap();
    let input = place.text("in.csv");
    let map = |output: &str, more: &[&str]| {
        let output = place.text(output);
        let mut arguments = vec![
            "map",
            &input,
            "-o",
            &output,
            "--caption",
            "--part-rows",
            "1",
        ];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let late = place.path("photos/002.png");
    let bytes = fs::read(&late).unwrap();
    for name in ["out.parquet", "out.jsonl", "out"] {
        let due = format!("due-{name}");
        map(&due, &[]);
        fs::remove_file(&late).unwrap();
        assert!(map(name, &[]).contains("1 of 4 rows"));
        fs::write(&late, &bytes).unwrap();
        assert!(map(name, &[]).contains("1 of 4 rows"), "it counts as done");
        let told = map(name, &["--retry", "--allow-urls"]);
        assert!(told.contains("1 parts computed, 3 kept"), "{told}");
        let (name, due) = (place.path(name), place.path(&due));
        match name.is_dir() {
            false => assert_eq!(fs::read(&name).unwrap(), fs::read(&due).unwrap()),
            true => assert_eq!(
                files(&name).keys().collect::<Vec<_>>(),
                files(&due).keys().collect::<Vec<_>>()
            ),
        }
        map(&name.to_string_lossy(), &["--retry", "--allow-urls"]);
    }
    let (out, input) = (place.text("out.jsonl"), place.text("in.csv"));
    fails(
        &["map", &input, "-o", &out, "--caption", "--part-rows", "1"],
        1,
        "--allow-urls was true and is not given (with --retry",
    );
}

#[test]
fn pictures_and_tables_in_one_folder_are_not_guessed() {
    let place = Place::new();
    place.photos(2);
    let photos = place.text("photos");
    let within = place.text("photos/captions.parquet");
    let arguments = ["map", &photos, "-o", &within, "--caption"];
    succeeds(&arguments);
    let told = succeeds(&arguments);
    assert!(told.contains("all rows were done before"), "{told}");
    place.hub_table(3);
    fs::rename(
        place.path("photos.parquet"),
        place.path("photos/other.parquet"),
    )
    .unwrap();
    fs::remove_file(place.path("photos/captions.parquet")).unwrap();
    let out = place.text("out.jsonl");
    fails(
        &["map", &photos, "-o", &out, "--caption"],
        2,
        "holds pictures and tables (other.parquet); give a pattern",
    );
    succeeds(&["map", &photos, "-o", &out, "--caption", "--image", "image"]);
    assert_eq!(place.lines("out.jsonl").len(), 3);
    let pattern = place.text("photos/*.png");
    succeeds(&["map", &pattern, "-o", &out, "--caption", "--restart"]);
    assert_eq!(place.lines("out.jsonl").len(), 2);
    let one = place.text("photos/001.png");
    succeeds(&["map", &one, "-o", &out, "--caption", "--restart"]);
    assert_eq!(place.lines("out.jsonl").len(), 1);
}

#[test]
fn the_output_is_the_next_command_s_input_wherever_it_is() {
    let place = Place::new();
    place.photos(2);
    fs::create_dir(place.path("out")).unwrap();
    let map = |arguments: &[&str]| {
        let ended = super::helpers::blip2(arguments)
            .current_dir(place.path(""))
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", super::helpers::said(&ended));
    };
    map(&["map", "photos", "-o", "out/c.jsonl", "--caption"]);
    assert_eq!(key(&place, "out/c.jsonl", "image")[0], "../photos/000.png");
    map(&["map", "photos", "-o", "here.jsonl", "--caption"]);
    assert_eq!(key(&place, "here.jsonl", "image")[0], "photos/000.png");
    let (input, output) = (place.text("out/c.jsonl"), place.text("d.jsonl"));
    let next = ["--answer", QUESTION, "--prefix", "next_"];
    map(&[["map", &input, "-o", &output].as_slice(), &next].concat());
    assert_eq!(key(&place, "d.jsonl", "next_error"), ["null"; 2]);
    // Where nothing is found, that is the end of it, with where it was looked for.
    fs::write(place.path("away.csv"), "image\nnone.png\n").unwrap();
    let told = fails(
        &[
            "map",
            &place.text("away.csv"),
            "-o",
            &place.text("e.jsonl"),
            "--caption",
        ],
        1,
        "no row has a result",
    );
    assert!(
        told.contains("none.png") && told.contains("--pictures"),
        "{told}"
    );
}

#[test]
fn what_is_in_the_way_is_said_with_the_way_out() {
    let place = Place::new();
    place.photos(1);
    place.hub_table(2);
    let (photos, table) = (place.text("photos"), place.text("photos.parquet"));
    let out = place.text("out.jsonl");
    let case = |input: &str, output: &str, code, says: &str| {
        fails(&["map", input, "-o", output, "--caption"], code, says);
    };
    case(&photos, "-", 2, "is no stream");
    case("-", &out, 2, "standard input is not");
    fs::create_dir_all(place.path("hive/p=0")).unwrap();
    fs::copy(&table, place.path("hive/p=0/x.parquet")).unwrap();
    case(&place.text("hive"), &out, 1, "give one of them, such as");
    case(
        &place.text("*.parquet"),
        &out,
        2,
        "a pattern is one of pictures",
    );
    fs::write(place.path("file"), "x").unwrap();
    case(
        &photos,
        &place.text("file"),
        1,
        "is a file, and the name is that of a folder",
    );
    case(&photos, &place.text("none/x.parquet"), 1, "make it first");
    fs::write(
        place.path("data.csv"),
        format!(
            "image\n\"data:image/png;base64,{}\"\nphotos/000.png\n",
            "A".repeat(9999)
        ),
    )
    .unwrap();
    succeeds(&["map", &place.text("data.csv"), "-o", &out, "--caption"]);
    let error = &key(&place, "out.jsonl", "error")[0];
    assert!(
        error.starts_with("a data: URL") && error.len() < 200,
        "{error}"
    );
    // A damaged part is named before anything is computed.
    let parts = place.text("parts");
    let arguments = ["map", &table, "-o", &parts, "--caption", "--part-rows", "1"];
    succeeds(&arguments);
    fs::write(place.path("parts/part-00001.parquet"), "x").unwrap();
    fs::remove_file(place.path("parts/part-00000.parquet")).unwrap();
    let told = fails(&arguments, 1, "part-00001.parquet");
    assert!(told.contains("delete it, and the same command"), "{told}");
    fs::remove_file(place.path("parts/part-00001.parquet")).unwrap();
    succeeds(&arguments);
    fs::write(
        place.path("semi.csv"),
        "image;q\nphotos/000.png;what, then?\n",
    )
    .unwrap();
    let semi = place.text("semi.csv");
    let out = place.text("semi.jsonl");
    fails(
        &["map", &semi, "-o", &out, "--answer", "q"],
        1,
        "--delimiter ';'",
    );
    succeeds(&[
        "map",
        &semi,
        "-o",
        &out,
        "--answer",
        "q",
        "--delimiter",
        ";",
    ]);
    assert_eq!(key(&place, "semi.jsonl", "q"), ["what, then?"]);
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf_8_is_told_with_the_way_out() {
    use std::os::unix::ffi::OsStrExt;

    let place = Place::new();
    place.photos(1);
    let name = std::ffi::OsStr::from_bytes(b"photos/\xff.png");
    fs::write(place.path("").join(name), picture(1)).unwrap();
    let out = place.text("out.jsonl");
    succeeds(&["map", &place.text("photos"), "-o", &out, "--caption"]);
    let errors = key(&place, "out.jsonl", "error");
    assert!(
        errors.iter().any(|error| error.contains("rename the file")),
        "{errors:?}"
    );
}

#[test]
fn texts_of_a_column_stay_the_texts_of_its_rows() {
    let place = Place::new();
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([picture(1), picture(2)]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["red, blue", "[\"red\", \"teal\"]"]));
    place.parquet("in.parquet", vec![("image", bytes), ("c", words)]);
    let (input, out) = (place.text("in.parquet"), place.text("out.parquet"));
    succeeds(&[
        "map",
        &input,
        "-o",
        &out,
        "--question",
        QUESTION,
        "--rank",
        "c",
    ]);
    assert_eq!(column(&place.read("out.parquet"), "error"), ["null"; 2]);
}
