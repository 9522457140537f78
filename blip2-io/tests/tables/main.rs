//! Tables in every form, read from any row on and written again.

#![cfg(feature = "tables")]
#![allow(clippy::unwrap_used)]

mod parquet;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::parquet::{
    data_type::{ByteArray, ByteArrayType},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use blip2_io::{
    ErrorKind,
    tables::{
        PictureCell, PictureColumn, Table, TableError, TableFormat, TableWriter, TextColumn,
        TextLists,
        arrow_array::{
            Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, DictionaryArray,
            FixedSizeListArray, Float32Array, Int64Array, LargeBinaryArray, ListArray, RecordBatch,
            StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
            builder::{ListBuilder, StringBuilder},
            cast::AsArray,
            types::Int32Type,
        },
        arrow_schema::{DataType, Field, Schema},
        join, vector_column,
    },
};

fn written(path: &Path, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write(path, std::slice::from_ref(&batch));
    batch
}

fn write(path: &Path, batches: &[RecordBatch]) {
    let is_parquet = path.extension().is_some_and(|ending| ending == "parquet");
    let format = if is_parquet {
        TableFormat::Parquet
    } else {
        TableFormat::JsonLines
    };
    let mut writer = TableWriter::create(path, format, &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

/// Texts of a column over all batches of a range.
fn texts(table: &Table, column: &str, rows: std::ops::Range<u64>, size: usize) -> Vec<Vec<String>> {
    let batches = table.batches_of(&[column], rows, size).unwrap();
    let of = |batch: RecordBatch| {
        let texts = TextColumn::of(batch.column(0).as_ref()).unwrap();
        (0..batch.num_rows())
            .map(|row| texts.get(row).unwrap_or("null").to_string())
            .collect()
    };
    batches.map(|batch| of(batch.unwrap())).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("row {n}")).collect()
}

/// A table of texts in row groups of as many rows as `groups` says.
fn grouped(path: &Path, groups: &[usize]) {
    let schema = parse_message_type("message r { optional binary name (UTF8); }").unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).unwrap();
    let mut number = 0;
    for &rows in groups {
        let names: Vec<ByteArray> = (number..number + rows)
            .map(|row| ByteArray::from(&*format!("row {row}")))
            .collect();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        if rows > 0 {
            let typed = column.typed::<ByteArrayType>();
            typed
                .write_batch(&names, Some(&vec![1; rows]), None)
                .unwrap();
        }
        column.close().unwrap();
        group.close().unwrap();
        number += rows;
    }
    writer.close().unwrap();
}

/// A row group without rows, as writers leave one that were handed none, is nothing to read.
#[test]
fn row_groups_without_rows_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    for groups in [&[2, 0, 3][..], &[0, 5], &[5, 0], &[2, 0, 0, 3, 0]] {
        grouped(&path, groups);
        let table = Table::open(&path).unwrap();
        for first in 0..5 {
            let found = texts(&table, "name", first..5, 2).concat();
            assert_eq!(found, numbered(5)[first as usize..], "{groups:?}");
        }
    }
}

/// One table in every form.
fn forms(folder: &Path, count: usize) -> Vec<PathBuf> {
    let names = numbered(count);
    let at = |name: &str| folder.join(name);
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("{{\"name\": \"{name}\", \"n\": 1}}\r\n\n"))
        .collect();
    fs::write(at("a.jsonl"), format!("\u{feff}{}", lines.concat())).unwrap();
    let rows: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}\",\"x\ny\"\r\n"))
        .collect();
    fs::write(
        at("a.csv"),
        format!("\u{feff}name,more\r\n{}", rows.concat()),
    )
    .unwrap();
    fs::write(at("a.tsv"), format!("name\n{}\n", names.join("\n"))).unwrap();
    let batch = |names: &[String]| {
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        RecordBatch::try_from_iter([("name", array)]).unwrap()
    };
    write(&at("a.parquet"), &[batch(&names)]);
    fs::create_dir(at("parts")).unwrap();
    for (n, some) in names.chunks(700).enumerate() {
        write(&at(&format!("parts/part-{n}.parquet")), &[batch(some)]);
    }
    fs::write(at("parts/_left-out.parquet"), "x").unwrap();
    ["a.jsonl", "a.csv", "a.tsv", "a.parquet", "parts"]
        .map(at)
        .to_vec()
}

#[test]
fn every_form_gives_the_same_rows_from_any_row_on() {
    let folder = tempfile::tempdir().unwrap();
    let count = 3000;
    let names = numbered(count);
    for path in forms(folder.path(), count) {
        let table = Table::open(&path).unwrap();
        assert_eq!(table.rows(), count as u64, "{}", path.display());
        for (begin, end, size) in [
            (0, 3000, 512),
            (1023, 1026, 2),
            (1024, 1025, 9),
            (699, 1401, 701),
            (2999, 3000, 1),
            (5, 5, 4),
            (2990, 9999, 8),
        ] {
            let found = texts(&table, "name", begin..end, size);
            let due: Vec<Vec<String>> = names
                .get(begin as usize..(end as usize).min(count))
                .unwrap()
                .chunks(size)
                .map(<[String]>::to_vec)
                .collect();
            assert_eq!(found, due, "{} {begin}..{end}", path.display());
        }
    }
}

#[test]
fn a_change_of_the_content_changes_the_fingerprint_and_another_name_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for path in forms(folder.path(), 5) {
        if path.is_dir() {
            continue;
        }
        let print = Table::open(&path).unwrap().fingerprint();
        let ending = path.extension().unwrap().to_str().unwrap();
        let other = path.with_file_name(format!("other.{ending}"));
        fs::copy(&path, &other).unwrap();
        assert_eq!(Table::open(&other).unwrap().fingerprint(), print);
        if ending != "parquet" {
            let text = fs::read_to_string(&path).unwrap().replace("row 3", "row 9");
            fs::write(&other, text).unwrap();
            assert_ne!(
                Table::open(&other).unwrap().fingerprint(),
                print,
                "{ending}"
            );
        }
    }
}

#[test]
fn keys_of_json_lines_have_the_type_that_holds_all_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let lines = [
        r#"{"truth": true, "whole": 1, "number": 1, "text": "a", "mixed": 1, "list": [1, 2]}"#,
        r#"{"number": 0.5, "late": "x", "mixed": "one", "list": [], "nothing": null}"#,
    ];
    fs::write(&path, lines.join("\n")).unwrap();
    let table = Table::open(&path).unwrap();
    let types: Vec<(String, DataType)> = table
        .schema()
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().clone()))
        .collect();
    let due = [
        ("truth", DataType::Boolean),
        ("whole", DataType::Int64),
        ("number", DataType::Float64),
        ("text", DataType::Utf8),
        ("mixed", DataType::Utf8),
        ("list", DataType::Utf8),
        ("late", DataType::Utf8),
        ("nothing", DataType::Utf8),
    ];
    assert_eq!(
        types,
        due.map(|(name, data_type)| (name.to_string(), data_type))
    );
    // Written again, JSON is JSON and no text of it.
    let batch = table.batches(0..2, 2).unwrap().next().unwrap().unwrap();
    let again = folder.path().join("again.jsonl");
    write(&again, &[batch]);
    let due = [
        r#"{"truth":true,"whole":1,"number":1.0,"text":"a","mixed":1,"list":[1,2],"late":null,"nothing":null}"#,
        r#"{"truth":null,"whole":null,"number":0.5,"text":null,"mixed":"one","list":[],"late":"x","nothing":null}"#,
    ];
    assert_eq!(
        fs::read_to_string(&again).unwrap(),
        due.map(|line| format!("{line}\n")).concat()
    );
}

#[test]
fn pictures_are_found_in_every_form_of_a_column() {
    let bytes = [Some(b"one".as_slice()), None, Some(b"three")];
    let names = [Some("1.png"), Some("2.png"), Some("")];
    let paths = Arc::new(StringArray::from(names.to_vec())) as ArrayRef;
    let both = StructArray::from(vec![
        (
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            Arc::new(BinaryArray::from(bytes.to_vec())) as ArrayRef,
        ),
        (
            Arc::new(Field::new("path", DataType::Utf8, true)),
            Arc::clone(&paths),
        ),
    ]);
    let found = |array: &dyn Array| {
        let column = PictureColumn::of(array).unwrap();
        assert!(PictureColumn::is_one(array.data_type()));
        assert_eq!(column.cell(3), None, "there is no such row");
        [0, 1, 2].map(|row| match column.cell(row) {
            Some(PictureCell::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Some(PictureCell::Path(path)) => path.to_string(),
            _ => "none".into(),
        })
    };
    assert_eq!(
        found(&BinaryArray::from(bytes.to_vec())),
        ["one", "none", "three"]
    );
    assert_eq!(
        found(&LargeBinaryArray::from(bytes.to_vec())),
        ["one", "none", "three"]
    );
    assert_eq!(found(&both), ["one", "2.png", "three"]);
    assert_eq!(found(paths.as_ref()), ["1.png", "2.png", "none"]);
    assert_eq!(
        found(&StringViewArray::from(names.to_vec())),
        ["1.png", "2.png", "none"]
    );
    let dictionary: DictionaryArray<Int32Type> = names.into_iter().collect();
    assert_eq!(found(&dictionary), ["1.png", "2.png", "none"]);
    assert!(PictureColumn::of(&Int64Array::from(vec![1])).is_none());
}

#[test]
fn lists_of_texts_are_read() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a"), None, Some("b")]);
    lists.append_null();
    lists.append_value([Some("c")]);
    let array = lists.finish();
    let found = TextLists::of(&array).unwrap();
    assert_eq!(found.get(0), Some(vec!["a", "b"]));
    assert_eq!((found.get(1), found.get(2)), (None, Some(vec!["c"])));
    let tail = array.slice(2, 1);
    assert_eq!(TextLists::of(&tail).unwrap().get(0), Some(vec!["c"]));
}

/// A batch of many types.
fn kinds(first: i64, count: usize) -> RecordBatch {
    let rows = || (0..count).map(|n| first as usize + n);
    let pictures = rows().map(|n| vec![n as u8; 1000 + n % 7]);
    let pictures = BinaryArray::from_iter_values(pictures);
    let path = StringArray::from_iter_values(rows().map(|n| format!("{n}.png")));
    let image = StructArray::from(vec![
        (
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            Arc::new(pictures) as ArrayRef,
        ),
        (
            Arc::new(Field::new("path", DataType::Utf8, true)),
            Arc::new(path) as ArrayRef,
        ),
    ]);
    let vectors: Vec<_> = rows()
        .map(|n| (n % 3 > 0).then(|| vec![n as f32, 0.1]))
        .collect();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
        rows().map(|n| Some(vec![Some(n as i32), None])),
    );
    RecordBatch::try_from_iter([
        ("image", Arc::new(image) as ArrayRef),
        (
            "n",
            Arc::new(Int64Array::from_iter_values(rows().map(|n| n as i64))),
        ),
        (
            "even",
            Arc::new(BooleanArray::from_iter(
                rows().map(|n| (n % 5 > 0).then_some(n % 2 == 0)),
            )),
        ),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(rows().map(|n| n as i32))),
        ),
        (
            "time",
            Arc::new(
                TimestampMillisecondArray::from_iter_values(rows().map(|n| n as i64))
                    .with_timezone("UTC"),
            ),
        ),
        ("list", Arc::new(list)),
        ("vector", vector_column(&[2], &vectors).unwrap()),
    ])
    .unwrap()
}

#[test]
fn the_same_rows_give_the_same_bytes_whatever_their_batches() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["parquet", "jsonl"] {
        let at = |name: &str| folder.path().join(format!("{name}.{ending}"));
        let whole = kinds(0, 500);
        write(&at("whole"), std::slice::from_ref(&whole));
        for size in [1, 7, 64, 100] {
            let batches: Vec<_> = (0..500_usize)
                .step_by(size)
                .map(|begin| whole.slice(begin, size.min(500 - begin)))
                .collect();
            write(&at("parts"), &batches);
            assert_eq!(
                fs::read(at("parts")).unwrap(),
                fs::read(at("whole")).unwrap(),
                "{size}"
            );
        }
    }
}

#[test]
fn parquet_is_read_as_it_was_written_and_json_lines_hold_what_they_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let batch = kinds(0, 100);
    write(&path, std::slice::from_ref(&batch));
    let table = Table::open(&path).unwrap();
    let read: Vec<_> = table
        .batches(0..100, 100)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, std::slice::from_ref(&batch));
    let vectors = read[0].column_by_name("vector").unwrap();
    assert!(vectors.as_any().is::<FixedSizeListArray>());

    let path = folder.path().join("a.jsonl");
    write(&path, &[batch]);
    let text = fs::read_to_string(&path).unwrap();
    let line = r#"{"image":{"path":"1.png"},"n":1,"even":false,"day":"1970-01-02","time":"1970-01-01T00:00:00.001Z","list":[1,null],"vector":[1.0,0.1]}"#;
    assert_eq!(text.lines().nth(1), Some(line));
    assert!(
        text.lines().next().unwrap().ends_with(r#""vector":null}"#),
        "{text}"
    );
}

#[test]
fn joined_tables_are_one() {
    let folder = tempfile::tempdir().unwrap();
    for (ending, format) in [
        ("parquet", TableFormat::Parquet),
        ("jsonl", TableFormat::JsonLines),
    ] {
        let at = |name: &str| folder.path().join(format!("{name}.{ending}"));
        let parts: Vec<PathBuf> = (0..3).map(|n| at(&format!("part-{n}"))).collect();
        for (n, part) in parts.iter().enumerate() {
            write(part, &[kinds(100 * n as i64, 100)]);
        }
        join(&parts, at("joined"), format).unwrap();
        let table = Table::open(at("joined")).unwrap();
        assert_eq!(table.rows(), 300);
        let batches = table.batches_of(&["n"], 0..300, 300).unwrap();
        let batch = batches.map(Result::unwrap).next().unwrap();
        let numbers = batch
            .column(0)
            .as_primitive::<blip2_io::tables::arrow_array::types::Int64Type>();
        assert!(numbers.values().iter().copied().eq(0..300));
    }
}

#[test]
fn vectors_of_several_dimensions_are_lists_within_lists() {
    let rows = [Some(vec![1.0, 2.0, 3.0, 4.0]), None];
    let array = vector_column(&[2, 2], &rows).unwrap();
    assert_eq!((array.len(), array.null_count()), (2, 1));
    let inner = array.as_fixed_size_list().value(0);
    let last = inner.as_fixed_size_list().value(1);
    assert_eq!(
        last.as_any()
            .downcast_ref::<Float32Array>()
            .unwrap()
            .values(),
        &[3.0, 4.0]
    );
    assert!(vector_column(&[3], &rows).is_err());
    let schema = Schema::new(vec![Field::new("v", array.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.parquet");
    write(&path, std::slice::from_ref(&batch));
    let read = Table::open(&path)
        .unwrap()
        .batches(0..2, 2)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(read, batch);
}

#[track_caller]
fn refused(path: &Path, content: impl AsRef<[u8]>, says: &str, kind: ErrorKind) {
    fs::write(path, content).unwrap();
    let error = match Table::open(path) {
        Err(error) => error,
        Ok(table) => match table
            .batches(0..table.rows(), 8)
            .unwrap()
            .find_map(Result::err)
        {
            Some(error) => error,
            None => panic_with(path),
        },
    };
    let text = error.to_string();
    assert!(text.contains(says), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert_eq!(error.kind(), kind, "{text}");
}

#[allow(clippy::panic)]
fn panic_with(path: &Path) -> TableError {
    panic!("{} is no table and was read", path.display())
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bad = ErrorKind::Malformed;
    refused(
        &at("a.jsonl"),
        "{\"a\": 1}\n[1]\n",
        "line 2: there is no JSON object",
        bad,
    );
    refused(&at("b.jsonl"), "{\"a\": 1}\n\n{\"a\": \n", "line 3", bad);
    refused(&at("a.csv"), "", "empty", bad);
    refused(&at("b.csv"), "a,a\n", "the column `a` twice", bad);
    refused(&at("c.csv"), "a,b\n1,2\n1\n", "line 3: it has 1 cells", bad);
    refused(
        &at("d.csv"),
        b"a,b\n1,\xff\n",
        "line 2: a cell is not UTF-8",
        bad,
    );
    refused(
        &at("e.csv"),
        format!("a\n\"{}", "x".repeat(40 << 20)),
        "is a quote not closed?",
        bad,
    );
    refused(&at("a.parquet"), "PAR1 and no more", "Parquet", bad);
    refused(&at("a.txt"), "words", "is no table", ErrorKind::Unsupported);
    let missing = Table::open(at("none.parquet")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let table = Table::open(forms(&at("").join(""), 3).remove(0)).unwrap();
    let error = table
        .batches_of(&["nome"], 0..1, 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`nome` is not there; the columns are name, n"),
        "{error}"
    );
}

#[test]
fn a_cut_or_spoilt_parquet_file_is_refused_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    written(
        &path,
        vec![(
            "name",
            Arc::new(StringArray::from_iter_values(numbered(200))) as ArrayRef,
        )],
    );
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(97) {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(Table::open(&path).is_err(), "cut at {cut}");
    }
}

#[test]
fn files_of_a_folder_that_differ_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let names = || Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let numbers = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    written(
        &folder.path().join("1.parquet"),
        vec![("a", names()), ("b", names())],
    );
    for (columns, says) in [
        (
            vec![("a", names()), ("b", numbers)],
            "the column `b` holds Int64",
        ),
        (vec![("a", names())], "the column `b` of"),
        (
            vec![("a", names()), ("b", names()), ("c", names())],
            "the column `c` is not in",
        ),
    ] {
        written(&folder.path().join("2.parquet"), columns);
        let error = Table::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("2.parquet"),
            "{error}"
        );
    }
}
