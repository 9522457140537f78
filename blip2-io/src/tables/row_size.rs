//! How large a row is.

use arrow_array::{Array, RecordBatch, cast::AsArray};

use super::text_column::{BytesColumn, TextColumn, list_range};

/// What a value of a fixed width is taken for, in bytes.
const FIXED: usize = 8;

/// About how many bytes the values of a row take. It follows from the values alone.
pub(super) fn row_size(batch: &RecordBatch, row: usize) -> usize {
    batch.columns().iter().map(|column| size(column, row)).sum()
}

fn size(array: &dyn Array, row: usize) -> usize {
    if let Some(bytes) = BytesColumn::of(array) {
        return FIXED + bytes.get(row).map_or(0, <[u8]>::len);
    }
    if let Some(range) = list_range(array, row) {
        return FIXED * (1 + range.len());
    }
    if let Some(fields) = array.as_struct_opt() {
        return fields.columns().iter().map(|field| size(field, row)).sum();
    }
    match array.data_type().is_primitive() {
        true => FIXED,
        false => {
            FIXED
                + TextColumn::of(array)
                    .and_then(|texts| texts.get(row))
                    .map_or(0, str::len)
        }
    }
}
