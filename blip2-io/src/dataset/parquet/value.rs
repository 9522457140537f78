//! The values of a table as a record's.

use arrow_array::{
    Array,
    cast::AsArray,
    types::{
        Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, Field};
use serde_json::{Map, Number, Value};

use crate::dataset::fields::TEXT_KEYS;

/// How deep lists and objects may stand in one another.
const DEEPEST: usize = 8;

/// Whether a column holds what a record may: texts, numbers, truths, and lists and objects of them.
pub(super) fn is_read(kind: &DataType) -> bool {
    is_read_at(kind, DEEPEST)
}

fn is_read_at(kind: &DataType, deepest: usize) -> bool {
    let Some(deeper) = deepest.checked_sub(1) else {
        return false;
    };
    match kind {
        DataType::List(member) => is_read_at(member.data_type(), deeper),
        DataType::Struct(fields) => {
            let mut all = fields.iter();
            all.clone()
                .any(|field| is_read_at(field.data_type(), deeper))
                && !all.any(|field| is_unread_text(field))
        }
        DataType::Utf8 | DataType::Binary | DataType::Boolean | DataType::Null => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// Whether a field of an object is the text that is looked for in it, and holds what no record has.
pub(super) fn is_unread_text(field: &Field) -> bool {
    TEXT_KEYS.contains(&field.name().as_str()) && !is_read(field.data_type())
}

/// The value of a row; null where there is none, and for what no record has a use for.
pub(in crate::dataset) fn value(array: &dyn Array, row: usize) -> Value {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Utf8 => text(array.as_string::<i32>().value(row)),
        // Texts that were written without saying so.
        DataType::Binary => match std::str::from_utf8(array.as_binary::<i32>().value(row)) {
            Ok(own) => text(own),
            Err(_) => Value::Null,
        },
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::List(_) => {
            let members = array.as_list::<i32>().value(row);
            let all = (0..members.len()).map(|place| value(&members, place));
            Value::Array(all.collect())
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let own = columns.map(|(field, column)| (field.name().clone(), value(column, row)));
            Value::Object(Map::from_iter(own))
        }
        _ => number(array, row).map_or(Value::Null, Value::Number),
    }
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn number(array: &dyn Array, row: usize) -> Option<Number> {
    Some(match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(row).to_f64())?,
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into())?,
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row))?,
        _ => return None,
    })
}

fn float(number: f64) -> Option<Number> {
    Number::from_f64(number)
}
