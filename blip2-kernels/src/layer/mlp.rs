//! The two-layer perceptron of a transformer's layer.

use burn::tensor::Tensor;

use super::linear::Linear;
use crate::{kernel::activation::Activation, seam};

/// `residual + fc2(activation(fc1(x)))` on the last axis.
///
/// Where there are kernels for both layers, some rows pass both at a time: the hidden
/// activations, usually four times as wide as `x`, never exist as a whole. The numbers are those of the two
/// layers one after the other, to the bit.
///
/// # Shapes
///
/// - x: `[..., in]`, `f32`
/// - residual and output: `[..., out]`, `f32`
///
/// ```
/// use blip2_kernels::{Activation, Bias, RandomWeights, Weights, mlp};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let weights = Weights::new(&source, &device).at("mlp");
/// let fc1 = weights.linear("fc1", 16, 64, Bias::With);
/// let fc2 = weights.linear("fc2", 64, 16, Bias::With);
/// let x = Tensor::<3>::ones([2, 5, 16], &device);
/// let y = mlp(x.clone(), [&fc1, &fc2], Activation::Gelu, x);
/// assert_eq!(y.dims(), [2, 5, 16]);
/// ```
///
/// # Panics
///
/// If the axes do not fit, as every Burn layer does.
pub fn mlp<const D: usize>(
    x: Tensor<D>,
    [fc1, fc2]: [&Linear; 2],
    activation: Activation,
    residual: Tensor<D>,
) -> Tensor<D> {
    match [fc1.as_affine(), fc2.as_affine()] {
        [Some(first), Some(second)] => seam::mlp(x, [first, second], activation, residual),
        // An adapter is added before the activation.
        _ => fc2.forward_onto(fc1.forward_activated(x, activation), residual),
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, Distribution, Tolerance},
    };

    use super::*;
    use crate::matrix::{
        Matrix,
        packed::{PackedFormat, PackedMatrix},
    };

    /// Packed and dense, against the two layers apart.
    #[test]
    fn it_is_two_layers() {
        let device = Device::flex();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let layer = |outputs: usize, inputs: usize, packed: bool| {
            let weight = random([outputs, inputs]);
            let values = weight.to_data().try_to_vec::<f32>().unwrap();
            let matrix = match packed {
                true => {
                    let pack = |output: usize, row: &mut [f32]| {
                        row.copy_from_slice(&values[output * inputs..][..inputs]);
                    };
                    let format = PackedFormat::F32;
                    Matrix::Packed(PackedMatrix::pack(format, outputs, inputs, pack))
                }
                false => Matrix::Dense(Param::from_tensor(weight)),
            };
            let bias = random([1, outputs]).squeeze_dim::<1>(0);
            Linear::new(matrix, (!packed).then(|| Param::from_tensor(bias)))
        };
        let tensor = |width| Tensor::<3>::random([2, 5, width], Distribution::Default, &device);
        for packed in [[true, true], [true, false], [false, false]] {
            let (fc1, fc2) = (layer(20, 6, packed[0]), layer(7, 20, packed[1]));
            let (x, residual) = (tensor(6), tensor(7));
            let inner = fc1.forward_activated(x.clone(), Activation::Relu);
            let expected = fc2.forward_onto(inner, residual.clone());
            let y = mlp(x, [&fc1, &fc2], Activation::Relu, residual);
            assert_eq!(y.dims(), [2, 5, 7]);
            y.into_data()
                .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
        }
    }
}
