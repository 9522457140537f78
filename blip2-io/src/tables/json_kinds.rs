//! Which Arrow type holds the values of a key.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef,
    builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder},
};
use arrow_schema::{DataType, Field};
use serde_json::Value;

/// The key of a field's metadata that says that its texts are JSON.
const IS_JSON: &str = "blip2.json";

/// What all values of a key have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was none but null.
    Unknown,
    Truth,
    Integer,
    Number,
    Text,
    /// Whatever it is, as JSON text.
    Json,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Unknown,
            Value::Bool(_) => Self::Truth,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) | Value::Object(_) => Self::Json,
        }
    }

    /// The kind that holds what was there and this value.
    pub(super) fn with(self, value: &Value) -> Self {
        match (self, Self::of(value)) {
            (one, other) if one == other => one,
            (one, Self::Unknown) => one,
            (Self::Unknown, other) => other,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Json,
        }
    }

    pub(super) fn field(self, name: &str) -> Field {
        let data_type = match self {
            Self::Truth => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Unknown | Self::Text | Self::Json => DataType::Utf8,
        };
        let field = Field::new(name, data_type, true);
        match self {
            Self::Json => field.with_metadata(HashMap::from([(IS_JSON.into(), "true".into())])),
            _ => field,
        }
    }

    /// The values of a key, row by row.
    pub(super) fn array(self, values: &[Option<Value>]) -> ArrayRef {
        let values = values.iter().map(Option::as_ref);
        match self {
            Self::Truth => {
                let mut array = BooleanBuilder::new();
                values.for_each(|value| array.append_option(value.and_then(Value::as_bool)));
                Arc::new(array.finish())
            }
            Self::Integer => {
                let mut array = Int64Builder::new();
                values.for_each(|value| array.append_option(value.and_then(Value::as_i64)));
                Arc::new(array.finish())
            }
            Self::Number => {
                let mut array = Float64Builder::new();
                values.for_each(|value| array.append_option(value.and_then(Value::as_f64)));
                Arc::new(array.finish())
            }
            Self::Unknown | Self::Text => {
                let mut array = StringBuilder::new();
                values.for_each(|value| array.append_option(value.and_then(Value::as_str)));
                Arc::new(array.finish())
            }
            Self::Json => {
                let mut array = StringBuilder::new();
                values.for_each(|value| match value {
                    None | Some(Value::Null) => array.append_null(),
                    Some(value) => array.append_value(value.to_string()),
                });
                Arc::new(array.finish())
            }
        }
    }
}

/// Whether a column's texts are JSON.
pub(super) fn is_json(field: &Field) -> bool {
    field.metadata().contains_key(IS_JSON)
}
