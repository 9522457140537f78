//! The backward pass of a linear layer.

use super::{
    epilogue::SliceEpilogue,
    output::Output,
    transient::{TransientMatrix, multiply_by},
    turned::linear_through,
};
use crate::kernel::{
    activation::{Activation, multiply_all_by_derivative, multiply_by_derivative},
    buffers::Floats,
    isa::{Isa, vectorized, view::View},
    panels::Panels,
    threads,
};

/// Rows that are taken at once: what a tile reads of them stays in the first level of the cache, the
/// whole in the second, and long sums are more exact than in one go.
const BLOCK: usize = 192;

/// Nothing behind a product.
const PLAIN: SliceEpilogue<'_> = SliceEpilogue {
    bias: None,
    activation: None,
    residual: None,
};

/// The backward pass of a linear layer: what is known of the layer, and which gradients are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a> {
    pub(crate) isa: Isa,
    /// `[rows, outputs]`, of the result.
    pub(crate) gradient: &'a [f32],
    /// The activation, and what it was applied to.
    pub(crate) kept: Option<(Activation, &'a [f32])>,
    /// `[rows, inputs]`, if the gradient of the matrix is wanted.
    pub(crate) x: Option<&'a [f32]>,
    /// The matrix, if the gradient of `x` is wanted.
    pub(crate) weight: Option<Through<'a>>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Whether the gradient of the bias is wanted.
    pub(crate) of_bias: bool,
}

/// The matrix that a gradient goes back through.
#[derive(Clone, Copy)]
pub(crate) enum Through<'a> {
    /// `[outputs, inputs]`
    Dense(&'a [f32]),
    /// Packed; with true the product's factors are rounded to bf16, and summed in `f32`.
    Packed(Panels<'a>, bool),
}

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// `[rows, inputs]`
    pub(crate) x: Option<Floats>,
    /// `[outputs, inputs]`
    pub(crate) weight: Option<Vec<f32>>,
    /// `[outputs]`
    pub(crate) bias: Option<Vec<f32>>,
}

impl Backward<'_> {
    /// The gradients. Each element is summed in an order that depends on the shapes alone.
    pub(crate) fn run(self) -> Found {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = self.gradient.len().checked_div(outputs).unwrap_or(0);
        assert_eq!(self.gradient.len(), rows * outputs, "whole rows");
        let whole = |x: &[f32]| x.len() == rows * inputs;
        assert!(self.x.is_none_or(whole), "as many rows");
        if rows == 0 {
            return self.nothing();
        }
        let dense = |weight| TransientMatrix {
            weight,
            transposed: true,
            outputs: inputs,
            inputs: outputs,
        };
        // Small matrices stay in the cache while all rows pass, so that each row is fetched once for
        // every gradient; large ones are passed one product after another.
        let near = match self.weight {
            Some(Through::Dense(weight)) => Some(dense(weight)).filter(|matrix| matrix.is_near()),
            Some(Through::Packed(..)) | None => None,
        };
        match self.is_near() && near.is_some() == self.weight.is_some() {
            true => self.by_rows(rows, near),
            false => self.by_operands(rows, |gradient| match self.weight? {
                Through::Dense(weight) => {
                    let [x, _] = dense(weight).linear(self.isa, gradient, &PLAIN, false);
                    Some(x)
                }
                Through::Packed(matrix, in_bf16) => {
                    Some(linear_through(self.isa, gradient, matrix, in_bf16))
                }
            }),
        }
    }

    /// Whether the gradient of the matrix stays in the cache.
    fn is_near(&self) -> bool {
        const CACHED: usize = 1 << 18;
        self.inputs * self.outputs <= CACHED
    }

    /// Of no rows.
    fn nothing(self) -> Found {
        Found {
            x: self.weight.map(|_| Floats::any(0)),
            weight: self.x.map(|_| vec![0.0; self.outputs * self.inputs]),
            bias: self.of_bias.then(|| vec![0.0; self.outputs]),
        }
    }

    /// A few rows at a time, from the gradient of the result to all others, before the next: each
    /// number of a step is fetched once.
    fn by_rows(self, rows: usize, through: Option<TransientMatrix<'_>>) -> Found {
        /// The number of partial sums, added in the end: a fixed number, so that the order of sums does
        /// not depend on the threads.
        const PARTS: usize = 8;
        let Self {
            isa,
            inputs,
            outputs,
            of_bias,
            ..
        } = self;
        let of_weight = self.x.is_some();
        let blocks = rows.div_ceil(BLOCK);
        let parts = blocks.min(PARTS);
        let size = if of_weight { outputs * inputs } else { 0 };
        let panels = through.map(TransientMatrix::panels);
        let mut x = Floats::any(if through.is_some() { rows * inputs } else { 0 });
        let to_x = Output::filled(&mut x, inputs);
        let mut products = Floats::any(parts * size);
        let mut sums = vec![0f32; parts * outputs];
        let matrices = products
            .chunks_mut(size.max(1))
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let tasks = matrices.zip(sums.chunks_mut(outputs)).enumerate();
        let run = |scratch: &mut Vec<f32>, task: (usize, (Option<&mut [f32]>, &mut [f32]))| {
            let (part, (products, sums)) = task;
            let products = products.map(|products| Output::filled(products, inputs));
            for block in part * blocks / parts..(part + 1) * blocks / parts {
                let (first, end) = (block * BLOCK, rows.min((block + 1) * BLOCK));
                let gradient = self.before_activation(first, end, scratch);
                if of_bias {
                    // In the order of memory, which brings the block near.
                    add_rows(isa, gradient, outputs, sums);
                }
                if let (Some(products), Some(x)) = (&products, self.x) {
                    let x = &x[first * inputs..end * inputs];
                    let operands = [
                        View::rows(gradient, outputs).transposed(),
                        View::rows(x, inputs),
                    ];
                    let add = block > part * blocks / parts;
                    let dims = [outputs, end - first, inputs];
                    products.multiply(isa, operands, dims, [0, 0], add);
                }
                if let Some(panels) = &panels {
                    multiply_by(isa, gradient, panels, outputs, &to_x, first);
                }
            }
        };
        threads::each_with(tasks, Vec::new, run);
        Found {
            x: through.map(|_| x),
            weight: of_weight.then(|| total(isa, &products, size)),
            bias: of_bias.then(|| total(isa, &sums, outputs)),
        }
    }

    /// The gradient of some rows before the activation.
    fn before_activation<'s>(
        &'s self,
        first: usize,
        end: usize,
        scratch: &'s mut Vec<f32>,
    ) -> &'s [f32] {
        let places = first * self.outputs..end * self.outputs;
        let gradient = &self.gradient[places.clone()];
        let Some((activation, kept)) = self.kept else {
            return gradient;
        };
        scratch.resize(BLOCK * self.outputs, 0.0);
        let product = &mut scratch[..gradient.len()];
        multiply_by_derivative(self.isa, activation, gradient, &kept[places], product);
        product
    }

    /// One product after another, for matrices that are large.
    /// `through` makes the gradient of `x` of the one before the activation.
    fn by_operands(self, rows: usize, through: impl Fn(&[f32]) -> Option<Floats>) -> Found {
        let Self {
            isa,
            inputs,
            outputs,
            of_bias,
            ..
        } = self;
        let of_weight = self.x.is_some();
        let mut product;
        let mut own = self;
        if let Some((activation, kept)) = own.kept.take() {
            product = Floats::any(rows * outputs);
            multiply_all_by_derivative(isa, activation, self.gradient, kept, &mut product);
            own.gradient = &product;
        }
        let (weight, bias) = if of_weight || of_bias {
            let [products, sums] = own.outer(rows);
            (of_weight.then_some(products), of_bias.then_some(sums))
        } else {
            (None, None)
        };
        let x = through(own.gradient);
        debug_assert!(x.as_ref().is_none_or(|x| x.len() == rows * inputs));
        Found { x, weight, bias }
    }

    /// The product over rows of the gradient and `x`, and the gradient's sums. The columns of the
    /// gradient are shared out.
    fn outer(&self, rows: usize) -> [Vec<f32>; 2] {
        let (isa, m) = (self.isa, self.outputs);
        let n = self.x.map_or(0, |_| self.inputs);
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
                let gradient = &self.gradient[row * m..(row + block) * m][first..];
                add_rows(isa, gradient, m, sums);
                if let (Some(products), Some(x)) = (&products, self.x) {
                    let gradient = View::rows(gradient, m).transposed();
                    let operands = [gradient, View::rows(&x[row * n..], n)];
                    products.multiply(isa, operands, [count, block, n], [0, 0], true);
                }
            }
        });
        [products, sums]
    }
}

/// The sum of parts, in their order.
fn total(isa: Isa, parts: &[f32], size: usize) -> Vec<f32> {
    /// Numbers that a thread takes at once.
    const SHARE: usize = 1 << 13;
    let (first, others) = parts.split_at(size);
    let mut total = first.to_vec();
    threads::each(total.chunks_mut(SHARE).enumerate(), |(share, total)| {
        for part in others.chunks_exact(size.max(1)) {
            add(isa, total, &part[share * SHARE..]);
        }
    });
    total
}

vectorized! {
    fn add(to: &mut [f32], from: &[f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += from;
        }
    }
}

vectorized! {
    /// Adds rows, `stride` apart, to their sums.
    fn add_rows(from: &[f32], stride: usize, sums: &mut [f32]) {
        let mut part = vec![0f32; sums.len()];
        for row in from.chunks(stride) {
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
    use crate::random_values;

    /// Over shapes with tails of every kind and matrices of either kind, on every instruction set;
    /// and whatever the number of threads, to the bit.
    #[test]
    fn gradients_are_those_of_64_bits() {
        for [rows, m, n] in [
            [0, 2, 3],
            [1, 1, 1],
            [7, 13, 33],
            [193, 24, 64],
            [1700, 10, 31],
            [5, 400, 2],
            [200, 530, 510],
        ] {
            let gradient = random_values(rows * m, 1);
            let (x, weight) = (random_values(rows * n, 2), random_values(m * n, 3));
            for isa in Isa::available() {
                let run = || {
                    let backward = Backward {
                        isa,
                        gradient: &gradient,
                        kept: None,
                        x: Some(&x),
                        weight: Some(Through::Dense(&weight)),
                        inputs: n,
                        outputs: m,
                        of_bias: true,
                    };
                    let found = backward.run();
                    [
                        found.x.unwrap().to_vec(),
                        found.weight.unwrap(),
                        found.bias.unwrap(),
                    ]
                };
                let found @ [of_x, of_weight, of_bias] = &run();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(3);
                assert_eq!(&pool.build().unwrap().install(run), found);
                let near = |exact: f64, found: f32| {
                    let error = exact - f64::from(found);
                    assert!(error.abs() < 1e-4, "{isa}: {error}");
                };
                let column = |column: usize| {
                    let column = gradient.iter().skip(column).step_by(m);
                    column.map(|&value| f64::from(value))
                };
                for output in 0..m {
                    near(column(output).sum(), of_bias[output]);
                    // A few of the many columns of large matrices.
                    for input in (0..n).step_by(n.div_ceil(40)) {
                        let x = x.iter().skip(input).step_by(n).map(|&x| f64::from(x));
                        let exact = column(output).zip(x).map(|(a, b)| a * b).sum();
                        near(exact, of_weight[output * n + input]);
                    }
                }
                for (gradient, of_x) in gradient.chunks(m).zip(of_x.chunks(n)) {
                    for (input, found) in of_x.iter().enumerate().step_by(n.div_ceil(40)) {
                        let weights = weight.iter().skip(input).step_by(n);
                        let products = gradient.iter().zip(weights);
                        let exact = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        near(exact, *found);
                    }
                }
            }
        }
    }
}
