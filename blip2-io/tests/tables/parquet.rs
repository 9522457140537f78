//! Parquet as other libraries write it.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use ::parquet::{
    arrow::ArrowWriter,
    data_type::Int64Type,
    file::{
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use blip2_io::tables::{
    Table, TableFormat, TableWriter,
    arrow_array::{
        ArrayRef, BinaryArray, DictionaryArray, Int64Array, RecordBatch, StringArray,
        types::Int8Type,
    },
    arrow_schema::{DataType, Field, Schema},
    join, split,
};
use serde_json::{Value, json};

use super::{texts, write, written};

/// Written as `arrow` does, with a schema and all that is in it.
fn foreign(path: &Path, batch: &RecordBatch) {
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// What a file says beside its columns.
fn said(path: &Path) -> HashMap<String, String> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let metadata = reader.metadata().file_metadata();
    let pairs = metadata.key_value_metadata().into_iter().flatten();
    pairs
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn what_pandas_and_the_hub_say_of_a_table_is_in_nobody_s_way() {
    let folder = tempfile::tempdir().unwrap();
    let features = json!({"image": {"_type": "Image"}, "gone": {"_type": "Value"}});
    let hub = json!({"info": {"features": features}, "fingerprint": "1f"});
    let metadata = HashMap::from([
        (
            "pandas".to_string(),
            "{\"index_columns\": [\"x\"]}".to_string(),
        ),
        ("huggingface".to_string(), hub.to_string()),
    ]);
    let image = Field::new("image", DataType::Binary, true)
        .with_metadata(HashMap::from([("PARQUET:field_id".into(), "7".into())]));
    let schema = Schema::new_with_metadata(vec![image.clone()], metadata.clone());
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([b"a"]));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&bytes)]).unwrap();
    let path = folder.path().join("in.parquet");
    foreign(&path, &batch);
    let table = Table::open(&path).unwrap();
    assert_eq!(table.schema().metadata().len(), 2);
    let read = table.batches(0..1, 1).unwrap().next().unwrap().unwrap();
    // As a column is added to it.
    let fields = vec![image, Field::new("caption", DataType::Utf8, true)];
    let schema = Schema::new_with_metadata(fields, table.schema().metadata().clone());
    let caption: ArrayRef = Arc::new(StringArray::from(vec!["a dog"]));
    let columns = vec![Arc::clone(read.column(0)), caption];
    let out = folder.path().join("out.parquet");
    let mut writer = TableWriter::create(&out, TableFormat::Parquet, &schema).unwrap();
    writer
        .write(&RecordBatch::try_new(Arc::new(schema), columns).unwrap())
        .unwrap();
    writer.finish().unwrap();
    let said = said(&out);
    assert!(!said.contains_key("pandas"), "{said:?}");
    let hub: Value = serde_json::from_str(&said["huggingface"]).unwrap();
    assert_eq!(
        hub,
        json!({"info": {"features": {"image": {"_type": "Image"}}}})
    );
    assert_eq!(
        texts(&Table::open(&out).unwrap(), "caption", 0..1, 1),
        [["a dog"]]
    );
}

#[test]
fn dictionaries_of_several_files_are_the_texts_that_they_stand_for() {
    let folder = tempfile::tempdir().unwrap();
    let names = |file: usize| (0..100).map(move |n| format!("{file}-{n}"));
    for file in 0..2 {
        let names: Vec<String> = names(file).collect();
        let words: DictionaryArray<Int8Type> = names.iter().map(|name| Some(&**name)).collect();
        let keys = words.keys().clone();
        let bytes = Arc::new(BinaryArray::from_iter_values(&names));
        let pictures = DictionaryArray::<Int8Type>::try_new(keys, bytes).unwrap();
        let batch = RecordBatch::try_from_iter([
            ("word", Arc::new(words) as ArrayRef),
            ("image", Arc::new(pictures) as ArrayRef),
        ])
        .unwrap();
        foreign(&folder.path().join(format!("{file}.parquet")), &batch);
    }
    let table = Table::open(folder.path()).unwrap();
    let types: Vec<DataType> = table
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    assert_eq!(types, [DataType::Utf8, DataType::Binary]);
    let due: Vec<String> = names(0).chain(names(1)).collect();
    assert_eq!(texts(&table, "word", 0..200, 200), [due.as_slice()]);
    let batches: Vec<RecordBatch> = table
        .batches(0..200, 70)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let out = folder.path().join("_out.parquet");
    write(&out, &batches);
    assert_eq!(
        texts(&Table::open(&out).unwrap(), "word", 0..200, 200),
        [due]
    );
}

#[test]
fn what_may_be_null_in_one_file_may_be_null_in_all() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("1", Some("x")), ("2", None)] {
        let field = Field::new("a", DataType::Utf8, value.is_none());
        let array: ArrayRef = Arc::new(StringArray::from(vec![value]));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]);
        foreign(
            &folder.path().join(format!("{name}.parquet")),
            &batch.unwrap(),
        );
    }
    let table = Table::open(folder.path()).unwrap();
    assert!(table.schema().field(0).is_nullable());
    assert_eq!(texts(&table, "a", 0..2, 2), [["x", "null"]]);
}

#[test]
fn two_columns_of_one_name_are_refused_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = parse_message_type("message r { required int64 n; required int64 n; }").unwrap();
    let file = fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column
            .typed::<Int64Type>()
            .write_batch(&[1], None, None)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let error = Table::open(&path).unwrap_err().to_string();
    assert!(error.contains("the column `n` is there twice"), "{error}");
}

#[test]
fn other_values_of_the_same_sizes_are_another_table() {
    let folder = tempfile::tempdir().unwrap();
    let print = |size: usize, byte: u8| {
        let path = folder.path().join("a.parquet");
        let mut bytes = vec![b'a'; size];
        bytes[size - 5] = byte;
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values([bytes]));
        written(&path, vec![("image", array)]);
        (
            Table::open(&path).unwrap().fingerprint(),
            fs::metadata(&path).unwrap().len(),
        )
    };
    for size in [100, 3 << 20] {
        let (one, other) = (print(size, b'x'), print(size, b'y'));
        assert_eq!(one.1, other.1, "the same size");
        assert_ne!(one.0, other.0, "{size}");
    }
}

#[test]
fn pictures_that_were_written_again_are_another_list() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    let print = |day: u64| {
        fs::write(&picture, "x").unwrap();
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day * 86_400);
        let file = fs::File::options().write(true).open(&picture).unwrap();
        file.set_modified(written).unwrap();
        Table::of_pictures("", std::slice::from_ref(&picture), Path::to_path_buf).fingerprint()
    };
    assert_eq!(print(1), print(1));
    assert_ne!(print(1), print(2));
}

#[test]
fn a_joined_table_comes_apart_again() {
    let folder = tempfile::tempdir().unwrap();
    for (ending, format) in [
        ("parquet", TableFormat::Parquet),
        ("jsonl", TableFormat::JsonLines),
    ] {
        let at = |name: &str| folder.path().join(format!("{name}.{ending}"));
        let parts: Vec<_> = (0..3).map(|n| at(&n.to_string())).collect();
        for (n, part) in parts.iter().enumerate() {
            let numbers = Int64Array::from_iter_values(100 * n as i64..100 * n as i64 + 70);
            let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]);
            write(part, &[batch.unwrap()]);
        }
        join(&parts, at("all"), format).unwrap();
        split(at("all"), &[(70..140, at("again"))], format).unwrap();
        let numbers = |name: &str| {
            let table = Table::open(at(name)).unwrap();
            table
                .batches(0..table.rows(), 100)
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
        };
        assert_eq!(numbers("again"), numbers("1"));
        fs::rename(at("again"), at("1")).unwrap();
        let before = fs::read(at("all")).unwrap();
        join(&parts, at("all"), format).unwrap();
        assert_eq!(fs::read(at("all")).unwrap(), before);
        assert!(split(at("all"), &[(70..300, at("more"))], format).is_err());
        assert!(!at("more").exists());
    }
}
