//! What is added to a linear layer to adapt it.

use burn::{
    module::{Module, Param},
    tensor::{Distribution, Tensor},
};

use crate::{
    matrix::Matrix,
    seam::{self, TensorEpilogue},
};

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
    lengths: Option<Lengths>,
}

/// The lengths that DoRA gives rows, beside those that the layer's matrix has.
#[derive(Module, Debug)]
struct Lengths {
    /// `[out]`
    magnitude: Param<Tensor<1>>,
    /// The sums of squares of the matrix's own rows, `[out]`; never trained.
    squares: Param<Tensor<1>>,
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
            lengths: None,
        }
    }

    /// The adapter with lengths `[out]` of its own for the rows of `W + scale · B · A` (DoRA; Liu et al.,
    /// 2024): it adapts what is left of these, their directions. `squares` `[out]` are the sums of squares
    /// of the rows of `W`.
    #[must_use]
    pub fn with_magnitude(mut self, magnitude: Param<Tensor<1>>, squares: Tensor<1>) -> Self {
        let squares = Param::from_tensor(squares.inner());
        self.lengths = Some(Lengths { magnitude, squares });
        self
    }

    /// Whether it gives rows lengths of its own.
    pub(crate) fn is_scaled(&self) -> bool {
        self.lengths.is_some()
    }

    /// What a layer of `matrix` and `bias` makes of `[..., in]` with this adapter, whose rows have their own
    /// lengths, `[..., out]`: `g ⊙ (W · x + scale · B · A · x) + b` with `g = m / ‖W + scale · B · A‖`, whose
    /// denominator is held for a constant by the backward pass (section 4.3 of the paper).
    pub(crate) fn scaled<const D: usize>(
        &self,
        input: Tensor<D>,
        matrix: &Matrix,
        bias: Option<Tensor<1>>,
    ) -> Tensor<D> {
        let product = |input: Tensor<D>| seam::linear(input, matrix, TensorEpilogue::default());
        let Some(factors) = self.factors(matrix) else {
            return product(input);
        };
        let wide = |row: Tensor<1>| {
            let mut shape = [1; D];
            shape[D - 1] = row.dims()[0];
            row.reshape(shape)
        };
        let factors = wide(factors);
        let output = match self.drops() {
            false => self.forward_onto(input.clone(), Some(product(input))) * factors,
            // As in PEFT what was dropped is dropped from the change alone.
            true => {
                let shape = input.dims();
                let rows: usize = shape[..D - 1].iter().product();
                let flat = input.clone().reshape([rows, shape[D - 1]]);
                let dropped = self.dropped(flat).reshape(shape);
                let changed = product(dropped.clone()) * (factors.clone() - 1.0);
                product(input) + changed + self.added(dropped, None) * factors
            }
        };
        match bias {
            Some(bias) => output + wide(bias),
            None => output,
        }
    }

    /// What the rows of the sum are multiplied by, `[out]`. The squares of a sum's lengths are
    /// `‖w‖² + 2s · w·(ba) + s² · ‖ba‖²`, of which the middle is one product of the matrix with the rows of
    /// `A`: the sum itself, as large as the matrix, is never made.
    fn factors(&self, matrix: &Matrix) -> Option<Tensor<1>> {
        let Lengths { magnitude, squares } = self.lengths.as_ref()?;
        let (a, b) = (self.a.val().inner(), self.b.val().inner());
        let squares = match matrix {
            // Its rows change with every step.
            Matrix::Dense(weight) if seam::trains(&weight.val()) => matrix.row_squares(&a.device()),
            _ => squares.val().inner(),
        };
        let rows = seam::linear(a.clone(), matrix, TensorEpilogue::default()).inner();
        let row_sums = |product: Tensor<2>| product.sum_dim(1).squeeze_dim::<1>(1);
        let middle = row_sums(b.clone() * rows.transpose());
        let last = row_sums(b.clone().matmul(a.clone().matmul(a.transpose())) * b);
        let scale = self.scale;
        let sum = squares + middle * (2.0 * scale) + last * (scale * scale);
        Some(magnitude.val() / sum.clamp_min(f32::MIN_POSITIVE).sqrt())
    }

    /// What is added, `[..., out]`, for `[..., in]`, and a residual with it.
    pub(crate) fn forward_onto<const D: usize>(
        &self,
        input: Tensor<D>,
        residual: Option<Tensor<D>>,
    ) -> Tensor<D> {
        let shape = input.dims();
        let rows: usize = shape[..D - 1].iter().product();
        let flat = input.reshape([rows, shape[D - 1]]);
        self.added(self.dropped(flat).reshape(shape), residual)
    }

    /// What is added to what nothing is dropped of any more.
    fn added<const D: usize>(&self, input: Tensor<D>, residual: Option<Tensor<D>>) -> Tensor<D> {
        let [a, b] = [&self.a, &self.b].map(|factor| Matrix::Dense(factor.clone()));
        // The rank is all that is between the products: scaling that costs nothing.
        let inner = seam::linear(input, &a, TensorEpilogue::default()) * self.scale;
        let epilogue = TensorEpilogue {
            residual,
            ..TensorEpilogue::default()
        };
        seam::linear(inner, &b, epilogue)
    }

    fn drops(&self) -> bool {
        self.dropout != 0.0 && seam::trains(&self.a.val())
    }

    fn dropped(&self, input: Tensor<2>) -> Tensor<2> {
        if !self.drops() {
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
    fn a_layer_with_lengths_is_that_of_the_scaled_sum() {
        let x = tensor([2, 4, 7], 5);
        let sum = tensor([5, 7], 3) + tensor([5, 3], 2).matmul(tensor([3, 7], 1)) * 0.5;
        let lengths = Tensor::<1>::from_floats([1.0, 0.5, 2.0, 3.0, 0.1], &Device::flex());
        let norms = sum.clone().square().sum_dim(1).sqrt();
        let merged = sum / norms * lengths.clone().reshape([5, 1]);
        let bias = || Some(Param::from_tensor(tensor([5], 4)));
        let merged = Linear::new(Matrix::Dense(Param::from_tensor(merged)), bias());
        for packed in [false, true] {
            let plain = layer(packed);
            let squares = plain.row_squares(&Device::flex());
            let magnitude = Param::from_tensor(lengths.clone());
            let own = plain.with_low_rank(adapter(0.5).with_magnitude(magnitude, squares));
            let found = own.forward_activated(x.clone(), Activation::Gelu);
            let due = merged.forward_activated(x.clone(), Activation::Gelu);
            found
                .into_data()
                .assert_approx_eq::<f32>(&due.into_data(), Tolerance::absolute(1e-5));
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
        let plain = mean(low_rank.forward_onto(x.clone(), None));
        let dropped = trained.forward_onto(x, None).inner();
        let first = dropped.clone().narrow(0, 0, 1);
        let second = dropped.clone().narrow(0, 1, 1);
        assert!((first - second).abs().max().into_scalar::<f32>() > 1e-3);
        for (dropped, plain) in mean(dropped).iter().zip(plain) {
            assert!((dropped - plain).abs() < 0.02, "{dropped} {plain}");
        }
    }
}
