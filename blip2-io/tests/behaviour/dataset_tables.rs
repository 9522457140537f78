//! Tables in Parquet: what is read of them, in which order, and what is refused.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int64Array, RecordBatch,
    StringArray, StructArray, TimestampMillisecondArray,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::{DataType, Field};
use blip2_io::{
    dataset::{Columns, Dataset, DatasetError, Loader, OnBroken},
    preprocessing::{DecodeOptions, ImageProcessor, ImageProcessorConfig, Size},
};
use image::{Rgb, RgbImage};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

fn fixture(name: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/tables");
    Path::new(root).join(name)
}

fn png(level: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(8, 8, Rgb([level, 0, 0]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn read(path: &Path, columns: &Columns) -> Result<Dataset, DatasetError> {
    Dataset::parquet(&[path.to_path_buf()], None, None, columns, OnBroken::Skip)
}

fn texts(all: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(all.to_vec()))
}

fn bytes(all: &[Option<Vec<u8>>]) -> ArrayRef {
    let all: Vec<Option<&[u8]>> = all.iter().map(Option::as_deref).collect();
    Arc::new(BinaryArray::from(all))
}

/// `{bytes, path}`, as the hub writes pictures.
fn pictures(bytes_of: &[Option<Vec<u8>>], names: &[Option<&str>]) -> ArrayRef {
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    Arc::new(StructArray::from(vec![
        (field("bytes", DataType::Binary), bytes(bytes_of)),
        (field("path", DataType::Utf8), texts(names)),
    ]))
}

fn lists(all: &[Option<&[&str]>]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for own in all {
        match own {
            None => lists.append(false),
            Some(own) => {
                own.iter()
                    .for_each(|text| lists.values().append_value(text));
                lists.append(true);
            }
        }
    }
    Arc::new(lists.finish())
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group: usize) {
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A file whose row groups have the numbers of rows in `groups`, as writers leave them that were handed no rows.
fn grouped(path: &Path, groups: &[usize]) {
    let schema = "message r { optional binary image; optional binary question (UTF8); \
                  optional binary answer (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut level = 0;
    for &rows in groups {
        let mut group = writer.next_row_group().unwrap();
        let mut number = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            let values: Vec<ByteArray> = (0..rows)
                .map(|row| match number {
                    0 => png(level + row as u8).into(),
                    1 => "what?".into(),
                    _ => (usize::from(level) + row).to_string().as_str().into(),
                })
                .collect();
            let typed = column.typed::<ByteArrayType>();
            if rows > 0 {
                typed
                    .write_batch(&values, Some(&vec![1; rows]), None)
                    .unwrap();
            }
            column.close().unwrap();
            number += 1;
        }
        group.close().unwrap();
        level += rows as u8;
    }
    writer.close().unwrap();
}

/// Row groups and files without rows are what they are: nothing to read.
#[test]
fn what_has_no_rows_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for groups in [&[2, 0][..], &[0, 2], &[1, 0, 0, 1], &[0, 1, 1, 0]] {
        grouped(&at("a.parquet"), groups);
        let data = read(&at("a.parquet"), &Columns::default()).unwrap();
        let found: Vec<(String, String, u8)> = data
            .examples()
            .iter()
            .map(|own| {
                (
                    own.place.clone(),
                    own.answers.concat(),
                    level(&data, own.picture),
                )
            })
            .collect();
        let due = |row: u8| (format!("row {row}"), row.to_string(), row);
        assert_eq!(found, [due(0), due(1)], "{groups:?}");
        assert!(data.faults(1, |_| None, |_| true).unwrap().is_empty());
    }
    // Shards without rows, of no row group, of an empty one, of columns of nothing, and of none.
    grouped(&at("b.parquet"), &[]);
    grouped(&at("c.parquet"), &[0]);
    let nothing = || -> ArrayRef { Arc::new(arrow_array::NullArray::new(0)) };
    write(
        &at("d.parquet"),
        vec![("image", nothing()), ("question", nothing())],
        9,
    );
    write(&at("e.parquet"), vec![("index", nothing())], 9);
    let shards: Vec<PathBuf> = ["b", "c", "a", "d", "e"]
        .map(|name| at(&format!("{name}.parquet")))
        .into();
    let all = Dataset::parquet(&shards, None, None, &Columns::default(), OnBroken::Fail).unwrap();
    assert_eq!((all.len(), level(&all, 1)), (2, 1));
    for alone in ["b", "c", "d", "e"] {
        let error = read(&at(&format!("{alone}.parquet")), &Columns::default());
        assert!(
            matches!(error, Err(DatasetError::Empty { .. })),
            "{alone}: {error:?}"
        );
    }
}

/// A column that holds what is not read is named with its type, and not taken for one that is missing.
#[test]
fn columns_of_types_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let decimal = || -> ArrayRef {
        let own = Decimal128Array::from(vec![125]);
        Arc::new(own.with_precision_and_scale(5, 2).unwrap())
    };
    let time = || -> ArrayRef { Arc::new(TimestampMillisecondArray::from(vec![1])) };
    let date = || -> ArrayRef { Arc::new(Date32Array::from(vec![1])) };
    let object = || -> ArrayRef {
        let field = Arc::new(Field::new("answer", decimal().data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field, decimal())]))
    };
    let named = Columns::default().with_answer(Some("a".into()));
    let text = || texts(&[Some("what?")]);
    for (question, name, answer, columns, said) in [
        (
            text(),
            "answer",
            decimal(),
            Columns::default(),
            "its column `answer` holds decimals",
        ),
        (
            text(),
            "answers",
            time(),
            Columns::default(),
            "its column `answers` holds dates with times",
        ),
        (
            text(),
            "direct_answers",
            date(),
            Columns::default(),
            "`direct_answers` holds dates, where texts",
        ),
        (
            text(),
            "a",
            decimal(),
            named,
            "its column `a` holds decimals",
        ),
        (
            text(),
            "choices",
            decimal(),
            Columns::default(),
            "its column `choices` holds decimals",
        ),
        (
            text(),
            "answers",
            object(),
            Columns::default(),
            "`answers` holds objects whose `answer` holds decimals",
        ),
        (
            time(),
            "answer",
            text(),
            Columns::default(),
            "its column `question` holds dates with times",
        ),
    ] {
        let columns_of = vec![
            ("image", bytes(&[Some(png(1))])),
            ("question", question),
            (name, answer),
        ];
        write(&path, columns_of, 9);
        let error = read(&path, &columns).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // Where another column has the answer, or a caption is there, it means something else.
    let captions = vec![
        ("image", bytes(&[Some(png(1))])),
        ("question", time()),
        ("caption", text()),
        ("answer", decimal()),
    ];
    let answers = vec![
        ("image", bytes(&[Some(png(1))])),
        ("question", text()),
        ("answers", decimal()),
        ("answer", text()),
    ];
    write(&path, answers, 9);
    let data = read(&path, &Columns::default()).unwrap();
    assert_eq!(data.examples()[0].answers, ["what?"]);
    write(&path, captions, 9);
    let data = read(&path, &Columns::default()).unwrap();
    assert_eq!(data.examples()[0].answers, ["what?"]);
}

fn level(data: &Dataset, picture: usize) -> u8 {
    let opened = data.pictures()[picture].open(&DecodeOptions::default());
    opened.unwrap().get_pixel(0, 0)[0]
}

/// What `datasets` and pandas write, by a script in Python.
#[test]
fn tables_of_the_hub_are_read() {
    let folder = [fixture("vqa")];
    let columns = Columns::default();
    let data = Dataset::parquet(&folder, Some("train"), None, &columns, OnBroken::Fail).unwrap();
    assert_eq!(data.len(), 8);
    for (number, example) in data.examples().iter().enumerate() {
        let question = format!("how many dogs? {number}");
        assert_eq!(example.question.as_deref(), Some(&*question));
        assert_eq!(example.answers, [number.to_string(), number.to_string()]);
        assert_eq!(example.id, (1000 + number).to_string());
        assert_eq!(example.question_type.as_deref(), Some("how many"));
        assert_eq!(usize::from(level(&data, example.picture)), number);
    }
    let place = &data.examples()[5].place;
    assert_eq!(place, "train-00001-of-00002.parquet, row 1");
    let error = Dataset::parquet(&folder, None, None, &columns, OnBroken::Fail).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("the splits `train`, `validation`: say which by `split`"),
        "{told}"
    );

    let columns = Columns::default().with_caption(Some("sentences".into()));
    let data = read(&fixture("captions.parquet"), &columns).unwrap();
    let found: Vec<&[String]> = data.examples().iter().map(|own| &own.answers[..]).collect();
    assert_eq!(
        found,
        [
            &["a dog".to_string(), "one dog".into()][..],
            &["a cat".into()]
        ]
    );
    assert_eq!([level(&data, 0), level(&data, 1)], [100, 101]);
    assert_eq!(data.examples()[1].id, "row 1");
}

#[test]
fn columns_are_named_and_lead_into_objects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let field = Arc::new(Field::new(
        "text",
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        true,
    ));
    let answers: ArrayRef = Arc::new(StructArray::from(vec![(
        field,
        lists(&[Some(&["red", "dark red"]), Some(&["2"])]),
    )]));
    write(
        &path,
        vec![
            ("img", bytes(&[Some(png(1)), Some(png(2))])),
            ("q", texts(&[Some("what color?"), Some("how many?")])),
            ("answers", answers),
            ("key", Arc::new(Int64Array::from(vec![7, 8]))),
        ],
        100,
    );
    for answer in ["answers.text", "answers"] {
        let columns = Columns::default()
            .with_question(Some("q".into()))
            .with_answer(Some(answer.into()))
            .with_id(Some("key".into()));
        let data = read(&path, &columns).unwrap();
        assert_eq!(data.examples()[0].answers, ["red", "dark red"]);
        assert_eq!(data.examples()[1].id, "8");
        assert_eq!(level(&data, 1), 2);
    }
}

/// Questions and captions in one table, conversations of several turns, and rows that do not fit.
#[test]
fn rows_are_of_every_kind_and_told_by_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.parquet");
    let one = || Some(png(1));
    write(
        &path,
        vec![
            (
                "image",
                pictures(
                    &[one(), one(), None, one(), Some(b"no picture".to_vec())],
                    &[None, Some("x.png"), None, None, None],
                ),
            ),
            (
                "question",
                texts(&[Some("what?"), None, Some("what?"), None, Some("what?")]),
            ),
            (
                "answer",
                lists(&[Some(&["a", "b"]), None, Some(&["a"]), None, Some(&["c"])]),
            ),
            ("caption", texts(&[None, Some("a dog"), None, None, None])),
        ],
        2,
    );
    let data = read(&path, &Columns::default()).unwrap();
    let found: Vec<String> = data
        .examples()
        .iter()
        .map(|own| format!("{} {:?} {:?}", own.place, own.question, own.answers))
        .collect();
    assert_eq!(
        found,
        [
            "row 0 Some(\"what?\") [\"a\", \"b\"]",
            "row 1 None [\"a dog\"]",
            "row 2 Some(\"what?\") [\"a\"]",
            "row 4 Some(\"what?\") [\"c\"]",
        ]
    );
    let said: Vec<String> = data.broken().iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    assert!(
        said.contains("mixed.parquet, row 3: its `question` is empty: nothing is asked"),
        "{said}"
    );
    // What stands in a picture's place is seen when it is opened.
    let faults = data.faults(2, |_| None, |_| true).unwrap();
    assert!(
        faults[&2].contains("mixed.parquet/row 2/image: it is empty"),
        "{}",
        faults[&2]
    );
    assert!(
        faults[&3].contains("mixed.parquet/row 4/image"),
        "{}",
        faults[&3]
    );
    assert_eq!(faults.len(), 2);
}

#[test]
fn names_of_files_are_pictures_where_it_is_said_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.png"), png(9)).unwrap();
    let path = folder.path().join("names.parquet");
    for image in [
        texts(&[Some("x.png"), Some("../secret.png")]),
        pictures(&[None, None], &[Some("x.png"), Some("../secret.png")]),
    ] {
        write(
            &path,
            vec![
                ("image", image),
                ("text", texts(&[Some("a dog"), Some("a cat")])),
            ],
            9,
        );
        let told = read(&path, &Columns::default()).unwrap_err().to_string();
        assert!(
            told.contains("row 0: its `image` is the name of a file"),
            "{told}"
        );
        let (files, columns) = ([path.clone()], Columns::default());
        let data =
            Dataset::parquet(&files, None, Some(folder.path()), &columns, OnBroken::Skip).unwrap();
        assert_eq!((data.len(), level(&data, 0)), (1, 9));
        let broken = data.broken()[0].to_string();
        assert!(
            broken.contains("row 1: its picture `../secret.png` is outside"),
            "{broken}"
        );
    }
}

fn forty(path: &Path, group: usize) {
    let levels: Vec<Option<Vec<u8>>> = (0..40).map(|level| Some(png(level))).collect();
    let names: Vec<String> = (0..40).map(|name| name.to_string()).collect();
    let names: Vec<Option<&str>> = names.iter().map(|name| Some(&**name)).collect();
    write(
        path,
        vec![
            ("image", pictures(&levels, &names)),
            ("caption", texts(&names)),
        ],
        group,
    );
}

fn loader(data: Dataset) -> Loader {
    let config = ImageProcessorConfig::default().with_size(Size {
        height: 4,
        width: 4,
    });
    Loader::new(data, ImageProcessor::new(config).unwrap())
        .batch(4)
        .workers(3)
}

/// The same pictures whatever row group they lie in; the order follows from the seed and the epoch, stays
/// near that of the file, and goes on in place.
#[test]
fn a_buffer_shuffles_row_groups_and_goes_on_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    forty(&path, 5);
    let data = read(&path, &Columns::default()).unwrap();
    for (number, example) in data.examples().iter().enumerate() {
        assert_eq!(usize::from(level(&data, example.picture)), number);
    }
    let shuffled = loader(data.clone()).shuffled(3).shuffle_buffer(4);
    let order = |epoch: u64, first: usize| -> Vec<usize> {
        let batches = shuffled.epoch_from(epoch, first).map(Result::unwrap);
        let numbers = batches.flat_map(|batch| {
            let own = batch.examples.into_iter().map(|own| own.number);
            own.collect::<Vec<usize>>()
        });
        numbers.collect()
    };
    let whole = order(0, 0);
    assert_eq!(whole, order(0, 0));
    assert_eq!(whole[12..], order(0, 3));
    assert_ne!(whole, order(1, 0));
    let mut sorted = whole.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    assert_ne!(whole, sorted);
    // What is drawn is one of the first rows of the groups' own order: as many as were drawn, and four
    // that wait.
    for drawn in 1..=whole.len() {
        let groups: BTreeSet<usize> = whole[..drawn].iter().map(|row| row / 5).collect();
        assert!(groups.len() <= (drawn + 3).div_ceil(5), "{whole:?}");
    }
}

#[test]
fn files_and_columns_that_do_not_fit_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let one = || bytes(&[Some(png(1))]);
    let caption = || texts(&[Some("a dog")]);
    let number = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let named = |name: &str| Columns::default().with_caption(Some(name.into()));
    for (columns, by, said) in [
        (
            vec![("image", one()), ("label", caption())],
            Columns::default(),
            "it has neither a column `question` nor `caption`; its columns are `image`, `label`",
        ),
        (
            vec![("picture", number()), ("caption", caption())],
            Columns::default(),
            "it has no column `image`; its columns are `picture`, `caption`",
        ),
        (
            vec![("image", one()), ("caption", caption())],
            named("txt"),
            "it has no column `txt`; its columns are `image`, `caption`",
        ),
        (
            vec![
                ("image", lists(&[Some(&["a.png", "b.png"])])),
                ("caption", caption()),
            ],
            Columns::default(),
            "row 0: its `image` is a list of 2, and an example is of one",
        ),
        (
            vec![
                (
                    "image",
                    Arc::new(arrow_array::BooleanArray::from(vec![true])),
                ),
                ("caption", caption()),
            ],
            Columns::default(),
            "its column `image` holds true and false, where pictures' bytes",
        ),
    ] {
        write(&path, columns, 9);
        let error = read(&path, &by).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("a.parquet"),
            "{error}"
        );
    }
    forty(&path, 9);
    let whole = fs::read(&path).unwrap();
    for (bytes, said) in [
        (&whole[..whole.len() - 9], "as if it were cut off"),
        (&whole[..40], "as if it were cut off"),
        (b"PAR1", "it is too short"),
        (b"image,caption\na.png,a dog\n", "does not begin with PAR1"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = read(&path, &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// A byte that is changed anywhere gives an error or a record, and neither a panic nor memory without end.
#[test]
fn damaged_tables_end_politely() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    forty(&path, 20);
    let whole = fs::read(&path).unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    // The description at the end is what everything else follows from.
    let tail = whole.len() - 900;
    for place in (0..whole.len())
        .step_by(41)
        .chain((tail..whole.len()).step_by(3))
    {
        for value in [0, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = value;
            fs::write(&path, bytes).unwrap();
            let Ok(data) = read(&path, &Columns::default()) else {
                continue;
            };
            data.faults(1, |_| None, |_| true).unwrap();
        }
    }
}

/// Claims of gigabytes in a file of some hundred bytes are refused before any room is made for them.
#[test]
fn claims_that_no_file_holds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    // version 1, a schema of an element `r` with 2³¹ − 1 children, no rows, and as many row groups.
    let schema = [
        0x15, 2, 0x19, 0x1c, 0x48, 1, b'r', 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0,
    ];
    let groups = [0x16, 0, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0];
    let nested = [0x15, 2, 0x19, 0xfc, 100].into_iter();
    let nested = nested.chain([0x48, 1, b'r', 0x15, 2, 0].repeat(100));
    for (footer, said) in [
        (
            [&schema[..], &groups].concat(),
            "its description of itself is damaged",
        ),
        ([&schema[..], &[0]].concat(), "its columns are damaged"),
        (nested.chain([0]).collect(), "nested more than 32 deep"),
    ] {
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let bytes = [b"PAR1", &footer[..], &length, b"PAR1"].concat();
        fs::write(&path, bytes).unwrap();
        let error = read(&path, &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Rows of `{bytes, path}`: the levels of their pictures, and the names.
fn captioned(path: &Path, rows: &[(u8, Option<&str>)], ids: Option<&[i64]>, group: usize) {
    let levels: Vec<_> = rows.iter().map(|(level, _)| Some(png(*level))).collect();
    let names: Vec<_> = rows.iter().map(|(_, name)| *name).collect();
    let said: Vec<String> = (0..rows.len())
        .map(|row| format!("caption {row}"))
        .collect();
    let said: Vec<Option<&str>> = said.iter().map(|own| Some(own.as_str())).collect();
    let mut columns = vec![
        ("image", pictures(&levels, &names)),
        ("caption", texts(&said)),
    ];
    if let Some(ids) = ids {
        columns.push(("image_id", Arc::new(Int64Array::from(ids.to_vec()))));
    }
    write(path, columns, group);
}

/// The number of each example's picture.
fn numbers(data: &Dataset) -> Vec<usize> {
    data.examples().iter().map(|own| own.picture).collect()
}

#[test]
fn rows_of_one_picture_are_of_one_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let (a, b, same) = (Some("a.jpg"), Some("b.jpg"), Some("image.jpg"));
    type Case<'c> = (&'c [(u8, Option<&'c str>)], Option<&'c [i64]>, &'c [usize]);
    let cases: [Case<'_>; 6] = [
        (&[(1, a), (2, b), (1, a), (2, b)], None, &[0, 1, 0, 1]),
        (&[(1, None), (2, None), (1, None)], None, &[0, 1, 0]),
        (&[(1, Some("")), (1, Some(""))], None, &[0, 0]),
        // One name for all of them tells nothing.
        (&[(1, same), (2, same), (1, same)], None, &[0, 1, 0]),
        (&[(1, a), (1, b), (2, a)], Some(&[7, 7, 7]), &[0, 0, 1]),
        // What has two ids is two pictures, for whoever asks for answers by ids.
        (&[(1, None), (1, None)], Some(&[7, 8]), &[0, 1]),
    ];
    for (rows, ids, due) in cases {
        // In one row group, and each in its own.
        for group in [16, 1] {
            captioned(&path, rows, ids, group);
            let data = read(&path, &Columns::default()).unwrap();
            assert_eq!(numbers(&data), due, "{rows:?} {ids:?}");
            let count = due.iter().max().unwrap() + 1;
            assert_eq!(data.pictures().len(), count);
            for (example, (shown, _)) in data.examples().iter().zip(rows) {
                assert_eq!(level(&data, example.picture), *shown);
                let options = DecodeOptions::default();
                let own = data.open_of(example, &options).unwrap().into_frames();
                assert_eq!(own[0].get_pixel(0, 0).0[0], *shown);
            }
            assert_eq!(data.captions_by_picture().len(), count);
        }
    }
}

#[test]
fn pictures_of_several_tables_are_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.parquet", "b.parquet"].map(|name| folder.path().join(name));
    captioned(&files[0], &[(1, None), (2, None)], None, 16);
    captioned(&files[1], &[(3, None), (1, None)], None, 16);
    let columns = Columns::default();
    let data = Dataset::parquet(&files, None, None, &columns, OnBroken::Fail).unwrap();
    assert_eq!(numbers(&data), [0, 1, 2, 0]);
    // The first row of the one table, and the second of the other.
    let shown = data.clone().captions_by_picture();
    assert_eq!(shown.examples()[0].answers, ["caption 0", "caption 1"]);
    // A copy is a part of the data whose change is seen.
    let stamp = data.stamp();
    captioned(&files[1], &[(3, None), (1, None), (1, None)], None, 16);
    let data = Dataset::parquet(&files, None, None, &columns, OnBroken::Fail).unwrap();
    assert_ne!(data.stamp(), stamp);
}

#[test]
fn an_epoch_by_pictures_shows_each_picture_of_a_table_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    captioned(
        &path,
        &[(1, None), (2, None), (1, None), (1, None)],
        None,
        1,
    );
    let data = read(&path, &Columns::default()).unwrap();
    let config = ImageProcessorConfig::default().with_size(Size {
        height: 8,
        width: 8,
    });
    let loader = Loader::new(data, ImageProcessor::new(config).unwrap()).batch(8);
    assert_eq!(loader.epoch_len(), 4);
    let loader = loader.by_picture(2).shuffled(0).shuffle_buffer(4);
    assert_eq!(loader.epoch_len(), 2);
    let batch = loader.epoch(0).next().unwrap().unwrap();
    assert_eq!((batch.pictures.len(), batch.examples.len()), (2, 3));
}

#[test]
fn a_split_chooses_files_that_were_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        "train-00000-of-00001.parquet",
        "test-00000-of-00001.parquet",
    ];
    let files = files.map(|name| folder.path().join(name));
    captioned(&files[0], &[(1, None)], None, 16);
    captioned(&files[1], &[(2, None), (3, None)], None, 16);
    let read = |split| Dataset::parquet(&files, split, None, &Columns::default(), OnBroken::Fail);
    let counts = [None, Some("train"), Some("test")].map(|split| read(split).unwrap().len());
    assert_eq!(counts, [3, 1, 2]);
    let error = read(Some("dev")).unwrap_err().to_string();
    assert!(
        error.contains("no split `dev`, but `test`, `train`"),
        "{error}"
    );
}
