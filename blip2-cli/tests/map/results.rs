//! What comes out of a table, in each form and for each thing that is asked.

use std::{fs, path::Path, sync::Arc};

use blip2_io::tables::{
    Table,
    arrow_array::{Array, BinaryArray, StringArray, cast::AsArray, types::Float32Type},
    arrow_schema::DataType,
};
use blip2_testing::fixture;
use serde_json::Value;

use super::helpers::{Place, blip2, column, fails, numbers, picture, run, succeeds};

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
        let listed = || Table::of_pictures("", &[place.path("photos/000.png")], Path::to_path_buf);
        let input = Table::open(&from).unwrap_or_else(|_| listed());
        for field in input.schema().fields() {
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
fn a_table_without_a_row_gives_one() {
    let place = Place::new();
    fs::write(place.path("in.csv"), "image,question\n").unwrap();
    let (input, output) = (place.text("in.csv"), place.text("out.parquet"));
    succeeds(&["map", &input, "-o", &output, "--answer", "question"]);
    let table = Table::open(&output).unwrap();
    assert_eq!((table.rows(), table.schema().fields().len()), (0, 7));
}
