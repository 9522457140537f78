//! Columns of JSON as texts, where they are read as such.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::Value;

use super::{json_kinds::is_json, text_column::TextColumn};

/// A batch in which a column whose values are of several kinds is one of texts: a text is itself, and a number
/// or a truth value is as it is written. A list or an object is no text, and null; with `lists`, lists stay
/// JSON. Other columns, and other tables, are as they were.
///
/// ```
/// use blip2_io::tables::{Table, TextColumn, texts_of};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("a.jsonl");
/// std::fs::write(&file, "{\"q\": \"how many?\"}\n{\"q\": 7}\n{\"q\": [1]}\n")?;
/// let table = Table::open(&file)?;
/// for batch in table.batches(0..3, 3)? {
///     let batch = texts_of(&batch?, "q", false);
///     let texts = TextColumn::of(batch.column(0)).expect("texts");
///     assert_eq!([texts.get(0), texts.get(1), texts.get(2)], [Some("how many?"), Some("7"), None]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn texts_of(batch: &RecordBatch, column: &str, lists: bool) -> RecordBatch {
    replaced(batch, column, lists).unwrap_or_else(|| batch.clone())
}

fn replaced(batch: &RecordBatch, column: &str, lists: bool) -> Option<RecordBatch> {
    let schema = batch.schema();
    let (place, field) = schema.column_with_name(column)?;
    if !is_json(field) {
        return None;
    }
    let values = TextColumn::of(batch.columns().get(place)?.as_ref())?;
    let rows = 0..batch.num_rows();
    let texts: StringArray = rows.map(|row| text(values.get(row)?, lists)).collect();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    *fields.get_mut(place)? = Arc::new(Field::new(field.name(), DataType::Utf8, true));
    *columns.get_mut(place)? = Arc::new(texts);
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).ok()
}

fn text(json: &str, lists: bool) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => match serde_json::from_str(json).ok()? {
            Value::String(text) => Some(text),
            _ => None,
        },
        b'[' => lists.then(|| json.to_string()),
        b'{' => None,
        _ => Some(json.to_string()),
    }
}
