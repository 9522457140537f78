//! Tables of pictures, and the program that is given them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use blip2_io::tables::{
    Table, TableFormat, TableWriter,
    arrow_array::{
        ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray, cast::AsArray,
        types::Float32Type,
    },
    arrow_schema::{DataType, Field},
};
use serde_json::Value;

pub(crate) const QUESTION: &str = "what color is the shape?";

pub(crate) fn blip2(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .env("RAYON_NUM_THREADS", "1");
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    blip2(arguments).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

#[track_caller]
pub(crate) fn fails(arguments: &[&str], code: i32, says: &str) -> String {
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
pub(crate) fn picture(n: usize) -> Vec<u8> {
    let color = [(n * 37) as u8, (n * 101) as u8, (255 - n * 59 % 256) as u8];
    let image = image::RgbImage::from_fn(32, 32, |x, y| {
        let inside = (8..24).contains(&x) && (6..26).contains(&y);
        image::Rgb(if inside { color } else { [240, 240, 240] })
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    /// A folder `photos` of pictures.
    pub(crate) fn photos(&self, count: usize) {
        fs::create_dir(self.path("photos")).unwrap();
        for n in 0..count {
            fs::write(self.path(&format!("photos/{n:03}.png")), picture(n)).unwrap();
        }
    }

    /// `photos.parquet` as the hub has it: pictures in structs, questions and numbers beside them.
    pub(crate) fn hub_table(&self, count: usize) {
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

    pub(crate) fn parquet(&self, name: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer =
            TableWriter::create(self.path(name), TableFormat::Parquet, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> RecordBatch {
        let table = Table::open(self.path(name)).unwrap();
        let rows = table.rows();
        let mut batches = table.batches(0..rows, rows.max(1) as usize).unwrap();
        batches.next().unwrap().unwrap()
    }

    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    let array = batch.column_by_name(name).unwrap();
    let texts = array.as_string::<i32>();
    texts
        .iter()
        .map(|text| text.unwrap_or("null").to_string())
        .collect()
}

pub(crate) fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    let array = batch.column_by_name(name).unwrap();
    array.as_primitive::<Float32Type>().iter().collect()
}

/// Every file of a folder but the lock, with its content.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| !name.ends_with(".lock"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}
