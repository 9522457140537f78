//! Results of rows, and the column that they become.

use std::sync::Arc;

use blip2_io::tables::vector_column;
use datafusion::{
    arrow::array::{ArrayRef, Float32Array, StringArray},
    error::Result,
};

use crate::verb::Verb;

/// The result of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Number(f32),
    Vector(Vec<f32>),
}

/// The column of a function's results; `shape` is that of a picture's embedding.
pub(crate) fn column(verb: Verb, shape: &[usize], cells: Vec<Option<Cell>>) -> Result<ArrayRef> {
    Ok(match verb {
        Verb::Caption | Verb::Answer => {
            let texts = cells.into_iter().map(|cell| match cell {
                Some(Cell::Text(text)) => Some(text),
                _ => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        Verb::Match => {
            let numbers = cells.into_iter().map(|cell| match cell {
                Some(Cell::Number(number)) => Some(number),
                _ => None,
            });
            Arc::new(numbers.collect::<Float32Array>())
        }
        Verb::Embed => vector_column(shape, &vectors(cells))?,
        Verb::EmbedText => {
            let width = shape.get(shape.len().saturating_sub(1)..).unwrap_or(&[]);
            vector_column(width, &vectors(cells))?
        }
    })
}

fn vectors(cells: Vec<Option<Cell>>) -> Vec<Option<Vec<f32>>> {
    let cells = cells.into_iter();
    cells
        .map(|cell| match cell {
            Some(Cell::Vector(vector)) => Some(vector),
            _ => None,
        })
        .collect()
}
