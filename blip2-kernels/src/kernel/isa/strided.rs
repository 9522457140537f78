//! Products of `f32` matrices as they lie in memory, for those that are used too seldom to be packed.

use super::{
    Isa,
    tile::tile,
    tile_kind::{NO_SUMS, PANEL, TILE_ROWS, TileKind},
    view::{Parts, Place, View},
};

/// `c = a · b`, or with `add` `c += a · b`, of `a` `[rows, inner]` and `b` `[inner, columns]`, whose
/// columns lie together. Each element is summed in the order of `inner`, whatever the rest.
///
/// # Panics
///
/// If the matrices do not reach that far, or the columns of `b` lie apart.
///
/// # Safety
///
/// `c` has memory for `rows` rows of `columns` numbers, which nobody else touches meanwhile and which
/// are initialised if they are added to.
#[allow(unsafe_code)]
pub(crate) unsafe fn multiply(
    isa: Isa,
    [a, b]: [View<'_>; 2],
    [rows, inner, columns]: [usize; 3],
    c: Place,
    add: bool,
) {
    assert!(a.holds([rows, inner]) && b.holds([inner, columns]) && b.strides[1] == 1);
    for column in (0..columns).step_by(PANEL) {
        let width = PANEL.min(columns - column);
        for row in (0..rows).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(rows - row);
            // SAFETY: inside the memory of `c`, by the caller's word.
            let c = Place {
                start: unsafe { c.start.add(row * c.stride + column) },
                ..c
            };
            if inner == 0 {
                // SAFETY: as above.
                unsafe { store(&NO_SUMS.0, [count, width], c, add) };
                continue;
            }
            let parts = Parts {
                a: View {
                    data: a.from(row, 0),
                    ..a
                },
                b: View {
                    data: b.from(0, column),
                    ..b
                },
                dims: [count, inner, width],
            };
            #[cfg(target_arch = "x86_64")]
            if isa >= Isa::Avx512 {
                // SAFETY: `isa` says that the processor has the instructions; the operands reach as
                // far as the dimensions say, and so does `c`, by the caller's word.
                unsafe { super::avx512::strided(&parts, c, add) };
                continue;
            }
            #[cfg(target_arch = "x86_64")]
            if isa >= Isa::Avx2 {
                // SAFETY: as above.
                unsafe { super::avx2::strided::strided(&parts, c, add) };
                continue;
            }
            let sums = parts.packed(isa);
            // SAFETY: as above.
            unsafe { store(&sums, [count, width], c, add) };
        }
    }
}

impl Parts<'_> {
    /// The tile by the kernels of packed operands.
    fn packed(&self, isa: Isa) -> [f32; TILE_ROWS * PANEL] {
        let [rows, inner, width] = self.dims;
        let [down, along] = self.a.strides;
        let words =
            (0..inner * rows).map(|n| self.a.data[n % rows * down + n / rows * along].to_bits());
        let words: Vec<u32> = words.collect();
        let mut panel = vec![0u8; inner * 4 * PANEL];
        for (step, to) in panel.chunks_exact_mut(4 * PANEL).enumerate() {
            let from = &self.b.data[step * self.b.strides[0]..][..width];
            for (to, from) in to.as_chunks_mut::<4>().0.iter_mut().zip(from) {
                *to = from.to_le_bytes();
            }
        }
        let mut sums = NO_SUMS;
        tile(isa, TileKind::F32, rows, &words, &panel, &mut sums);
        sums.0
    }
}

/// Puts a tile into its place.
///
/// # Safety
///
/// As [`multiply`].
#[allow(unsafe_code)]
unsafe fn store(sums: &[f32; TILE_ROWS * PANEL], [rows, width]: [usize; 2], c: Place, add: bool) {
    for (row, sums) in sums.as_chunks::<PANEL>().0.iter().take(rows).enumerate() {
        for (column, &sum) in sums.iter().take(width).enumerate() {
            // SAFETY: inside the memory that the caller has for the tile.
            unsafe {
                let place = c.start.add(row * c.stride + column);
                let before = if add { place.read() } else { 0.0 };
                place.write(before + sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;

    #[test]
    fn products_are_those_of_a_plain_loop() {
        for [rows, inner, columns] in [[1, 1, 1], [13, 24, 65], [65, 65, 24], [5, 7, 33], [3, 0, 2]]
        {
            let a = random_values(rows * inner, 1);
            let b = random_values(inner * columns, 2);
            let expected = |row: usize, column: usize| -> f64 {
                let products = (0..inner)
                    .map(|k| f64::from(a[row * inner + k]) * f64::from(b[k * columns + column]));
                products.sum()
            };
            let transposed = |n: usize| a[n % rows * inner + n / rows];
            let transposed: Vec<f32> = (0..a.len()).map(transposed).collect();
            for isa in Isa::available() {
                for a in [
                    View::rows(&a, inner),
                    View::rows(&transposed, rows).transposed(),
                ] {
                    let stride = columns + 3;
                    let mut c = vec![7f32; rows * stride];
                    let mut run = |add| {
                        let place = Place {
                            start: c.as_mut_ptr(),
                            stride,
                        };
                        let operands = [a, View::rows(&b, columns)];
                        // SAFETY: `c` has more than room for that.
                        #[allow(unsafe_code)]
                        unsafe {
                            multiply(isa, operands, [rows, inner, columns], place, add);
                        }
                    };
                    run(false);
                    run(true);
                    for (row, c) in c.chunks_exact(stride).enumerate() {
                        let (found, behind) = c.split_at(columns);
                        assert_eq!(behind, [7.0; 3], "nothing else is written");
                        for (column, found) in found.iter().enumerate() {
                            let error = f64::from(*found) - 2.0 * expected(row, column);
                            assert!(error.abs() < 1e-5, "{isa} {row} {column}");
                        }
                    }
                }
            }
        }
    }
}
