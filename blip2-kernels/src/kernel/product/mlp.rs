//! Two layers with an activation between them.

use super::{
    Ready, compute,
    epilogue::SliceEpilogue,
    linear,
    output::{Output, Sink},
    run, run_ready, unit,
    work::Work,
};
use crate::kernel::{
    activation::Activation,
    isa::{
        Isa,
        unit::{Product, UNIT_ROWS},
    },
    panels::Panels,
};

/// The rows that pass both layers at a time. What is inside, several times as wide as a row, is then
/// never there for all rows of many pictures, and each matrix is still read for enough rows at
/// once that reading it does not show.
const ROWS: usize = 1024;

/// A packed matrix and its bias.
pub(crate) type Layer<'a> = (Panels<'a>, Option<&'a [f32]>);

/// `residual + activation(x · W₁ᵀ + b₁) · W₂ᵀ + b₂`, `[rows, outputs]`, of `x` `[rows, inputs]`: to
/// the bit what two calls of [`linear`] make.
///
/// # Panics
///
/// If the lengths of the slices are not those of the matrices.
pub(crate) fn mlp(
    isa: Isa,
    x: &[f32],
    [(first, first_bias), (second, bias)]: [Layer<'_>; 2],
    activation: Activation,
    residual: &[f32],
) -> Vec<f32> {
    let (inputs, outputs) = (first.inputs(), second.outputs());
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    assert_eq!(residual.len(), rows * outputs, "a residual for each result");
    assert_eq!(
        first.outputs(),
        second.inputs(),
        "what one makes the other reads"
    );
    let inside = SliceEpilogue {
        bias: first_bias,
        activation: Some(activation),
        residual: None,
    };
    let mut y = Vec::with_capacity(rows * outputs);
    let blocks = rows.div_ceil(ROWS);
    for block in 0..blocks {
        let [start, end] = [block, block + 1].map(|block| block * rows / blocks);
        let x = &x[start * inputs..end * inputs];
        let last = SliceEpilogue {
            bias,
            activation: None,
            residual: Some(&residual[start * outputs..end * outputs]),
        };
        let count = end - start;
        let output = Output::new(y.spare_capacity_mut(), count, outputs);
        if count >= UNIT_ROWS && are_brain_floats(isa, first, second) {
            let inner = rounded(isa, x, first, &inside, count);
            let work = Work::new(isa, second, &last, count, Sink::Rows(&output), None);
            run_ready(&inner, &[(work, second)], count);
        } else {
            let inner = linear(isa, x, first, &inside);
            compute(isa, &inner, second, &last, count, &output, None);
        }
        // SAFETY: there is room for all rows, and the product has stored each of these.
        #[allow(unsafe_code)]
        unsafe {
            y.set_len(end * outputs);
        }
    }
    y
}

/// Whether a matrix unit multiplies both matrices as brain floats.
fn are_brain_floats(isa: Isa, first: Panels<'_>, second: Panels<'_>) -> bool {
    [first, second].iter().all(|matrix| {
        let product = Product::of(isa, matrix.shape().kind);
        product == Some(Product::Bf16)
    })
}

/// The first layer's results, ready for the second: never there in `f32`.
fn rounded(
    isa: Isa,
    x: &[f32],
    first: Panels<'_>,
    inside: &SliceEpilogue<'_>,
    rows: usize,
) -> Ready {
    let mut inner = unit::Rows::room(rows, first.outputs());
    let rounding = inner.rounding();
    let work = Work::new(isa, first, inside, rows, Sink::Rounded(&rounding), None);
    run(x, &[(work, first)], rows);
    Ready::Unit(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        matrix::packed::{PackedFormat, PackedMatrix},
        random_values,
    };

    #[test]
    fn blocks_of_rows_change_no_bit() {
        const SIZES: [usize; 3] = [17, 70, 33];
        let [inputs, inner, outputs] = SIZES;
        let (w, v) = (
            random_values(inner * inputs, 1),
            random_values(outputs * inner, 2),
        );
        let biases = random_values(inner + outputs, 3);
        let (b, c) = biases.split_at(inner);
        for format in PackedFormat::ALL {
            let pack = |outputs, inputs, w: &[f32]| {
                PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    row.copy_from_slice(&w[output * inputs..][..inputs]);
                })
            };
            let (first, second) = (pack(inner, inputs, &w), pack(outputs, inner, &v));
            for rows in [0, 1, 32, 45, ROWS, 2 * ROWS + 1] {
                let (x, residual) = (
                    random_values(rows * inputs, 4),
                    random_values(rows * outputs, 5),
                );
                for isa in Isa::available() {
                    let inside = SliceEpilogue {
                        bias: Some(b),
                        activation: Some(Activation::Gelu),
                        residual: None,
                    };
                    let last = SliceEpilogue {
                        bias: Some(c),
                        activation: None,
                        residual: Some(&residual),
                    };
                    let (first, second) = (first.panels(), second.panels());
                    let whole = linear(isa, &linear(isa, &x, first, &inside), second, &last);
                    let layers = [(first, Some(b)), (second, Some(c))];
                    let blocks = mlp(isa, &x, layers, Activation::Gelu, &residual);
                    assert!(whole == blocks, "{isa} {format} {rows}");
                }
            }
        }
    }
}
