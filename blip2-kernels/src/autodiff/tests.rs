//! Recorded operations against Burn's own, values and gradients.

use super::*;
use crate::{
    Activation, LayerNorm, Linear, Matrix, PackedFormat, PackedMatrix,
    kernel::product::epilogue::Epilogue, random_values,
};
use burn::{
    module::Param,
    tensor::{Device, TensorData, Tolerance, module},
};

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let values = random_values(shape.iter().product(), seed);
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// A matrix that is held as a tensor.
fn dense(weight: &Tensor<2>) -> Matrix {
    Matrix::Dense(Param::from_tensor(weight.clone()))
}

/// The same numbers twice, each on its own graph.
fn twice<const D: usize>(tensor: &Tensor<D>) -> [Tensor<D>; 2] {
    [(); 2].map(|()| tensor.clone().autodiff().require_grad())
}

fn near<const D: usize>(own: Tensor<D>, other: Tensor<D>, what: &str) {
    let tolerance = Tolerance::rel_abs(2e-5, 2e-5);
    let (own, other) = (own.into_data(), other.into_data());
    assert_eq!(own.shape(), other.shape(), "{what}");
    own.assert_approx_eq::<f32>(&other, tolerance);
}

#[test]
fn layer_norm_has_burns_gradient() {
    for (rows, width) in [(1, 1), (3, 7), (130, 96), (5, 257)] {
        let [x, other_x] = twice(&random([2, rows, width], 1));
        let [weight, other_weight] = twice(&random([width], 2));
        let [bias, other_bias] = twice(&random([width], 3));
        let along = random([2, rows, width], 4);
        let norm = LayerNorm::new(
            Param::from_tensor(weight.clone()),
            Param::from_tensor(bias.clone()),
            1e-5,
        );
        let y = norm.forward(x.clone());
        let other = module::layer_norm(
            other_x.clone(),
            other_weight.clone(),
            Some(other_bias.clone()),
            1e-5,
        );
        near(y.clone().inner(), other.clone().inner(), "norm");
        let found = (y * Tensor::from_inner(along.clone())).sum().backward();
        let expected = (other * Tensor::from_inner(along)).sum().backward();
        near(
            x.grad(&found).unwrap(),
            other_x.grad(&expected).unwrap(),
            "input",
        );
        near(
            weight.grad(&found).unwrap(),
            other_weight.grad(&expected).unwrap(),
            "weight",
        );
        near(
            bias.grad(&found).unwrap(),
            other_bias.grad(&expected).unwrap(),
            "bias",
        );
    }
}

const ACTIVATIONS: [Option<Activation>; 6] = [
    None,
    Some(Activation::Gelu),
    Some(Activation::GeluTanh),
    Some(Activation::QuickGelu),
    Some(Activation::Relu),
    Some(Activation::Silu),
];

#[test]
fn a_linear_layer_has_burns_gradient() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 33, 31), (130, 24, 96), (7, 257, 5)] {
        for activation in ACTIVATIONS {
            let [x, other_x] = twice(&(random([2, rows, inputs], 1) * 2.0));
            let [weight, other_weight] = twice(&random([outputs, inputs], 2));
            let [bias, other_bias] = twice(&random([outputs], 3));
            let [residual, other_residual] = twice(&random([2, rows, outputs], 4));
            let along = random([2, rows, outputs], 5);
            let epilogue = Epilogue {
                bias: Some(bias.clone()),
                activation,
                residual: Some(residual.clone()),
            };
            let y = linear(&x, &dense(&weight), &epilogue).unwrap();
            let product = other_x
                .clone()
                .reshape([2 * rows, inputs])
                .matmul(other_weight.clone().transpose())
                + other_bias.clone().unsqueeze();
            let product = product.reshape([2, rows, outputs]);
            let other = match activation {
                Some(activation) => activation.forward(product),
                None => product,
            } + other_residual.clone();
            near(y.clone().inner(), other.clone().inner(), "layer");
            let found = (y * Tensor::from_inner(along.clone())).sum().backward();
            let expected = (other * Tensor::from_inner(along)).sum().backward();
            near(
                x.grad(&found).unwrap(),
                other_x.grad(&expected).unwrap(),
                "input",
            );
            near(
                weight.grad(&found).unwrap(),
                other_weight.grad(&expected).unwrap(),
                "weight",
            );
            near(
                bias.grad(&found).unwrap(),
                other_bias.grad(&expected).unwrap(),
                "bias",
            );
            let residuals = [residual.grad(&found), other_residual.grad(&expected)];
            let [own, other] = residuals.map(Option::unwrap);
            near(own, other, "residual");
        }
    }
}

/// A packed matrix stays as it is, and passes the gradient on.
#[test]
fn gradients_pass_through_packed_matrices() {
    let values = random_values(31 * 33, 2);
    for format in [
        PackedFormat::F32,
        PackedFormat::Bf16,
        PackedFormat::Int8,
        PackedFormat::Int4,
    ] {
        let packed = PackedMatrix::pack(format, 31, 33, |output, row| {
            row.copy_from_slice(&values[output * 33..(output + 1) * 33]);
        });
        let matrix = Matrix::Packed(packed);
        let held = matrix.to_tensor(&Device::flex());
        let layer = Linear::new(matrix, None);
        let [x, other_x] = twice(&random([3, 33], 1));
        let along = random([3, 31], 5);
        let y = layer.forward_activated(x.clone(), Activation::Relu);
        let other =
            Activation::Relu.forward(other_x.clone().matmul(Tensor::from_inner(held).transpose()));
        let found = (y * Tensor::from_inner(along.clone())).sum().backward();
        let expected = (other * Tensor::from_inner(along)).sum().backward();
        near(
            x.grad(&found).unwrap(),
            other_x.grad(&expected).unwrap(),
            "input",
        );
    }
}

#[test]
fn attention_has_burns_gradient() {
    let shapes = [
        ([1, 1, 1, 1], 1, 1),
        ([2, 3, 5, 8], 7, 8),
        ([1, 2, 65, 24], 65, 24),
        ([2, 2, 3, 33], 18, 5),
    ];
    for ([batch, heads, queries, width], keys, out) in shapes {
        for bias in [
            None,
            Some([1, 1, queries, keys]),
            Some([batch, 1, 1, keys]),
            Some([1, heads, queries, keys]),
        ] {
            let bias = bias.map(|shape| random(shape, 9) * 3.0);
            let [q, other_q] = twice(&random([batch, heads, queries, width], 1));
            let [k, other_k] = twice(&random([batch, heads, keys, width], 2));
            let [v, other_v] = twice(&random([batch, heads, keys, out], 3));
            let along = random([batch, heads, queries, out], 5);
            let y = attention(&q, &k, &v, None, 0.7, bias.as_ref()).unwrap();
            let scores = other_q.clone().matmul(other_k.clone().swap_dims(2, 3)) * 0.7;
            let scores = match bias {
                Some(bias) => scores + Tensor::from_inner(bias),
                None => scores,
            };
            let other = burn::tensor::activation::softmax(scores, 3).matmul(other_v.clone());
            near(y.clone().inner(), other.clone().inner(), "attention");
            let found = (y * Tensor::from_inner(along.clone())).sum().backward();
            let expected = (other * Tensor::from_inner(along)).sum().backward();
            near(
                q.grad(&found).unwrap(),
                other_q.grad(&expected).unwrap(),
                "queries",
            );
            near(
                k.grad(&found).unwrap(),
                other_k.grad(&expected).unwrap(),
                "keys",
            );
            near(
                v.grad(&found).unwrap(),
                other_v.grad(&expected).unwrap(),
                "values",
            );
        }
    }
}

/// Keys that several rows attend to have the sum of their gradients; those that none does have none.
#[test]
fn gradients_of_shared_keys_are_summed() {
    let sources = [2, 0, 2];
    let [q, other_q] = twice(&random([3, 2, 5, 8], 1));
    let [k, other_k] = twice(&random([3, 2, 7, 8], 2));
    let [v, other_v] = twice(&random([3, 2, 7, 4], 3));
    let along = random([3, 2, 5, 4], 5);
    let first = |x: &Tensor<4>| x.clone().narrow(0, 0, 1);
    let alone = attention(&q, &first(&k), &first(&v), None, 0.7, None).unwrap();
    let named = attention(&q, &k, &v, Some(&[0; 3]), 0.7, None).unwrap();
    near(
        alone.inner(),
        named.inner(),
        "keys of one row are all rows'",
    );
    let y = attention(&q, &k, &v, Some(&sources), 0.7, None).unwrap();
    let all = |x: &Tensor<4>| {
        let rows = sources.map(|source| x.clone().narrow(0, source, 1));
        Tensor::cat(rows.to_vec(), 0)
    };
    let (all_k, all_v) = (all(&other_k), all(&other_v));
    let expected = attention(&other_q, &all_k, &all_v, None, 0.7, None).unwrap();
    near(y.clone().inner(), expected.clone().inner(), "attention");
    let found = (y * Tensor::from_inner(along.clone())).sum().backward();
    let expected = (expected * Tensor::from_inner(along)).sum().backward();
    for (own, other, what) in [
        (q, other_q, "queries"),
        (k, other_k, "keys"),
        (v, other_v, "values"),
    ] {
        let other = other.grad(&expected).unwrap();
        near(own.grad(&found).unwrap(), other, what);
    }
}

#[test]
fn joint_attention_is_attention_of_its_parts() {
    for ([batch, heads, seq, width], scale) in [([1, 1, 1, 1], 1.0), ([2, 3, 13, 24], 0.3)] {
        let [own, other] = twice(&random([batch, 3 * heads, seq, width], 1));
        let along = random([batch, heads, seq, width], 5);
        let y = joint_attention(&own, scale).unwrap();
        let [q, k, v] = [0, 1, 2].map(|part| other.clone().narrow(1, part * heads, heads));
        let expected = attention(&q, &k, &v, None, scale, None).unwrap();
        near(y.clone().inner(), expected.clone().inner(), "attention");
        let found = (y * Tensor::from_inner(along.clone())).sum().backward();
        let expected = (expected * Tensor::from_inner(along)).sum().backward();
        near(
            own.grad(&found).unwrap(),
            other.grad(&expected).unwrap(),
            "all",
        );
    }
}

/// What wants no gradient gets none, and nothing is recorded where nothing wants one.
#[test]
fn plain_tensors_are_declined() {
    let x = random([3, 4], 1);
    let weight = random([2, 4], 2);
    assert!(linear(&x, &dense(&weight), &Epilogue::default()).is_none());
    let trained = weight.autodiff().require_grad();
    let y = linear(&x, &dense(&trained), &Epilogue::default()).unwrap();
    let gradients = y.sum().backward();
    assert!(trained.grad(&gradients).is_some());
}
