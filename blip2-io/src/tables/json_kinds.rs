//! Which Arrow type holds the values of a key.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef,
    builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, UInt64Builder},
};
use arrow_schema::{DataType, Field};
use serde_json::{Number, Value};

/// The key of a field's metadata that says that its texts are JSON.
const IS_JSON: &str = "blip2.json";
/// Up to here a number with a fraction can be every whole number.
const EXACT: u64 = 1 << 53;

/// What all values of a key have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was none but null.
    Unknown,
    Truth,
    Integer,
    Unsigned,
    Number,
    Text,
    /// Whatever it is, as JSON text.
    Json,
}

/// A value of a line, and as it is written where that was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) value: Value,
    pub(super) raw: Option<String>,
}

/// What values of a key there were, each kind a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found(u16);

impl Found {
    const TRUTH: u16 = 1;
    const INTEGER: u16 = 1 << 1;
    const NEGATIVE: u16 = 1 << 2;
    /// More than a number with a fraction holds.
    const LARGE: u16 = 1 << 3;
    /// More than a signed number holds.
    const UNSIGNED: u16 = 1 << 4;
    const FRACTION: u16 = 1 << 5;
    const TEXT: u16 = 1 << 6;
    /// A list, an object, or a whole number that no type holds.
    const OTHER: u16 = 1 << 7;

    /// Takes note of a value; `raw` tells how it is written.
    pub(super) fn add(&mut self, value: &Value, raw: impl FnOnce() -> Option<String>) {
        self.0 |= match value {
            Value::Null => 0,
            Value::Bool(_) => Self::TRUTH,
            Value::Number(number) => Self::of_number(number, raw),
            Value::String(_) => Self::TEXT,
            Value::Array(_) | Value::Object(_) => Self::OTHER,
        };
    }

    fn of_number(number: &Number, raw: impl FnOnce() -> Option<String>) -> u16 {
        let large = |size: u64| if size > EXACT { Self::LARGE } else { 0 };
        if let Some(whole) = number.as_i64() {
            let sign = if whole < 0 { Self::NEGATIVE } else { 0 };
            return Self::INTEGER | sign | large(whole.unsigned_abs());
        }
        if number.is_u64() {
            return Self::INTEGER | Self::LARGE | Self::UNSIGNED;
        }
        // A whole number of more digits became one with a fraction when it was read; smaller ones did not.
        let is_large = number
            .as_f64()
            .is_some_and(|float| float.abs() > i64::MAX as f64);
        let is_rounded = is_large && raw().is_some_and(|raw| !raw.contains(['.', 'e', 'E']));
        match is_rounded {
            true => Self::OTHER,
            false => Self::FRACTION,
        }
    }

    /// The kind that holds all of them as they are.
    pub(super) fn kind(self) -> Kind {
        let is_only = |kinds: u16| self.0 & !kinds == 0;
        let whole = Self::INTEGER | Self::LARGE;
        if self.0 == 0 {
            Kind::Unknown
        } else if is_only(Self::TRUTH) {
            Kind::Truth
        } else if is_only(whole | Self::NEGATIVE) {
            Kind::Integer
        } else if is_only(whole | Self::UNSIGNED) {
            Kind::Unsigned
        } else if is_only(Self::INTEGER | Self::NEGATIVE | Self::FRACTION) {
            Kind::Number
        } else if is_only(Self::TEXT) {
            Kind::Text
        } else {
            Kind::Json
        }
    }
}

impl Kind {
    pub(super) fn field(self, name: &str) -> Field {
        let data_type = match self {
            Self::Truth => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
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
    pub(super) fn array(self, cells: &[Option<Cell>]) -> ArrayRef {
        let values = cells
            .iter()
            .map(|cell| cell.as_ref().map(|cell| &cell.value));
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
            Self::Unsigned => {
                let mut array = UInt64Builder::new();
                values.for_each(|value| array.append_option(value.and_then(Value::as_u64)));
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
                for cell in cells {
                    let cell = cell.as_ref().filter(|cell| !cell.value.is_null());
                    array.append_option(cell.map(Cell::text));
                }
                Arc::new(array.finish())
            }
        }
    }
}

impl Cell {
    fn text(&self) -> String {
        self.raw.clone().unwrap_or_else(|| self.value.to_string())
    }
}

/// Whether a column's texts are JSON.
pub(super) fn is_json(field: &Field) -> bool {
    field.metadata().contains_key(IS_JSON)
}
