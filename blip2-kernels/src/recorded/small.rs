//! Products of matrices as small as a head of attention, by the tiles of the large ones.

use crate::isa::{
    Isa,
    tile::{NO_SUMS, PANEL, TILE_ROWS, TileKind, tile},
};

/// Bytes of a number.
const BYTES: usize = 4;

/// A matrix as it lies.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    /// From row to row, and from column to column.
    pub(super) strides: [usize; 2],
}

impl View<'_> {
    /// The matrix turned.
    pub(super) fn turned(self) -> Self {
        let [down, along] = self.strides;
        Self {
            strides: [along, down],
            ..self
        }
    }
}

/// A right operand `[inner, columns]`, cut into panels of columns; its buffer is used again.
#[derive(Default)]
pub(super) struct Panels {
    bytes: Vec<u8>,
    inner: usize,
}

impl Panels {
    /// Takes the elements of a view.
    pub(super) fn fill(&mut self, view: View<'_>, inner: usize, columns: usize) -> &Self {
        let count = columns.div_ceil(PANEL);
        self.inner = inner;
        // What was there is written over.
        self.bytes.resize(count * inner * PANEL * BYTES, 0);
        let [down, along] = view.strides;
        let panels = self.bytes.chunks_exact_mut((inner * PANEL * BYTES).max(1));
        for (number, panel) in panels.enumerate() {
            let (numbers, _) = panel.as_chunks_mut::<BYTES>();
            let first = number * PANEL;
            let width = PANEL.min(columns - first);
            for row in numbers.chunks_exact_mut(PANEL) {
                row[width..].fill([0; BYTES]);
            }
            if along == 1 {
                for (row, to) in numbers.chunks_exact_mut(PANEL).enumerate() {
                    let from = &view.data[row * down + first..][..width];
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = from.to_le_bytes();
                    }
                }
            } else {
                // Turned: read along what lies together.
                for column in 0..width {
                    let from = &view.data[(first + column) * along..];
                    for row in 0..inner {
                        numbers[row * PANEL + column] = from[row * down].to_le_bytes();
                    }
                }
            }
        }
        self
    }
}

/// A result, row by row.
#[derive(Debug, Default)]
pub(super) struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.width..][..self.width]
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            data: &self.values,
            strides: [self.width, 1],
        }
    }
}

/// `a · b` with `a` `[rows, inner]` and `b` `[inner, columns]`.
pub(super) fn multiply(isa: Isa, a: View<'_>, b: &Panels, [rows, columns]: [usize; 2]) -> Rows {
    let inner = b.inner;
    let mut c = Rows {
        values: vec![0f32; rows * columns],
        width: columns,
    };
    let [down, along] = a.strides;
    let mut input = vec![0u32; inner * TILE_ROWS];
    let size = (inner * PANEL * BYTES).max(1);
    for first in (0..rows).step_by(TILE_ROWS) {
        let count = TILE_ROWS.min(rows - first);
        for row in 0..count {
            let from = &a.data[(first + row) * down..];
            for step in 0..inner {
                input[step * count + row] = from[step * along].to_bits();
            }
        }
        for (number, panel) in b.bytes.chunks_exact(size).enumerate() {
            let mut sums = NO_SUMS;
            tile(isa, TileKind::F32, count, &input, panel, &mut sums);
            let place = number * PANEL;
            let width = PANEL.min(columns - place);
            for (row, sums) in sums.chunks_exact(PANEL).take(count).enumerate() {
                let start = (first + row) * columns + place;
                c.values[start..start + width].copy_from_slice(&sums[..width]);
            }
        }
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;

    #[test]
    fn products_are_those_of_a_plain_loop() {
        for (rows, inner, columns) in [(1, 1, 1), (13, 24, 65), (65, 65, 24), (5, 7, 33)] {
            let (a, b) = (
                random_values(rows * inner, 1),
                random_values(inner * columns, 2),
            );
            let expected = |row: usize, column: usize| -> f64 {
                let products = (0..inner)
                    .map(|k| f64::from(a[row * inner + k]) * f64::from(b[k * columns + column]));
                products.sum()
            };
            let turned = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                let turn = |place: usize| values[place % rows * columns + place / rows];
                (0..values.len()).map(turn).collect()
            };
            let (a_turned, b_turned) = (turned(&a, rows, inner), turned(&b, inner, columns));
            let plain = |data, width| View {
                data,
                strides: [width, 1],
            };
            for isa in Isa::available() {
                for [a, b] in [
                    [plain(&a, inner), plain(&b, columns)],
                    [
                        plain(&a_turned, rows).turned(),
                        plain(&b_turned, inner).turned(),
                    ],
                ] {
                    let mut panels = Panels::default();
                    panels.fill(b, inner, columns);
                    let c = multiply(isa, a, &panels, [rows, columns]);
                    for row in 0..rows {
                        for (column, found) in c.row(row).iter().enumerate() {
                            let error = f64::from(*found) - expected(row, column);
                            assert!(error.abs() < 1e-5, "{isa} {row} {column}");
                        }
                    }
                }
            }
        }
    }
}
