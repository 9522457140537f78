//! Tables of text as people have them, and JSON that loses nothing.

use std::{fs, sync::Arc};

use blip2_io::{
    ErrorKind,
    tables::{
        Table, TextColumn,
        arrow_array::{
            ArrayRef, Decimal32Array, Decimal64Array, DurationSecondArray, RecordBatch,
            Time64MicrosecondArray, TimestampSecondArray,
        },
        texts_of,
    },
};

use super::{refused, texts, write};

#[test]
fn a_column_of_several_kinds_is_read_as_texts_and_written_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
    let lines = [
        r#"{"q":"how many?","id":18446744073709551615,"m":9007199254740993,"h":123456789012345678901234567890,"l":["a","b"]}"#,
        r#"{"q":7,"id":9223372036854775809,"m":0.5,"h":1,"l":"a, b"}"#,
        r#"{"q":{"x":1.50},"id":3,"m":1,"h":{"y":99999999999999999999},"l":null}"#,
        r#"{"q":true,"id":0,"m":null,"h":"z","l":[]}"#,
    ];
    let text = lines.map(|line| format!("{line}\n")).concat();
    fs::write(&path, &text).unwrap();
    let table = Table::open(&path).unwrap();
    let batch = table.batches(0..4, 4).unwrap().next().unwrap().unwrap();
    write(&again, std::slice::from_ref(&batch));
    assert_eq!(fs::read_to_string(&again).unwrap(), text);
    let of = |column: &str, lists: bool| {
        let batch = texts_of(&batch, column, lists);
        let found = TextColumn::of(batch.column_by_name(column).unwrap().as_ref()).unwrap();
        (0..4)
            .map(|row| found.get(row).unwrap_or("null").to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("q", false), ["how many?", "7", "null", "true"]);
    assert_eq!(of("l", false), ["null", "a, b", "null", "null"]);
    assert_eq!(of("l", true), [r#"["a","b"]"#, "a, b", "null", "[]"]);
    assert_eq!(texts_of(&batch, "none", false), batch);
}

#[test]
fn a_quote_that_is_never_closed_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bad = ErrorKind::Malformed;
    let says = "line 3: a quote begins in it that is not closed";
    refused(&at("a.csv"), "a,b\n1,2\n3,\"4\n5,6\n7,8\n", says, bad);
    refused(&at("b.csv"), "a,b\n1,2\n3,\"4\n5,6\n7,\"8\n", says, bad);
    refused(&at("c.tsv"), "a\tb\n1\t2\n\"3\t4\n", says, bad);
    // Quotes in their places, and those that are part of a text, are in nobody's way.
    let path = at("d.csv");
    fs::write(&path, "a,b\n\"1\n\"\"2\"\"\",3\" tall\n4,\"5\"").unwrap();
    let table = Table::open(&path).unwrap();
    assert_eq!(texts(&table, "a", 0..2, 2), [["1\n\"2\"", "4"]]);
    assert_eq!(texts(&table, "b", 0..2, 2), [["3\" tall", "5"]]);
}

#[test]
fn a_first_column_without_a_name_is_the_index_and_other_signs_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.csv"), ",image\n0,a.png\n").unwrap();
    assert_eq!(
        texts(&Table::open(at("a.csv")).unwrap(), "index", 0..1, 1),
        [["0"]]
    );
    let bad = ErrorKind::Malformed;
    refused(&at("b.csv"), "image,\na,b\n", "number 2 has no name", bad);
    refused(
        &at("c.csv"),
        ",index\na,b\n",
        "the column `index` twice",
        bad,
    );
    refused(&at("d.csv"), "image;q\na;b\n", "give --delimiter ';'", bad);
    refused(
        &at("e.csv"),
        "image\tq\na\tb\n",
        "give --delimiter tab",
        bad,
    );
    let table = Table::open_delimited(at("d.csv"), b';').unwrap();
    assert_eq!(texts(&table, "q", 0..1, 1), [["b"]]);
    assert_eq!(
        Table::open_delimited(at("d.csv"), b',')
            .unwrap()
            .schema()
            .fields()
            .len(),
        1
    );
}

#[test]
fn decimals_and_times_are_written_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let small = Decimal32Array::from(vec![123]).with_precision_and_scale(9, 2);
    let wide = Decimal64Array::from(vec![-5]).with_precision_and_scale(10, 1);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("small", Arc::new(small.unwrap())),
        ("wide", Arc::new(wide.unwrap())),
        ("near", Arc::new(TimestampSecondArray::from(vec![1]))),
        (
            "far",
            Arc::new(TimestampSecondArray::from(vec![10_i64.pow(13)])),
        ),
        (
            "clock",
            Arc::new(Time64MicrosecondArray::from(vec![3_723_000_000])),
        ),
        ("long", Arc::new(DurationSecondArray::from(vec![90]))),
    ];
    write(&path, &[RecordBatch::try_from_iter(columns).unwrap()]);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\"small\":\"1.23\",\"wide\":\"-0.5\",\"near\":\"1970-01-01T00:00:01\",\
         \"far\":10000000000000,\"clock\":\"01:02:03\",\"long\":90}\n"
    );
}
