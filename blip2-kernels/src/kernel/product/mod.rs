//! Products of activations with packed matrices.
//!
//! [`linear`] is the whole of a linear layer in one pass over the matrix: product, bias, activation
//! and residual. The matrix is shared out by panels, or many rows of a small one by rows, among the
//! threads of the current `rayon` pool.
//! Each element of the result is summed in an order that depends on the matrix alone, so that a
//! row's result is the same to the bit whether it stands alone or in a batch, and for any number of
//! threads.

#[cfg(feature = "autodiff")]
pub(crate) mod backward;
pub(crate) mod epilogue;
pub(crate) mod input;
pub(crate) mod mlp;
pub(crate) mod output;
#[cfg(feature = "autodiff")]
pub(crate) mod transient;
#[cfg(feature = "autodiff")]
mod transient_panels;
#[cfg(feature = "autodiff")]
mod turned;
mod unit;
mod work;

use std::ops::Range;

use self::{
    epilogue::SliceEpilogue,
    input::{Blocking, Input},
    output::Output,
    work::{Part, Work},
};
use super::{
    isa::{
        Isa, bring_near, tile,
        tile_kind::{NO_SUMS, PANEL, Sums, TILE_ROWS},
        unit::Product,
    },
    panels::{PanelShape, Panels},
    threads,
};

/// `residual + activation(x · Wᵀ + bias)`, `[rows, outputs]`, of `x` `[rows, inputs]`.
///
/// # Panics
///
/// If the lengths of the slices are not those of the matrix.
pub(crate) fn linear(
    isa: Isa,
    x: &[f32],
    matrix: Panels<'_>,
    epilogue: &SliceEpilogue<'_>,
) -> Vec<f32> {
    let rows = x.len().checked_div(matrix.inputs()).unwrap_or(0);
    let len = rows * matrix.outputs();
    let mut y = Vec::with_capacity(len);
    let output = Output::new(y.spare_capacity_mut(), rows, matrix.outputs());
    compute(isa, x, matrix, epilogue, rows, &output, None);
    // SAFETY: there is room for as many, and the product has stored each: it passes all panels for
    // all rows, and a panel's part of a row is stored whole.
    #[allow(unsafe_code)]
    unsafe {
        y.set_len(len);
    }
    y
}

/// Fills the result, and `kept` with what the activation is applied to.
fn compute(
    isa: Isa,
    x: &[f32],
    matrix: Panels<'_>,
    epilogue: &SliceEpilogue<'_>,
    rows: usize,
    y: &Output<'_>,
    kept: Option<&Output<'_>>,
) {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    assert_eq!(x.len(), rows * inputs, "whole rows of {inputs} inputs");
    if let Some(bias) = epilogue.bias {
        assert_eq!(bias.len(), outputs, "a bias for each output");
    }
    if let Some(residual) = epilogue.residual {
        assert_eq!(residual.len(), rows * outputs, "a residual for each result");
    }
    if rows > 0 && outputs > 0 {
        let work = Work {
            isa,
            shape: matrix.shape(),
            epilogue,
            x,
            y,
            kept,
        };
        run(work, matrix, rows);
    }
}

/// Shares the work out: by panels of the matrix, each of which then is read once. Of a matrix that stays
/// in the cache, many rows are shared out instead: a share's input is then in the cache too, from its
/// interleaving to its result.
fn run(work: Work<'_>, matrix: Panels<'_>, rows: usize) {
    const CACHED: usize = 1 << 19;
    const SHARE: usize = 8 * TILE_ROWS;
    let (threads, panels) = (rayon::current_num_threads(), work.shape.count());
    if are_few(work.shape, rows) {
        return Ready::new(work, 0..rows, false).panels(matrix, 0..panels);
    }
    let shares = rows.div_ceil(SHARE);
    if shares >= 2 * threads && matrix.size() <= CACHED {
        let share = |n: usize| n * rows / shares;
        return threads::each(0..shares, |n| {
            Ready::new(work, share(n)..share(n + 1), false).panels(matrix, 0..panels);
        });
    }
    let ready = Ready::new(work, 0..rows, true);
    // Many shares for each thread, so that one which is held up does not hold up all. With many rows a share
    // has panels enough that its input, which each of them reads, stays in the cache.
    let shares = if rows <= TILE_ROWS { 16 } else { 4 };
    let share = match threads {
        1 => panels,
        _ => panels.div_ceil(shares * threads),
    };
    threads::each(0..panels.div_ceil(share), |n| {
        ready.panels(matrix, n * share..((n + 1) * share).min(panels));
    });
}

/// The same with a matrix that is nowhere whole: each thread makes some panels, multiplies with them while they
/// are near, and forgets them.
#[cfg(feature = "autodiff")]
fn run_making(
    work: Work<'_>,
    rows: usize,
    make: impl Fn(Range<usize>) -> transient_panels::TransientPanels + Send + Sync,
) {
    /// The bytes of what a thread makes at a time. The input is read again for each.
    const MADE: usize = 1 << 23;
    let (threads, panels) = (rayon::current_num_threads(), work.shape.count());
    if rows == 0 || panels == 0 {
        return;
    }
    let few = are_few(work.shape, rows);
    let share = match few {
        true => panels,
        false => (MADE / work.shape.panel_bytes().max(1)).min(panels.div_ceil(2 * threads)),
    };
    let ready = Ready::new(work, 0..rows, !few);
    let starts = (0..panels).step_by(share.max(1));
    threads::each(starts, |start| {
        let panels = start..panels.min(start + share.max(1));
        ready.panels(make(panels.clone()).as_panels(), panels);
    });
}

/// Whether products are so few that they are computed, in some ten microseconds, sooner than another thread is
/// woken.
fn are_few(shape: PanelShape, rows: usize) -> bool {
    const FEW: usize = 1 << 19;
    rows.saturating_mul(shape.outputs * shape.inputs) < FEW
}

/// A product of some rows, whose input is ready for what multiplies it.
enum Ready<'a> {
    /// By vectors.
    Vectors(Job<'a>),
    /// By a matrix unit.
    Unit(unit::Job<'a>),
}

impl<'a> Ready<'a> {
    /// Makes the input of some rows ready, the work of which is `shared` out if it is worth that.
    ///
    /// A matrix unit sums brain floats in another order than vectors do. So where there is one it serves
    /// every product of them, of a single row too, or a row's result would depend on its company.
    fn new(work: Work<'a>, rows: Range<usize>, shared: bool) -> Self {
        match Product::of(work.isa, work.shape.kind) {
            Some(product) => Self::Unit(unit::Job::new(work, product, rows, shared)),
            None => Self::Vectors(Job::new(work, rows, shared)),
        }
    }

    /// Computes the outputs of some panels.
    fn panels(&self, matrix: Panels<'_>, panels: Range<usize>) {
        match self {
            Self::Vectors(job) => job.panels(matrix, panels),
            Self::Unit(job) => job.panels(matrix, panels),
        }
    }
}

/// A product of some rows by vectors.
struct Job<'a> {
    work: Work<'a>,
    blocking: Blocking,
    input: Input,
    /// The first of the rows.
    first: usize,
}

impl<'a> Job<'a> {
    fn new(work: Work<'a>, rows: Range<usize>, shared: bool) -> Self {
        let inputs = work.shape.inputs;
        let kind = work.shape.kind.by(work.isa);
        let blocking = Blocking::new(kind, rows.len(), inputs);
        let x = &work.x[rows.start * inputs..rows.end * inputs];
        Self {
            work,
            input: Input::new(work.isa, &blocking, x, inputs, shared),
            blocking,
            first: rows.start,
        }
    }

    fn panels(&self, matrix: Panels<'_>, panels: Range<usize>) {
        let mut sums = NO_SUMS;
        if self.blocking.tiles == 1 {
            // A decoder's product: reading the matrix is the work, and it is read in its own order,
            // so that the processor's prefetching sees one stream.
            for panel in panels {
                for block in 0..self.blocking.blocks() {
                    self.tile(matrix, panel, block, 0, &mut sums);
                }
            }
            return;
        }
        // An encoder's product: blocks of inputs outermost, so that the interleaved input of a block
        // stays in the second level of the cache while all panels pass it, and so does a panel's block
        // while all tiles of rows pass it. Each tile has its share of the next panel brought there, which
        // would else be waited for.
        let tiles = self.blocking.tiles;
        for block in 0..self.blocking.blocks() {
            for panel in panels.clone() {
                let next = match panel + 1 < panels.end {
                    true => self.steps(matrix, panel + 1, block),
                    false => &[],
                };
                let mut shares = next.chunks(next.len().div_ceil(tiles).max(1));
                for tile in 0..tiles {
                    bring_near(shares.next().unwrap_or_default());
                    self.tile(matrix, panel, block, tile, &mut sums);
                }
            }
        }
    }

    /// A panel's part of a block.
    fn steps<'m>(&self, matrix: Panels<'m>, panel: usize, block: usize) -> &'m [u8] {
        let kind = self.blocking.kind;
        let (first, count) = self.blocking.block_steps(block);
        let (steps, _) = matrix.panel(panel);
        &steps[first * kind.bytes()..(first + count) * kind.bytes()]
    }

    fn tile(&self, matrix: Panels<'_>, panel: usize, block: usize, tile: usize, sums: &mut Sums) {
        let kind = self.blocking.kind;
        let steps = self.steps(matrix, panel, block);
        let (own, rows) = self.blocking.tile_rows(tile);
        let input = self.input.tile(&self.blocking, block, tile);
        let part = Part {
            panel,
            behind: matrix.panel(panel).1,
            row: self.first + own,
            ranges: &self.input.ranges[own..own + rows],
            earlier: block > 0,
            last: block + 1 == self.blocking.blocks(),
        };
        self.work.prefetch(&part);
        tile::tile(self.work.isa, kind, rows, input, steps, sums);
        self.work
            .finish(&part, &sums.as_chunks::<PANEL>().0[..rows]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::activation::Activation,
        matrix::packed::{PackedFormat, PackedMatrix},
        random_values,
    };

    /// What the format makes of a row of input.
    fn rounded(format: PackedFormat, x: &[f32]) -> Vec<f64> {
        let wide = |x: f32| f64::from(x);
        match format {
            PackedFormat::Bf16 => x
                .iter()
                .map(|&x| wide(half::bf16::from_f32(x).to_f32()))
                .collect(),
            PackedFormat::Int8 | PackedFormat::Int4 => {
                let low = x.iter().copied().fold(0f32, f32::min);
                let scale = (x.iter().copied().fold(0f32, f32::max) - low) / 255.0;
                let zero = (-low / scale).round_ties_even();
                let integer = |x: f32| (x / scale + zero).round_ties_even().clamp(0.0, 255.0);
                x.iter()
                    .map(|&x| wide(scale) * wide(integer(x) - zero))
                    .collect()
            }
            _ => x.iter().copied().map(wide).collect(),
        }
    }

    /// Every format on every instruction set against 64 bits, over shapes with tails of every kind;
    /// and each row alone against the same row among others, to the bit.
    #[test]
    fn every_format_agrees_with_64_bits_on_every_instruction_set() {
        for (rows, outputs, inputs) in [
            (1, 1, 1),
            (3, 33, 31),
            (13, 257, 130),
            (12, 32, 1025),
            (25, 97, 600),
            (5, 300, 257),
        ] {
            let (w, x) = (
                random_values(outputs * inputs, 1),
                random_values(rows * inputs, 2),
            );
            let (bias, residual) = (random_values(outputs, 3), random_values(rows * outputs, 4));
            for format in PackedFormat::ALL {
                let matrix = PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    row.copy_from_slice(&w[output * inputs..][..inputs]);
                });
                let mut weights = vec![0.0; inputs];
                for isa in Isa::available() {
                    let epilogue = SliceEpilogue {
                        bias: Some(&bias),
                        activation: Some(Activation::Relu),
                        residual: Some(&residual),
                    };
                    let y = linear(isa, &x, matrix.panels(), &epilogue);
                    for (output, bias) in bias.iter().enumerate() {
                        matrix.read_row(output, &mut weights);
                        for (row, x) in x.chunks_exact(inputs).enumerate() {
                            let x = rounded(format, x);
                            let products = x.iter().zip(&weights).map(|(x, &w)| x * f64::from(w));
                            let sum = products.sum::<f64>() + f64::from(*bias);
                            let at = row * outputs + output;
                            let expected = sum.max(0.0) + f64::from(residual[at]);
                            let difference = (f64::from(y[at]) - expected).abs();
                            // A value between two integers may be rounded either way.
                            let tie = if format.kind().step() > 2 { 1e-2 } else { 0.0 };
                            assert!(difference < 1e-4 + tie, "{isa} {format}: {difference}");
                        }
                    }
                    let alone = SliceEpilogue {
                        residual: None,
                        ..epilogue
                    };
                    let together = linear(isa, &x, matrix.panels(), &alone);
                    for (x, together) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs))
                    {
                        assert_eq!(
                            linear(isa, x, matrix.panels(), &alone),
                            together,
                            "{isa} {format}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (w, x) = (random_values(300 * 700, 1), random_values(20 * 700, 2));
        for format in PackedFormat::ALL {
            let matrix = PackedMatrix::pack(format, 300, 700, |output, row| {
                row.copy_from_slice(&w[output * 700..][..700]);
            });
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let run = || {
                    linear(
                        Isa::active(),
                        &x,
                        matrix.panels(),
                        &SliceEpilogue::default(),
                    )
                };
                pool.build().unwrap().install(run)
            };
            assert_eq!(with(1), with(3), "{format}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for format in PackedFormat::ALL {
            let matrix = PackedMatrix::pack(format, 40, 300, |_, row| row.fill(1.0));
            for isa in Isa::available() {
                for place in [0, 150, 299] {
                    let mut x = vec![1.0; 300];
                    x[place] = f32::NAN;
                    let y = linear(isa, &x, matrix.panels(), &SliceEpilogue::default());
                    assert!(y.iter().all(|y| y.is_nan()), "{isa} {format}");
                }
            }
        }
    }

    #[test]
    fn nothing_times_anything_is_nothing() {
        let matrix = PackedMatrix::pack(PackedFormat::F32, 0, 3, |_, _| {});
        assert!(
            linear(
                Isa::active(),
                &[1.0; 6],
                matrix.panels(),
                &SliceEpilogue::default()
            )
            .is_empty()
        );
        let matrix = PackedMatrix::pack(PackedFormat::Int8, 3, 2, |_, row| row.fill(1.0));
        assert!(
            linear(
                Isa::active(),
                &[],
                matrix.panels(),
                &SliceEpilogue::default()
            )
            .is_empty()
        );
    }
}
