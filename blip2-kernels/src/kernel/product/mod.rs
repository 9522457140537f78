//! Products of activations with packed matrices.
//!
//! [`linear`] is the whole of a linear layer in one pass over the matrix: product, bias, activation
//! and residual; [`linears`] is several that read one input. The matrix is shared out by panels, or many rows of a small
//! one by rows, among the threads of the current `rayon` pool.
//! Each element of the result is summed in an order that depends on the matrix alone, so that a
//! row's result is the same to the bit whether it stands alone or in a batch, and for any number of
//! threads.

#[cfg(feature = "autodiff")]
pub(crate) mod backward;
pub(crate) mod epilogue;
pub(crate) mod input;
mod layout;
pub(crate) mod mlp;
pub(crate) mod output;
mod rounding;
#[cfg(feature = "autodiff")]
pub(crate) mod transient;
#[cfg(feature = "autodiff")]
mod transient_panels;
#[cfg(feature = "autodiff")]
mod turned;
mod unit;
mod vectors;
mod work;

use std::ops::Range;

use self::{
    epilogue::SliceEpilogue,
    output::{Output, Sink},
    work::Work,
};
use super::{
    isa::{Isa, tile_kind::TILE_ROWS, unit::Product},
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
    let [y] = linears(isa, x, [(matrix, *epilogue)]);
    y
}

/// Several layers of one input, to the bit what [`linear`] makes of each: the input is made ready once, and the
/// threads are given work once.
///
/// # Panics
///
/// If the matrices have other [shapes](PanelShape) than one another but for their outputs, or if the lengths of the
/// slices are not theirs.
pub(crate) fn linears<const N: usize>(
    isa: Isa,
    x: &[f32],
    layers: [(Panels<'_>, SliceEpilogue<'_>); N],
) -> [Vec<f32>; N] {
    let inputs = layers.first().map_or(0, |(matrix, _)| matrix.inputs());
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    let mut results = layers
        .each_ref()
        .map(|(matrix, _)| Vec::with_capacity(rows * matrix.outputs()));
    let outputs: Vec<Output<'_>> = results
        .iter_mut()
        .zip(&layers)
        .map(|(y, (matrix, _))| Output::new(y.spare_capacity_mut(), rows, matrix.outputs()))
        .collect();
    let products: Vec<_> = layers
        .iter()
        .zip(&outputs)
        .map(|((matrix, epilogue), y)| {
            (
                Work::new(isa, *matrix, epilogue, rows, Sink::Rows(y), None),
                *matrix,
            )
        })
        .collect();
    run(x, &products, rows);
    for (y, (matrix, _)) in results.iter_mut().zip(&layers) {
        // SAFETY: there is room for as many, and the products have stored each: they pass all panels for
        // all rows, and a panel's part of a row is stored whole.
        #[allow(unsafe_code)]
        unsafe {
            y.set_len(rows * matrix.outputs());
        }
    }
    results
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
    let work = Work::new(isa, matrix, epilogue, rows, Sink::Rows(y), kept);
    run(x, &[(work, matrix)], rows);
}

/// Shares the work out: by panels of the matrices, each of which then is read once. Of matrices that stay
/// in the cache, many rows are shared out instead: a share's input is then in the cache too, from its
/// interleaving to its results.
fn run(x: &[f32], products: &[(Work<'_>, Panels<'_>)], rows: usize) {
    const CACHED: usize = 1 << 19;
    const SHARE: usize = 8 * TILE_ROWS;
    let Some(&(Work { isa, shape, .. }, _)) = products.first() else {
        return;
    };
    let inputs = shape.inputs;
    assert_eq!(x.len(), rows * inputs, "whole rows of {inputs} inputs");
    let shapes = products.iter().map(|(work, _)| work.shape);
    let alike = |other: PanelShape| other.reads_like(&shape);
    assert!(shapes.clone().all(alike), "matrices that read one input");
    let panels: usize = shapes.clone().map(|shape| shape.count()).sum();
    if rows == 0 || panels == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    if are_few(shapes.map(|shape| shape.outputs).sum(), inputs, rows) {
        return Ready::new(isa, shape, x, 0, false).panels_of(products, 0..panels);
    }
    let shares = rows.div_ceil(SHARE);
    let size: usize = products.iter().map(|(_, matrix)| matrix.size()).sum();
    if shares >= 2 * threads && size <= CACHED {
        let share = |n: usize| n * rows / shares;
        return threads::each(0..shares, |n| {
            let (first, end) = (share(n), share(n + 1));
            let x = &x[first * inputs..end * inputs];
            Ready::new(isa, shape, x, first, false).panels_of(products, 0..panels);
        });
    }
    run_ready(&Ready::new(isa, shape, x, 0, true), products, rows);
}

/// Shares the panels of the matrices out, for rows that are ready.
fn run_ready(ready: &Ready, products: &[(Work<'_>, Panels<'_>)], rows: usize) {
    let panels: usize = products.iter().map(|(work, _)| work.shape.count()).sum();
    // Many shares for each thread, so that one which is held up does not hold up all. With many rows a share
    // has panels enough that its input, which each of them reads, stays in the cache.
    let shares = if rows <= TILE_ROWS { 16 } else { 4 };
    let share = match rayon::current_num_threads() {
        1 => panels,
        threads => panels.div_ceil(shares * products.len() * threads),
    };
    let share = share.max(1);
    threads::each(0..panels.div_ceil(share), |n| {
        ready.panels_of(products, n * share..((n + 1) * share).min(panels));
    });
}

/// The same with a matrix that is nowhere whole: each thread makes some panels, multiplies with them while they
/// are near, and forgets them.
#[cfg(feature = "autodiff")]
fn run_making(
    x: &[f32],
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
    let few = are_few(work.shape.outputs, work.shape.inputs, rows);
    let share = match few {
        true => panels,
        false => (MADE / work.shape.panel_bytes().max(1)).min(panels.div_ceil(2 * threads)),
    };
    let ready = Ready::new(work.isa, work.shape, x, 0, !few);
    let starts = (0..panels).step_by(share.max(1));
    threads::each(starts, |start| {
        let panels = start..panels.min(start + share.max(1));
        ready.panels(&work, make(panels.clone()).as_panels(), panels);
    });
}

/// Whether products are so few that they are computed, in some ten microseconds, sooner than another thread is
/// woken.
fn are_few(outputs: usize, inputs: usize, rows: usize) -> bool {
    const FEW: usize = 1 << 19;
    rows.saturating_mul(outputs * inputs) < FEW
}

/// Some rows, ready for what multiplies them.
enum Ready {
    /// By vectors.
    Vectors(vectors::Rows),
    /// By a matrix unit.
    Unit(unit::Rows),
}

impl Ready {
    /// Makes `x` `[rows, inputs]` ready, of which the first is row `first` of the result; the work of which is
    /// `shared` out if it is worth that.
    ///
    /// A matrix unit sums brain floats in another order than vectors do. So where there is one it serves
    /// every product of them, of a single row too, or a row's result would depend on its company.
    fn new(isa: Isa, shape: PanelShape, x: &[f32], first: usize, shared: bool) -> Self {
        let inputs = shape.inputs;
        match Product::of(isa, shape.kind) {
            Some(product) => Self::Unit(unit::Rows::new(isa, product, x, inputs, first, shared)),
            None => Self::Vectors(vectors::Rows::new(
                isa, shape.kind, x, inputs, first, shared,
            )),
        }
    }

    /// Computes the outputs of some panels.
    fn panels(&self, work: &Work<'_>, matrix: Panels<'_>, panels: Range<usize>) {
        match self {
            Self::Vectors(rows) => rows.panels(work, matrix, panels),
            Self::Unit(rows) => rows.panels(work, matrix, panels),
        }
    }

    /// Computes the outputs of some panels of several matrices, which are counted through all of them.
    fn panels_of(&self, products: &[(Work<'_>, Panels<'_>)], panels: Range<usize>) {
        let mut first = 0;
        for (work, matrix) in products {
            let end = first + work.shape.count();
            let own = panels.start.max(first)..panels.end.min(end);
            if !own.is_empty() {
                self.panels(work, *matrix, own.start - first..own.end - first);
            }
            first = end;
        }
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

    /// Also matrices of which one ends within a share of the work, and one is empty.
    #[test]
    fn layers_of_one_input_make_what_each_makes_alone_to_the_bit() {
        const INPUTS: usize = 330;
        let w = random_values(300 * INPUTS, 1);
        // Matrices of a few numbers are multiplied otherwise than larger ones, and an empty one is of the few.
        let sizes = [[30, 0, 33, 5], [300, 210, 233, 270]];
        for (format, outputs) in PackedFormat::ALL
            .into_iter()
            .flat_map(|format| sizes.map(|outputs| (format, outputs)))
        {
            let matrices = outputs.map(|outputs| {
                PackedMatrix::pack(format, outputs, INPUTS, |output, row| {
                    row.copy_from_slice(&w[output * INPUTS..][..INPUTS]);
                })
            });
            for rows in [0, 1, 30, 500] {
                let x = random_values(rows * INPUTS, 2);
                let biases = outputs.map(|outputs| random_values(outputs, 3));
                let layers = std::array::from_fn::<_, 4, _>(|n| {
                    let epilogue = SliceEpilogue {
                        bias: (n != 2).then_some(&*biases[n]),
                        activation: (n == 0).then_some(Activation::Silu),
                        residual: None,
                    };
                    (matrices[n].panels(), epilogue)
                });
                for isa in Isa::available() {
                    let expected =
                        layers.map(|(matrix, epilogue)| linear(isa, &x, matrix, &epilogue));
                    for threads in [1, 3] {
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                        let run = || linears(isa, &x, layers);
                        let found = pool.build().unwrap().install(run);
                        assert!(found == expected, "{isa} {format} {rows}");
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
