//! Products by a matrix unit.

mod input;
mod lines;
mod plan;

use std::ops::Range;

use self::{
    input::Input,
    plan::{GROUP, Plan},
};
use super::{
    layout::Layout,
    rounding::Rounding,
    work::{Part, Work},
};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::kernel::isa::unit::amx::Amx;
use crate::kernel::{
    isa::{
        Isa,
        tile_kind::{Aligned, PANEL},
        unit::{
            Ahead, Block, CHUNK_BYTES, MatrixUnit, Product, UNIT_ROWS, UnitSums, emulated::Emulated,
        },
    },
    panels::Panels,
};

/// Some rows, ready for a matrix unit.
pub(super) struct Rows {
    layout: Layout,
    input: Input,
    plan: Plan,
    /// The first of the rows.
    first: usize,
}

/// A product of these rows.
struct Job<'a> {
    work: &'a Work<'a>,
    rows: &'a Rows,
}

/// A part of a panel.
struct Slice<'a> {
    panel: usize,
    /// What stands behind the panel's steps.
    behind: &'a [u8],
    chunks: Range<usize>,
    /// The chunks that have all their steps.
    whole: &'a [u8],
    /// The steps of the last chunk if there are fewer than it could have.
    rest: &'a [u8],
}

impl Rows {
    /// Rounds `x` `[rows, inputs]`, of which the first is row `first` of the result. The work is `shared` out if
    /// it is worth that.
    pub(super) fn new(
        isa: Isa,
        product: Product,
        x: &[f32],
        inputs: usize,
        first: usize,
        shared: bool,
    ) -> Self {
        let layout = Layout::new(product, x.len() / inputs.max(1), inputs);
        Self {
            layout,
            input: Input::new(isa, layout, x, shared),
            plan: Plan::new(layout),
            first,
        }
    }

    /// Rows of brain floats, to be [rounded](Self::rounding) into.
    pub(super) fn room(rows: usize, inputs: usize) -> Self {
        let layout = Layout::new(Product::Bf16, rows, inputs);
        Self {
            layout,
            input: Input::room(layout),
            plan: Plan::new(layout),
            first: 0,
        }
    }

    /// What rounds results in the place of these rows.
    pub(super) fn rounding(&mut self) -> Rounding<'_> {
        self.input.rounding()
    }

    /// Computes the outputs of some panels.
    pub(super) fn panels(&self, work: &Work<'_>, matrix: Panels<'_>, panels: Range<usize>) {
        let job = Job { work, rows: self };
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if work.isa == Isa::Amx {
            return job.by(&Amx::ready(self.layout.rows), matrix, panels);
        }
        job.by(&Emulated::ready(self.layout.rows), matrix, panels);
    }
}

impl Job<'_> {
    /// From the outermost loop to the innermost: a group of tiles, whose input the second level of the
    /// cache holds; a group of panels, whose sums are kept; a block of inputs, if the second level does not
    /// hold all; the panels; a slice of a panel, which the first level holds; and the tiles.
    fn by(&self, unit: &impl MatrixUnit, matrix: Panels<'_>, panels: Range<usize>) {
        let plan = self.rows.plan;
        for tiles in plan.groups() {
            // Where one block has all inputs, a panel is done before the next begins.
            let (group, kept) = match plan.keeps() {
                true => (GROUP, GROUP),
                false => (panels.len().max(1), 1),
            };
            let mut sums = vec![Aligned([0f32; UNIT_ROWS * PANEL]); tiles.len() * kept];
            for first in panels.clone().step_by(group) {
                let group = first..panels.end.min(first + group);
                for block in plan.blocks() {
                    let slices = group.clone().flat_map(|panel| {
                        let slices = plan.slices(block.clone());
                        slices.map(move |chunks| slice(matrix, panel, chunks))
                    });
                    let mut slices = slices.peekable();
                    while let Some(slice) = slices.next() {
                        let start = (slice.panel - first) % kept * tiles.len();
                        let sums = &mut sums[start..start + tiles.len()];
                        self.tiles(unit, &slice, slices.peek(), tiles.clone(), sums);
                    }
                }
            }
        }
    }

    /// A slice of a panel for each of some tiles, and what follows the product after the last slice.
    fn tiles(
        &self,
        unit: &impl MatrixUnit,
        slice: &Slice<'_>,
        next: Option<&Slice<'_>>,
        tiles: Range<usize>,
        sums: &mut [UnitSums],
    ) {
        let layout = self.rows.layout;
        // Steps that are not there are steps of zeros.
        let mut rest = Aligned([0u8; CHUNK_BYTES]);
        rest[..slice.rest.len()].copy_from_slice(slice.rest);
        let last = slice.chunks.end == layout.chunks;
        for (sums, tile) in sums.iter_mut().zip(tiles.clone()) {
            let rows = layout.tile_rows(tile);
            let part = Part {
                panel: slice.panel,
                behind: slice.behind,
                row: self.rows.first + rows.start,
                ranges: &self.rows.input.ranges[rows.clone()],
                earlier: false,
                last,
            };
            let whole = slice.whole.len() / CHUNK_BYTES;
            let middle = slice.chunks.start + whole;
            let block = |panel, chunks: Range<usize>| Block {
                product: layout.product,
                rows: layout.padded(tile),
                add: chunks.start > 0,
                input: self.rows.input.lines(tile, chunks),
                panel,
                ahead: ahead(slice, next, tile - tiles.start, tiles.len()),
            };
            if whole > 0 {
                unit.multiply(&block(slice.whole, slice.chunks.start..middle), sums);
            }
            if middle < slice.chunks.end {
                unit.multiply(&block(&*rest, middle..slice.chunks.end), sums);
            }
            if last {
                self.work.finish(&part, &sums.as_chunks().0[..rows.len()]);
            }
        }
    }
}

/// A part of a panel of a matrix.
fn slice(matrix: Panels<'_>, panel: usize, chunks: Range<usize>) -> Slice<'_> {
    let (steps, behind) = matrix.panel(panel);
    let end = steps.len().min(chunks.end * CHUNK_BYTES);
    let steps = &steps[chunks.start * CHUNK_BYTES..end];
    let (whole, rest) = steps.split_at(steps.len() / CHUNK_BYTES * CHUNK_BYTES);
    Slice {
        panel,
        behind,
        chunks,
        whole,
        rest,
    }
}

/// What a tile has brought near: its share of the next slice. A single tile reads its matrix as fast as
/// memory gives it, and looks ahead in the stream a little.
fn ahead(slice: &Slice<'_>, next: Option<&Slice<'_>>, tile: usize, tiles: usize) -> Ahead {
    const LINE: usize = 64;
    const DISTANCE: usize = CHUNK_BYTES;
    if tiles == 1 {
        return Ahead {
            start: slice.whole.as_ptr().wrapping_add(DISTANCE),
            lines: CHUNK_BYTES / LINE,
        };
    }
    let Some(next) = next else {
        return Ahead::NOTHING;
    };
    let lines = (CHUNK_BYTES / LINE).div_ceil(tiles);
    let start = tile * lines * LINE * slice.chunks.len();
    Ahead {
        start: next.whole.as_ptr().wrapping_add(start),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        kernel::{
            isa::Isa,
            product::{epilogue::SliceEpilogue, linear},
        },
        matrix::packed::{PackedFormat, PackedMatrix},
        random_values,
    };

    /// Tails of every kind, and enough of everything for each loop to turn: groups of rows, blocks of
    /// inputs, groups of panels.
    const SHAPES: [[usize; 3]; 7] = [
        [1, 40, 588],
        [15, 33, 31],
        [33, 70, 1408],
        [70, 31, 900],
        [280, 270, 2300],
        [300, 33, 600],
        [280, 33, 4700],
    ];

    fn operands(format: PackedFormat, shape: [usize; 3]) -> (Vec<f32>, PackedMatrix) {
        let [rows, outputs, inputs] = shape;
        let w = random_values(outputs * inputs, 1);
        let matrix = PackedMatrix::pack(format, outputs, inputs, |output, row| {
            row.copy_from_slice(&w[output * inputs..][..inputs]);
        });
        (random_values(rows * inputs, 2), matrix)
    }

    fn by(isa: Isa, x: &[f32], matrix: &PackedMatrix) -> Vec<f32> {
        linear(isa, x, matrix.panels(), &SliceEpilogue::default())
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn integers_are_those_of_vectors_to_the_bit() {
        for shape in SHAPES {
            let (x, matrix) = operands(PackedFormat::Int8, shape);
            let expected = by(Isa::Portable, &x, &matrix);
            for isa in Isa::available() {
                assert!(by(isa, &x, &matrix) == expected, "{isa} {shape:?}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn brain_floats_are_those_of_vectors_but_for_rounding() {
        for shape in SHAPES {
            let (x, matrix) = operands(PackedFormat::Bf16, shape);
            let expected = by(Isa::Portable, &x, &matrix);
            let found = by(Isa::AmxEmulated, &x, &matrix);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{shape:?}");
            }
        }
    }

    /// Also a row alone, which some machines multiply by vectors otherwise.
    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn brain_floats_are_the_same_in_any_company() {
        for shape @ [rows, outputs, inputs] in SHAPES {
            let (x, matrix) = operands(PackedFormat::Bf16, shape);
            let together = by(Isa::AmxEmulated, &x, &matrix);
            for count in [1, 16, 20] {
                for first in [0, rows / 2, rows.saturating_sub(count)] {
                    let rows = first..rows.min(first + count);
                    let few = by(
                        Isa::AmxEmulated,
                        &x[rows.start * inputs..rows.end * inputs],
                        &matrix,
                    );
                    assert!(few == together[rows.start * outputs..rows.end * outputs]);
                }
            }
        }
    }

    /// On a machine with AMX.
    #[test]
    #[cfg_attr(miri, ignore = "takes hours")]
    fn instructions_and_emulation_agree_to_the_bit() {
        if !Isa::available().any(|isa| isa == Isa::Amx) {
            return;
        }
        for shape in SHAPES {
            let (x, matrix) = operands(PackedFormat::Bf16, shape);
            let [found, expected] = [Isa::Amx, Isa::AmxEmulated].map(|isa| by(isa, &x, &matrix));
            assert!(found == expected, "{shape:?}");
        }
    }
}
