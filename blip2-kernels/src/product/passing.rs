//! Products with matrices that change from step to step, as those of a training do.
//!
//! They are packed each time. A small matrix stays in the cache; the many rows that it is multiplied
//! with are taken as they lie, a few at a time, from their sums to the layer's result.

use super::{Epilogue, compute, finish::finish_rows, output::Output};
use crate::{
    isa::{Isa, plain::View, tile::PANEL, vectorized},
    packed::{PackedMatrix, Panels},
    threads,
};

/// A matrix `[outputs, inputs]` that is multiplied with once or twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passing<'a> {
    /// Its elements: `[outputs, inputs]`, or `[inputs, outputs]` if it is turned.
    pub(crate) weight: &'a [f32],
    pub(crate) turned: bool,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl Passing<'_> {
    /// `residual + activation(x · Wᵀ + bias)`, `[rows, outputs]`; and if it is to be kept what the
    /// activation found, else nothing.
    pub(crate) fn linear(
        self,
        isa: Isa,
        x: &[f32],
        epilogue: &Epilogue<'_>,
        keep: bool,
    ) -> [Vec<f32>; 2] {
        /// Bytes that a second level of cache holds.
        const CACHED: usize = 1 << 20;
        let Self {
            weight,
            turned,
            outputs,
            inputs,
        } = self;
        let panels = match turned {
            true => Panels::of_turned(weight, [outputs, inputs]),
            false => Panels::of(weight, [outputs, inputs]),
        };
        if size_of_val(weight) <= CACHED {
            return near(isa, x, &panels, [inputs, outputs], epilogue, keep);
        }
        let matrix = PackedMatrix::from(panels);
        match keep {
            true => linear_keeping(isa, x, &matrix, epilogue),
            false => [super::linear(isa, x, &matrix, epilogue), Vec::new()],
        }
    }
}

/// As [`super::linear`], and what the activation found.
pub(crate) fn linear_keeping(
    isa: Isa,
    x: &[f32],
    matrix: &PackedMatrix,
    epilogue: &Epilogue<'_>,
) -> [Vec<f32>; 2] {
    let (mut y, mut kept) = (Vec::new(), Vec::new());
    compute(isa, x, matrix, epilogue, [Some(&mut y), Some(&mut kept)]);
    [y, kept]
}

/// The product with a matrix that stays in the cache.
fn near(
    isa: Isa,
    x: &[f32],
    panels: &Panels,
    [inputs, outputs]: [usize; 2],
    epilogue: &Epilogue<'_>,
    keep: bool,
) -> [Vec<f32>; 2] {
    /// Rows that are taken at a time.
    const ROWS: usize = 48;
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    assert_eq!(x.len(), rows * inputs, "whole rows of {inputs} inputs");
    let len = rows * outputs;
    let mut results = [
        Vec::with_capacity(len),
        Vec::with_capacity(if keep { len } else { 0 }),
    ];
    let share = (ROWS * outputs).max(1);
    let [y, kept] = results.each_mut().map(|result| {
        let spare = result.spare_capacity_mut();
        let len = spare.len().min(len);
        spare[..len].chunks_mut(share)
    });
    let kept = kept.map(Some).chain(std::iter::repeat_with(|| None));
    threads::each(y.zip(kept).enumerate(), |(share, (y, kept))| {
        let (first, count) = (share * ROWS, y.len() / outputs);
        let x = &x[first * inputs..(first + count) * inputs];
        let output = Output::new(y, count, outputs);
        for (first, panel) in panels.panels() {
            let operands = [View::rows(x, inputs), View::rows(panel, PANEL)];
            let dims = [count, inputs, PANEL.min(outputs - first)];
            output.multiply(isa, operands, dims, [0, first], false);
        }
        let residual = epilogue.residual;
        let epilogue = Epilogue {
            residual: residual.map(|all| &all[first * outputs..(first + count) * outputs]),
            ..*epilogue
        };
        finish_rows(isa, output.whole(), kept, &epilogue);
    });
    for (result, len) in results.iter_mut().zip([len, if keep { len } else { 0 }]) {
        // SAFETY: all shares of it were written.
        #[allow(unsafe_code)]
        unsafe {
            result.set_len(len);
        }
    }
    results
}

/// `aᵀ · b`, `[m, n]`, of `a` `[rows, m]` and `b` `[rows, n]`, and the sums of `a`'s columns: the
/// gradients of a matrix and of a bias.
///
/// Each element is summed in an order that depends on the number of rows alone.
pub(crate) fn outer(isa: Isa, a: &[f32], b: &[f32], [m, n]: [usize; 2]) -> [Vec<f32>; 2] {
    /// Rows that are summed at once: what a tile reads of them stays in the first level of the cache,
    /// and long sums are more exact than in one go.
    const BLOCK: usize = 96;
    let rows = a.len().checked_div(m).unwrap_or(0);
    assert_eq!((a.len(), b.len()), (rows * m, rows * n), "as many rows");
    let (mut products, mut sums) = (vec![0f32; m * n], vec![0f32; m]);
    // A tile has 12 rows.
    let share = m
        .div_ceil(2 * rayon::current_num_threads())
        .next_multiple_of(12);
    let parts = products
        .chunks_mut((share * n).max(1))
        .map(Some)
        .chain(std::iter::repeat_with(|| None))
        .zip(sums.chunks_mut(share));
    threads::each(parts.enumerate(), |(part, (products, sums))| {
        let (first, count) = (part * share, sums.len());
        let products = products.map(|products| Output::filled(products, n));
        for row in (0..rows).step_by(BLOCK) {
            let block = BLOCK.min(rows - row);
            let a = &a[row * m + first..];
            if let Some(products) = &products {
                let operands = [View::rows(a, m).turned(), View::rows(&b[row * n..], n)];
                products.multiply(isa, operands, [count, block, n], [0, 0], true);
            }
            add_rows(isa, a, m, block, sums);
        }
    });
    [products, sums]
}

vectorized! {
    /// Adds the first rows, `stride` apart, to their sums.
    fn add_rows(from: &[f32], stride: usize, rows: usize, sums: &mut [f32]) {
        let mut part = vec![0f32; sums.len()];
        for row in from.chunks(stride).take(rows) {
            for (sum, x) in part.iter_mut().zip(row) {
                *sum += x;
            }
        }
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, random_values};

    /// Over shapes with tails of every kind, on every instruction set; and whatever the number of
    /// threads, to the bit.
    #[test]
    fn gradients_are_those_of_64_bits() {
        for [rows, m, n] in [
            [1, 1, 1],
            [7, 13, 33],
            [193, 24, 64],
            [400, 100, 31],
            [5, 400, 2],
            [200, 3, 0],
        ] {
            let (a, b) = (random_values(rows * m, 1), random_values(rows * n, 2));
            for isa in Isa::available() {
                let [products, sums] = outer(isa, &a, &b, [m, n]);
                for column in 0..m {
                    let own = || a.iter().skip(column).step_by(m).map(|&a| f64::from(a));
                    let error = own().sum::<f64>() - f64::from(sums[column]);
                    assert!(error.abs() < 1e-4, "{isa}: {error}");
                    for output in 0..n {
                        let others = b.iter().skip(output).step_by(n).map(|&b| f64::from(b));
                        let exact: f64 = own().zip(others).map(|(a, b)| a * b).sum();
                        let error = exact - f64::from(products[column * n + output]);
                        assert!(error.abs() < 1e-4, "{isa}: {error}");
                    }
                }
                let pool = rayon::ThreadPoolBuilder::new().num_threads(3);
                let run = || outer(isa, &a, &b, [m, n]);
                assert_eq!(pool.build().unwrap().install(run), [products, sums]);
            }
        }
    }

    /// Small matrices and large ones, either way round.
    #[test]
    fn layers_are_those_of_64_bits() {
        for [rows, outputs, inputs] in [[1, 1, 1], [50, 33, 31], [97, 70, 8], [3, 700, 400]] {
            let weight = random_values(outputs * inputs, 1);
            let turn = |n: usize| weight[n % outputs * inputs + n / outputs];
            let turned: Vec<f32> = (0..weight.len()).map(turn).collect();
            let x = random_values(rows * inputs, 2);
            let (bias, residual) = (random_values(outputs, 3), random_values(rows * outputs, 4));
            let epilogue = Epilogue {
                bias: Some(&bias),
                activation: Some(Activation::Relu),
                residual: Some(&residual),
            };
            for isa in Isa::available() {
                for (turned, weight) in [(false, &weight), (true, &turned)] {
                    let passing = Passing {
                        weight,
                        turned,
                        outputs,
                        inputs,
                    };
                    let [y, kept] = passing.linear(isa, &x, &epilogue, true);
                    let without = passing.linear(isa, &x, &epilogue, false);
                    assert_eq!([&y, &vec![]], [&without[0], &without[1]]);
                    for place in 0..rows * outputs {
                        let (row, output) = (place / outputs, place % outputs);
                        let at = |input: usize| match turned {
                            true => weight[input * outputs + output],
                            false => weight[output * inputs + input],
                        };
                        let products =
                            (0..inputs).map(|n| f64::from(x[row * inputs + n]) * f64::from(at(n)));
                        let sum = products.sum::<f64>() + f64::from(bias[output]);
                        let error = sum - f64::from(kept[place]);
                        assert!(error.abs() < 1e-4, "{isa}: {error}");
                        let error = sum.max(0.0) + f64::from(residual[place]) - f64::from(y[place]);
                        assert!(error.abs() < 1e-4, "{isa}: {error}");
                    }
                }
            }
        }
    }
}
