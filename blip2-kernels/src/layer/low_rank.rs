//! What is added to a linear layer to adapt it.

use burn::{
    module::{Module, Param},
    tensor::{Distribution, Tensor},
};

use crate::seam;

/// A low-rank adapter (LoRA; Hu et al., 2021): `scale · B · A · x`, to be added to what a layer makes
/// of `x`. The layer's own matrix stays as it is, in whatever format.
///
/// ```
/// use blip2_kernels::{Bias, LowRank, RandomWeights, Role, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let weights = Weights::new(&source, &device);
/// let (x, plain) = (Tensor::<2>::ones([1, 64], &device), weights.linear("fc", 64, 64, Bias::With));
/// let [a, b] = [("a", [4, 64]), ("b", [64, 4])].map(|(name, shape)| {
///     weights.param(name, shape, Role::Dense) // 512 numbers beside 4096
/// });
/// let adapted = plain.clone().with_low_rank(LowRank::new(a, b, 2.0, 0.0));
/// assert_ne!(adapted.forward(x.clone()).into_data(), plain.forward(x).into_data());
/// ```
#[derive(Module, Debug)]
pub struct LowRank {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
    scale: f64,
    dropout: f64,
}

impl LowRank {
    /// An adapter of `a` `[rank, in]` and `b` `[out, rank]`. While gradients are recorded, the part
    /// `dropout` of the input's numbers is left out and the others are scaled up for it.
    pub fn new(a: Param<Tensor<2>>, b: Param<Tensor<2>>, scale: f64, dropout: f64) -> Self {
        Self {
            a,
            b,
            scale,
            dropout,
        }
    }

    /// What is added, `[..., out]`, for `[..., in]`.
    pub(crate) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let mut shape = input.dims();
        let width = shape[D - 1];
        let rows = shape[..D - 1].iter().product();
        let input = self.dropped(input.reshape([rows, width]));
        let inner = input.matmul(self.a.val().transpose());
        let output = inner.matmul(self.b.val().transpose()) * self.scale;
        shape[D - 1] = output.dims()[1];
        output.reshape(shape)
    }

    fn dropped(&self, input: Tensor<2>) -> Tensor<2> {
        if self.dropout == 0.0 || !seam::trains(&self.a.val()) {
            return input;
        }
        let kept = 1.0 - self.dropout;
        let [rows, width] = input.dims();
        let device = input.device();
        let mask = seam::drawn(rows, width, |shape| {
            Tensor::random(shape, Distribution::Bernoulli(kept), &device)
        });
        input * mask / kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::activation::Activation,
        layer::linear::Linear,
        matrix::{
            Matrix,
            packed::{PackedFormat, PackedMatrix},
        },
        random_values,
    };
    use burn::tensor::{Device, TensorData, Tolerance};

    fn tensor<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let values = random_values(shape.iter().product(), seed);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn adapter(dropout: f64) -> LowRank {
        let [a, b] = [tensor([3, 7], 1), tensor([5, 3], 2)].map(Param::from_tensor);
        LowRank::new(a, b, 0.5, dropout)
    }

    fn layer(packed: bool) -> Linear {
        let weight = tensor([5, 7], 3);
        let matrix = if packed {
            let values = weight.into_data().try_into_vec::<f32>().unwrap();
            Matrix::Packed(PackedMatrix::pack(
                PackedFormat::F32,
                5,
                7,
                |output, row| {
                    row.copy_from_slice(&values[7 * output..7 * (output + 1)]);
                },
            ))
        } else {
            Matrix::Dense(Param::from_tensor(weight))
        };
        Linear::new(matrix, Some(Param::from_tensor(tensor([5], 4))))
    }

    #[test]
    fn an_adapted_layer_is_the_layer_of_the_merged_matrix() {
        let (x, residual) = (tensor([2, 4, 7], 5), tensor([2, 4, 5], 6));
        let merged = tensor([5, 7], 3) + tensor([5, 3], 2).matmul(tensor([3, 7], 1)) * 0.5;
        let bias = Some(Param::from_tensor(tensor([5], 4)));
        let merged = Linear::new(Matrix::Dense(Param::from_tensor(merged)), bias);
        let near = |own: Tensor<3>, other: Tensor<3>| {
            let tolerance = Tolerance::absolute(1e-5);
            own.into_data()
                .assert_approx_eq::<f32>(&other.into_data(), tolerance);
        };
        for packed in [false, true] {
            // Dropout is for training alone.
            let own = layer(packed).with_low_rank(adapter(0.5));
            near(own.forward(x.clone()), merged.forward(x.clone()));
            near(
                own.forward_activated(x.clone(), Activation::Gelu),
                merged.forward_activated(x.clone(), Activation::Gelu),
            );
            near(
                own.forward_onto(x.clone(), residual.clone()),
                merged.forward_onto(x.clone(), residual.clone()),
            );
        }
    }

    #[test]
    fn dropout_leaves_inputs_out_and_keeps_the_mean() {
        let device = Device::flex();
        device.seed(3);
        let low_rank = adapter(0.25);
        let trained = LowRank {
            a: Param::from_tensor(low_rank.a.val().autodiff().require_grad()),
            ..low_rank.clone()
        };
        let x = Tensor::<2>::ones([20_000, 7], &device);
        let mean = |y: Tensor<2>| y.mean_dim(0).into_data().try_into_vec::<f32>().unwrap();
        let plain = mean(low_rank.forward(x.clone()));
        let dropped = trained.forward(x).inner();
        let first = dropped.clone().narrow(0, 0, 1);
        let second = dropped.clone().narrow(0, 1, 1);
        assert!((first - second).abs().max().into_scalar::<f32>() > 1e-3);
        for (dropped, plain) in mean(dropped).iter().zip(plain) {
            assert!((dropped - plain).abs() < 0.02, "{dropped} {plain}");
        }
    }
}
