//! Vectors in a column of a table.

use std::path::Path;

use arrow_array::{Array, cast::AsArray, types::Float32Type};
use arrow_schema::{DataType, Field};

use super::{Vectors, error::VectorError};
use crate::tables::{PictureColumn, Table};

/// What a column of vectors is called, where there are several.
const USUAL: &str = "embedding";
/// How many rows are read at once.
const ROWS: usize = 4096;

/// Reads a table's column of vectors.
pub(super) fn read(path: &Path) -> Result<Vectors, VectorError> {
    let table = Table::open(path)?;
    let (name, shape) = column(&table)?;
    let size = shape.iter().product::<usize>();
    let pictures = PictureColumn::usual(&table.schema());
    let columns: Vec<&str> = [name.as_str()].into_iter().chain(pictures).collect();
    let (mut values, mut names, mut rows, mut before) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for batch in table.batches_of(&columns, 0..table.rows(), ROWS)? {
        let batch = batch?;
        let Some(column) = batch.column_by_name(&name) else {
            break;
        };
        let pictures = pictures.and_then(|pictures| batch.column_by_name(pictures));
        let pictures = pictures.and_then(|pictures| PictureColumn::of(pictures.as_ref()));
        for row in (0..batch.num_rows()).filter(|&row| column.is_valid(row)) {
            append(column.slice(row, 1).as_ref(), size, &mut values).ok_or_else(|| {
                let reason = format!("has no vector of {size} numbers in row {}", before + row);
                VectorError::Table(table.column(&name, reason))
            })?;
            rows.push(before + row);
            let path = pictures.as_ref().and_then(|pictures| pictures.path(row));
            names.extend(path.map(str::to_string));
        }
        before += batch.num_rows();
    }
    let mut whole = vec![rows.len()];
    whole.extend(shape);
    // All have a name, or none.
    names.truncate(if names.len() == rows.len() {
        rows.len()
    } else {
        0
    });
    let vectors = Vectors::new(path, values.into(), &whole)?;
    let left_out = before - rows.len();
    Ok(Vectors {
        names,
        rows: (left_out > 0).then_some(rows),
        left_out,
        ..vectors
    })
}

/// The name of the column of vectors, and their shape.
fn column(table: &Table) -> Result<(String, Vec<usize>), VectorError> {
    let schema = table.schema();
    let vectors = schema
        .fields()
        .iter()
        .filter(|field| shape(field).is_some());
    let vectors: Vec<_> = vectors.collect();
    let usual = vectors.iter().find(|field| field.name() == USUAL);
    let found = match (usual, vectors.as_slice()) {
        (Some(usual), _) => Some(usual),
        (None, [only]) => Some(only),
        _ => None,
    };
    let found = found.and_then(|field| Some((field.name().clone(), shape(field)?)));
    found.ok_or_else(|| {
        let reason = match vectors.is_empty() {
            true => "is not there, nor any other of vectors (lists of a fixed size of float32)",
            false => "is not there, and there are several of vectors; name one of them so",
        };
        VectorError::Table(table.column(USUAL, reason))
    })
}

/// The shape of vectors that a column holds.
fn shape(field: &Field) -> Option<Vec<usize>> {
    let mut shape = Vec::new();
    let mut data_type = field.data_type();
    while let DataType::FixedSizeList(item, size) = data_type {
        shape.push(usize::try_from(*size).ok()?);
        data_type = item.data_type();
    }
    (*data_type == DataType::Float32 && !shape.is_empty()).then_some(shape)
}

/// Appends the numbers of an array's rows, which are there; `None` if one has not as many.
fn append(array: &dyn Array, size: usize, values: &mut Vec<u8>) -> Option<()> {
    let (mut inner, mut begin, mut count) = (array, 0, array.len());
    while let Some(lists) = inner.as_fixed_size_list_opt() {
        let width = usize::try_from(lists.value_length()).ok()?;
        (begin, count) = (begin * width, count * width);
        inner = lists.values().as_ref();
    }
    let numbers = inner.as_primitive_opt::<Float32Type>()?;
    if count != array.len() * size || numbers.null_count() > 0 {
        return None;
    }
    let numbers = numbers.values().get(begin..begin + count)?;
    values.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    Some(())
}
