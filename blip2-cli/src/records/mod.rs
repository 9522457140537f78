//! What a command writes of many pictures: a record of each, on standard output or in a file that
//! grows, so that a run that was stopped goes on where it was.

mod grown;
mod mend;
mod sink;
mod table;

pub(crate) use sink::{Output, Schema, Sink, beside};
pub(crate) use table::read_table;

use serde_json::{Map, Value};

/// What is known of one picture, by the names of its columns.
pub(crate) type Record = Map<String, Value>;

/// A record's value as a table's cell holds it.
fn cell(record: &Record, column: &str) -> String {
    match record.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// By which of its values a record is known.
fn key(record: &Record, columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| cell(record, column)).collect()
}
