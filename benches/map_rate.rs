//! What `blip2 map` is measured against: the pipeline alone, over the pictures of a table that are
//! decoded in memory before the clock runs.
//!
//! ```sh
//! cargo run --release -p blip2-benches --example map_rate -- make small.parquet 10000
//! cargo run --release -p blip2-benches --example map_rate -- small.parquet 16
//! blip2 map small.parquet --caption -o out --batch 16
//! ```

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark that cannot run should say so loudly

use std::{env, io::Cursor, path::Path, sync::Arc, time::Instant};

use blip2_core::{Blip2Pipeline, Options, image::RgbImage, preprocessing::DecodeOptions};
use blip2_io::tables::{
    PictureColumn, Table, TableFormat, TableWriter,
    arrow_array::{BinaryArray, RecordBatch},
};

/// Pictures a batch of the table that is made.
const TOGETHER: usize = 500;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", path, count] => make(path, count.parse().unwrap()),
        [path, batch] => measure(path, batch.parse().unwrap()),
        _ => println!("give a table and a batch size, or `make`, a name and a number of pictures"),
    }
}

/// Small pictures, each with a rectangle of its own.
fn make(path: &str, count: usize) {
    let pictures = |begin: usize| {
        let rows = begin..(begin + TOGETHER).min(count);
        let pictures = BinaryArray::from_iter_values(rows.map(png));
        RecordBatch::try_from_iter([("image", Arc::new(pictures) as _)]).unwrap()
    };
    let schema = pictures(0).schema();
    let mut writer = TableWriter::create(path, TableFormat::Parquet, &schema).unwrap();
    for begin in (0..count).step_by(TOGETHER) {
        writer.write(&pictures(begin)).unwrap();
    }
    writer.finish().unwrap();
}

fn png(n: usize) -> Vec<u8> {
    let color = [n * 37, n * 101, n * 59].map(|level| level as u8);
    let image = RgbImage::from_fn(64, 64, |x, y| {
        let (left, top) = (n as u32 % 30, n as u32 % 23);
        let inside = (left..left + 24).contains(&x) && (top..top + 20).contains(&y);
        blip2_core::image::Rgb(if inside { color } else { [240; 3] })
    });
    let mut file = Cursor::new(Vec::new());
    image
        .write_to(&mut file, blip2_core::image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

fn measure(path: &str, batch: usize) {
    let table = Table::open(path).unwrap();
    let mut pictures = Vec::new();
    for rows in table.batches(0..table.rows(), batch).unwrap() {
        let rows = rows.unwrap();
        let column = PictureColumn::of(rows.column(0).as_ref()).unwrap();
        for row in 0..rows.num_rows() {
            let cell = column.cell(row).unwrap();
            pictures.push(
                cell.decode(Path::new(""), &DecodeOptions::default())
                    .unwrap(),
            );
        }
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blip2-cli/demo");
    let blip2 = Blip2Pipeline::from_pretrained(demo).unwrap();
    let options = Options::default();
    let begun = Instant::now();
    for some in pictures.chunks(batch) {
        assert_eq!(
            blip2.caption_batch(some, &options).unwrap().len(),
            some.len()
        );
    }
    let seconds = begun.elapsed().as_secs_f64();
    let count = pictures.len();
    println!(
        "{count} pictures in {seconds:.1} s, {:.1} a second",
        count as f64 / seconds
    );
}
