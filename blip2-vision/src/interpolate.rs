//! Position embeddings for other picture sizes.

use burn::tensor::{DType, Tensor, TensorData};

/// Resizes a square of `side` by `side` position embeddings to `rows` by `columns`: bicubic with
/// a = −0.75, `align_corners=False`, clamped at the border and without antialiasing, as
/// `torch.nn.functional.interpolate` does.
///
/// Interpolation is linear in the embeddings, so each axis is one product with a small matrix,
/// and gradients flow through it.
///
/// # Shapes
///
/// - positions: `[side · side, hidden]`
/// - output: `[rows · columns, hidden]`
pub(crate) fn interpolate(
    positions: Tensor<2>,
    side: usize,
    [rows, columns]: [usize; 2],
) -> Tensor<2> {
    let [_, hidden] = positions.dims();
    let device = positions.device();
    let matrix = |target| {
        let data = TensorData::new(weights(side, target), [target, side]);
        Tensor::<2>::from_data(data, (&device, DType::F32))
    };
    let tall = matrix(rows).matmul(positions.reshape([side, side * hidden]));
    let wide = tall.reshape([rows, side, hidden]);
    let across = matrix(columns)
        .unsqueeze::<3>()
        .expand([rows, columns, side]);
    across.matmul(wide).reshape([rows * columns, hidden])
}

/// The weights of `source` places, side by side, in each of `target` places.
fn weights(source: usize, target: usize) -> Vec<f32> {
    let scale = source as f32 / target as f32;
    let last = source as isize - 1;
    let mut weights = vec![0f32; target * source];
    for (position, row) in weights.chunks_exact_mut(source).enumerate() {
        let center = (position as f32 + 0.5) * scale - 0.5;
        let first = center.floor();
        let offset = center - first;
        let taps = [
            far(offset + 1.0),
            near(offset),
            near(1.0 - offset),
            far(2.0 - offset),
        ];
        for (place, weight) in (first as isize - 1..).zip(taps) {
            row[place.clamp(0, last) as usize] += weight;
        }
    }
    weights
}

/// The constant of Keys' cubic (1981) that PyTorch uses.
const A: f32 = -0.75;

/// The cubic's weight at a distance of at most 1.
fn near(x: f32) -> f32 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

/// The cubic's weight at a distance between 1 and 2.
fn far(x: f32) -> f32 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let device = Device::flex();
        let square = Tensor::<2>::random([9, 4], Distribution::Default, &device);
        interpolate(square.clone(), 3, [3, 3])
            .into_data()
            .assert_approx_eq::<f32>(&square.into_data(), Tolerance::absolute(1e-6));
    }

    /// `torch.nn.functional.interpolate(arange(4.).reshape(1, 1, 2, 2), size=(3, 1), mode="bicubic")`
    #[test]
    fn values_equal_pytorch() {
        let device = Device::flex();
        let square = Tensor::<2>::from_floats([[0.0], [1.0], [2.0], [3.0]], &device);
        let expected = TensorData::from([[0.32638896f32], [1.5], [2.673611]]);
        interpolate(square, 2, [3, 1])
            .into_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_and_mirror(source in 1usize..40, target in 1usize..80) {
            let weights = weights(source, target);
            let rows: Vec<_> = weights.chunks_exact(source).collect();
            prop_assert_eq!(rows.len(), target);
            for (row, mirrored) in rows.iter().zip(rows.iter().rev()) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                for (weight, other) in row.iter().zip(mirrored.iter().rev()) {
                    prop_assert!((weight - other).abs() < 1e-4, "{row:?} {mirrored:?}");
                }
            }
        }
    }
}
