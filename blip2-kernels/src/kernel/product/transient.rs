//! Products with matrices that change from step to step, as those of a training do.
//!
//! They are packed each time. A small matrix stays in the cache; the many rows that it is multiplied
//! with are taken as they lie, a few at a time, from their sums to the layer's result.

use super::{
    compute,
    epilogue::{SliceEpilogue, finish_rows},
    output::Output,
    transient_panels::TransientPanels,
};
use crate::kernel::{
    buffers::Floats,
    isa::{Isa, tile_kind::PANEL, view::View},
    panels::Panels,
    threads,
};

/// A matrix `[outputs, inputs]` that is multiplied with once or twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransientMatrix<'a> {
    /// Its elements: `[outputs, inputs]`, or `[inputs, outputs]` if it is transposed.
    pub(crate) weight: &'a [f32],
    pub(crate) transposed: bool,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

impl TransientMatrix<'_> {
    /// Whether it stays in the second level of cache.
    pub(super) fn is_near(self) -> bool {
        const CACHED: usize = 1 << 20;
        size_of_val(self.weight) <= CACHED
    }

    pub(super) fn panels(self) -> TransientPanels {
        let shape = [self.outputs, self.inputs];
        match self.transposed {
            true => TransientPanels::of_transposed(self.weight, shape),
            false => TransientPanels::of(self.weight, shape),
        }
    }

    /// `residual + activation(x · Wᵀ + bias)`, `[rows, outputs]`; and if it is to be kept what the
    /// activation found, else nothing.
    pub(crate) fn linear(
        self,
        isa: Isa,
        x: &[f32],
        epilogue: &SliceEpilogue<'_>,
        keep: bool,
    ) -> [Floats; 2] {
        let panels = self.panels();
        match self.is_near() {
            true => self.near(isa, x, &panels, epilogue, keep),
            false => linear_keeping(isa, x, panels.as_panels(), epilogue, keep),
        }
    }

    /// The product with a matrix that stays in the cache.
    fn near(
        self,
        isa: Isa,
        x: &[f32],
        panels: &TransientPanels,
        epilogue: &SliceEpilogue<'_>,
        keep: bool,
    ) -> [Floats; 2] {
        /// Rows that are taken at a time.
        const ROWS: usize = 48;
        let Self {
            inputs, outputs, ..
        } = self;
        let mut results = room(x, [inputs, outputs], keep);
        let [y, kept] = results
            .each_mut()
            .map(|result| result.chunks_mut((ROWS * outputs).max(1)));
        let kept = kept.map(Some).chain(std::iter::repeat_with(|| None));
        threads::each(y.zip(kept).enumerate(), |(share, (y, kept))| {
            let (first, count) = (share * ROWS, y.len() / outputs);
            let x = &x[first * inputs..(first + count) * inputs];
            multiply_by(isa, x, panels, inputs, &Output::filled(y, outputs), 0);
            let residual = epilogue.residual;
            let epilogue = SliceEpilogue {
                residual: residual.map(|all| &all[first * outputs..(first + count) * outputs]),
                ..*epilogue
            };
            finish_rows(isa, y, kept, &epilogue);
        });
        results
    }
}

/// Puts `x · Wᵀ` at a row of the output.
pub(super) fn multiply_by(
    isa: Isa,
    x: &[f32],
    panels: &TransientPanels,
    inputs: usize,
    output: &Output<'_>,
    row: usize,
) {
    let rows = x.len() / inputs.max(1);
    for (first, panel) in panels.panels() {
        let operands = [View::rows(x, inputs), View::rows(panel, PANEL)];
        let dims = [rows, inputs, PANEL.min(output.outputs - first)];
        output.multiply(isa, operands, dims, [row, first], false);
    }
}

/// As [`super::linear`], and what the activation found if it is to be kept, else nothing.
pub(crate) fn linear_keeping(
    isa: Isa,
    x: &[f32],
    matrix: Panels<'_>,
    epilogue: &SliceEpilogue<'_>,
    keep: bool,
) -> [Floats; 2] {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let mut results = room(x, [inputs, outputs], keep);
    let [y, kept] = results
        .each_mut()
        .map(|result| Output::filled(result, outputs));
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    compute(isa, x, matrix, epilogue, rows, &y, keep.then_some(&kept));
    results
}

/// Room for a product's result, and for what is to be kept.
fn room(x: &[f32], [inputs, outputs]: [usize; 2], keep: bool) -> [Floats; 2] {
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    assert_eq!(x.len(), rows * inputs, "whole rows of {inputs} inputs");
    let kept = if keep { rows * outputs } else { 0 };
    [rows * outputs, kept].map(Floats::any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, random_values};

    /// Small matrices and large ones, either way round.
    #[test]
    fn layers_are_those_of_64_bits() {
        for [rows, outputs, inputs] in [[1, 1, 1], [50, 33, 31], [97, 70, 8], [3, 700, 400]] {
            let weight = random_values(outputs * inputs, 1);
            let turn = |n: usize| weight[n % outputs * inputs + n / outputs];
            let transposed: Vec<f32> = (0..weight.len()).map(turn).collect();
            let x = random_values(rows * inputs, 2);
            let (bias, residual) = (random_values(outputs, 3), random_values(rows * outputs, 4));
            let epilogue = SliceEpilogue {
                bias: Some(&bias),
                activation: Some(Activation::Relu),
                residual: Some(&residual),
            };
            for isa in Isa::available() {
                for (transposed, weight) in [(false, &weight), (true, &transposed)] {
                    let passing = TransientMatrix {
                        weight,
                        transposed,
                        outputs,
                        inputs,
                    };
                    let [y, kept] = passing.linear(isa, &x, &epilogue, true);
                    let without = passing.linear(isa, &x, &epilogue, false);
                    assert_eq!([&*y, &[]], without.each_ref().map(|found| &**found));
                    for place in 0..rows * outputs {
                        let (row, output) = (place / outputs, place % outputs);
                        let at = |input: usize| match transposed {
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
