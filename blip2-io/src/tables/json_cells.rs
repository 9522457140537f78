//! Arrow's values as JSON.

use std::io::{self, Write};

use arrow_array::{
    Array,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
        DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, Field};
use serde::Serialize;

use super::{
    json_kinds::is_json,
    json_times::{self, Time},
    text_column::{TextColumn, ValidAt, list_range},
};

/// Whether values of a type can be written as JSON. Bytes cannot: of a struct with them, what is beside
/// them is written.
pub(super) fn fits(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            fits(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| fits(field.data_type())),
        other => other.is_numeric() || TextColumn::is_one(other),
    }
}

/// Writes a value.
pub(super) fn write(
    out: &mut impl Write,
    field: &Field,
    array: &dyn Array,
    row: usize,
) -> io::Result<()> {
    if !array.is_valid_at(row) {
        return out.write_all(b"null");
    }
    if let Some(text) = TextColumn::of(array).and_then(|texts| texts.get(row)) {
        return match is_json(field) {
            true => out.write_all(text.as_bytes()),
            false => json(out, text),
        };
    }
    match array.data_type() {
        DataType::Boolean => json(out, &array.as_boolean_opt().map(|array| array.value(row))),
        DataType::Struct(fields) => {
            let columns = array
                .as_struct_opt()
                .map_or(&[][..], |array| array.columns());
            object(
                out,
                fields
                    .iter()
                    .map(AsRef::as_ref)
                    .zip(columns.iter().map(AsRef::as_ref)),
                row,
            )
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            list(out, item, array, row)
        }
        _ => number(out, array, row),
    }
}

/// Writes named values as an object.
pub(super) fn object<'a>(
    out: &mut impl Write,
    columns: impl Iterator<Item = (&'a Field, &'a dyn Array)>,
    row: usize,
) -> io::Result<()> {
    out.write_all(b"{")?;
    let mut is_first = true;
    for (field, array) in columns.filter(|(field, _)| fits(field.data_type())) {
        if !is_first {
            out.write_all(b",")?;
        }
        is_first = false;
        json(out, field.name())?;
        out.write_all(b":")?;
        // A writer behind a reference: structs within structs would else be types without end.
        write(&mut (out as &mut dyn Write), field, array, row)?;
    }
    out.write_all(b"}")
}

fn list(out: &mut impl Write, item: &Field, array: &dyn Array, row: usize) -> io::Result<()> {
    let values = match array.data_type() {
        DataType::List(_) => array.as_list_opt::<i32>().map(|lists| lists.values()),
        DataType::LargeList(_) => array.as_list_opt::<i64>().map(|lists| lists.values()),
        _ => array.as_fixed_size_list_opt().map(|lists| lists.values()),
    };
    out.write_all(b"[")?;
    if let (Some(values), Some(range)) = (values, list_range(array, row)) {
        for (n, place) in range.enumerate() {
            if n > 0 {
                out.write_all(b",")?;
            }
            write(&mut (out as &mut dyn Write), item, values.as_ref(), place)?;
        }
    }
    out.write_all(b"]")
}

fn number(out: &mut impl Write, array: &dyn Array, row: usize) -> io::Result<()> {
    match array.data_type() {
        DataType::Int8 => json(out, &value::<Int8Type>(array, row)),
        DataType::Int16 => json(out, &value::<Int16Type>(array, row)),
        DataType::Int32 => json(out, &value::<Int32Type>(array, row)),
        DataType::Int64 => json(out, &value::<Int64Type>(array, row)),
        DataType::UInt8 => json(out, &value::<UInt8Type>(array, row)),
        DataType::UInt16 => json(out, &value::<UInt16Type>(array, row)),
        DataType::UInt32 => json(out, &value::<UInt32Type>(array, row)),
        DataType::UInt64 => json(out, &value::<UInt64Type>(array, row)),
        DataType::Float16 => json(out, &value::<Float16Type>(array, row).map(f32::from)),
        DataType::Float32 => json(out, &value::<Float32Type>(array, row)),
        DataType::Float64 => json(out, &value::<Float64Type>(array, row)),
        DataType::Decimal32(..) => json(out, &decimal::<Decimal32Type>(array, row)),
        DataType::Decimal64(..) => json(out, &decimal::<Decimal64Type>(array, row)),
        DataType::Decimal128(..) => json(out, &decimal::<Decimal128Type>(array, row)),
        DataType::Decimal256(..) => json(out, &decimal::<Decimal256Type>(array, row)),
        _ => match json_times::time(array, row) {
            Some(Time::Written(text)) => json(out, &text),
            Some(Time::Count(count)) => json(out, &count),
            None => out.write_all(b"null"),
        },
    }
}

fn value<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Option<T::Native> {
    array.as_primitive_opt::<T>().map(|array| array.value(row))
}

fn decimal<T: DecimalType>(array: &dyn Array, row: usize) -> Option<String> {
    let array = array.as_primitive_opt::<T>()?;
    Some(array.value_as_string(row))
}

fn json(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}
