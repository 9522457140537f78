//! What is in the way of a row, of a table, or of going on.

use std::{fs, sync::Arc};

use blip2_io::tables::arrow_array::{ArrayRef, BinaryArray, Int64Array, StringArray};

use super::helpers::{Place, QUESTION, column, fails, picture, succeeds};

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
