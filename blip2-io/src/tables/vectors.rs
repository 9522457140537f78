//! Columns of vectors.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray,
    builder::{BooleanBufferBuilder, Float32Builder},
};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, Field};

/// The type of vectors of a shape: lists of a fixed size, within lists where there are several
/// dimensions.
///
/// ```
/// use blip2_io::tables::vector_type;
///
/// assert_eq!(vector_type(&[256]).to_string(), "FixedSizeList(256 x non-null Float32)");
/// ```
pub fn vector_type(shape: &[usize]) -> DataType {
    match shape {
        [] => DataType::Float32,
        [size, inner @ ..] => DataType::FixedSizeList(item(inner), width(*size)),
    }
}

/// A column of vectors of a shape; a row without one is null.
///
/// # Errors
///
/// If the numbers of a row are more or fewer than the shape has.
pub fn vector_column(shape: &[usize], rows: &[Option<Vec<f32>>]) -> Result<ArrayRef, ArrowError> {
    let size: usize = shape.iter().product();
    let mut values = Float32Builder::with_capacity(rows.len() * size);
    let mut valid = BooleanBufferBuilder::new(rows.len());
    for row in rows {
        valid.append(row.is_some());
        match row {
            Some(row) if row.len() == size => values.append_slice(row),
            // Lists of a fixed size have their room where there is none, too.
            None => values.append_slice(&vec![0.0; size]),
            Some(row) => {
                return Err(ArrowError::InvalidArgumentError(format!(
                    "a vector of {} numbers where {size} are due",
                    row.len()
                )));
            }
        }
    }
    let mut array: ArrayRef = Arc::new(values.finish());
    for depth in (0..shape.len()).rev() {
        let (Some(size), Some(inner)) = (shape.get(depth), shape.get(depth + 1..)) else {
            break;
        };
        let nulls = (depth == 0).then(|| NullBuffer::new(valid.finish()));
        let list = FixedSizeListArray::try_new(item(inner), width(*size), array, nulls)?;
        array = Arc::new(list);
    }
    Ok(array)
}

fn item(inner: &[usize]) -> Arc<Field> {
    Arc::new(Field::new("item", vector_type(inner), false))
}

fn width(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}
