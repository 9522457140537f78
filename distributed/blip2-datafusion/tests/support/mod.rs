//! What the tests share: the demonstration model, example pictures, and a session.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{path::PathBuf, sync::Arc};

use blip2_core::{
    Blip2Pipeline,
    image::RgbImage,
    preprocessing::{DecodeOptions, decode_bytes},
};
use blip2_datafusion::Functions;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch},
        datatypes::{Field, Schema},
    },
    datasource::MemTable,
    error::Result,
    prelude::{SessionConfig, SessionContext},
};

pub(crate) const DEMO: &str = "../../blip2-cli/demo";
pub(crate) const PICTURES: &str = "../../examples/images";

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from("../../fixtures").join(name)
}

pub(crate) fn demo() -> Blip2Pipeline {
    Blip2Pipeline::from_pretrained(DEMO).unwrap()
}

/// The example pictures' names, in order.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(PICTURES).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".png")).collect();
    names.sort();
    assert!(names.len() >= 10);
    names
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(PICTURES).join(name)).unwrap()
}

pub(crate) fn files() -> Vec<Vec<u8>> {
    names().iter().map(|name| bytes(name)).collect()
}

pub(crate) fn images() -> Vec<RgbImage> {
    let files = files();
    let decoded = files
        .iter()
        .map(|file| decode_bytes(file, &DecodeOptions::default()));
    decoded.collect::<std::result::Result<_, _>>().unwrap()
}

/// A session with a table `photos` of these columns.
pub(crate) fn session(functions: &Functions, columns: Vec<(&str, ArrayRef)>) -> SessionContext {
    // One partition: rows of a query without an order come as they stand.
    let config = SessionConfig::new().with_target_partitions(1);
    let ctx = SessionContext::new_with_config(config);
    functions.register(&ctx).unwrap();
    table(&ctx, "photos", columns);
    ctx
}

pub(crate) fn table(ctx: &SessionContext, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let fields = columns.iter();
    let fields = fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
    ctx.register_table(name, Arc::new(table)).unwrap();
}

pub(crate) async fn run(ctx: &SessionContext, sql: &str) -> Result<RecordBatch> {
    let batches = ctx.sql(sql).await?.collect().await?;
    let schema = batches
        .first()
        .map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    Ok(datafusion::arrow::compute::concat_batches(
        &schema, &batches,
    )?)
}

/// The texts of the first column.
pub(crate) async fn texts(ctx: &SessionContext, sql: &str) -> Vec<Option<String>> {
    let rows = run(ctx, sql).await.unwrap();
    let column = rows.column(0).as_string::<i32>();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

/// The numbers of the first column.
pub(crate) async fn numbers(ctx: &SessionContext, sql: &str) -> Vec<Option<f32>> {
    let rows = run(ctx, sql).await.unwrap();
    let column = rows
        .column(0)
        .as_primitive::<datafusion::arrow::datatypes::Float32Type>();
    column.iter().collect()
}

/// What is said of a query that fails.
pub(crate) async fn refusal(ctx: &SessionContext, sql: &str) -> String {
    match run(ctx, sql).await {
        Ok(rows) => panic!("{sql} gave {rows:?}"),
        Err(error) => error.to_string(),
    }
}
