//! Recorded operations against Burn's own, values and gradients.

use super::{kept::ActivationFormat, *};
use crate::{
    Activation, LayerNorm, Linear, Matrix, PackedFormat, PackedMatrix, RmsNorm,
    kernel::product::epilogue::Epilogue, random_values,
};
use burn::{
    module::Param,
    tensor::{Device, TensorData, Tolerance, activation as functions, module},
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

#[test]
fn rms_norm_has_the_gradient_of_its_formula() {
    for (rows, width) in [(1, 1), (3, 7), (130, 96), (5, 257)] {
        let [x, other_x] = twice(&random([2, rows, width], 1));
        let [weight, other_weight] = twice(&random([width], 2));
        let along = random([2, rows, width], 4);
        let norm = RmsNorm::new(Param::from_tensor(weight.clone()), 1e-5);
        let y = norm.forward(x.clone());
        let mean_square = other_x.clone().square().mean_dim(2);
        let other = other_x.clone() / (mean_square + 1e-5).sqrt();
        let other = other * other_weight.clone().unsqueeze();
        near(y.clone().inner(), other.clone().inner(), "norm");
        let found = (y * Tensor::from_inner(along.clone())).sum().backward();
        let expected = (other * Tensor::from_inner(along)).sum().backward();
        let inputs = [x.grad(&found), other_x.grad(&expected)];
        let [own, other] = inputs.map(Option::unwrap);
        near(own, other, "input");
        let weights = [weight.grad(&found), other_weight.grad(&expected)];
        let [own, other] = weights.map(Option::unwrap);
        near(own, other, "weight");
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
                Some(activation) => by_burn(activation, product),
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

/// The function by Burn's operations.
fn by_burn<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    match activation {
        // The gradient that Burn gives its own GELU is that of the approximation by tanh.
        Activation::Gelu => {
            let errors = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf();
            x * (errors + 1.0) * 0.5
        }
        Activation::GeluTanh => functions::gelu_approximate(x),
        Activation::QuickGelu => x.clone() * functions::sigmoid(x * 1.702),
        Activation::Relu => functions::relu(x),
        Activation::Silu => functions::silu(x),
    }
}

#[test]
fn activations_have_burns_gradients() {
    for activation in ACTIVATIONS.into_iter().flatten() {
        for [rows, width] in [[1, 1], [3, 33], [130, 257]] {
            // Beyond where they are flat.
            let [x, other_x] = twice(&(random([rows, width], 1) * 8.0));
            let along = random([rows, width], 2);
            // What it is applied to, and the gradient, lie in another order.
            let y = activation.forward(x.clone().transpose()).transpose();
            let other = by_burn(activation, other_x.clone());
            near(y.clone().inner(), other.clone().inner(), "function");
            let found = (y * Tensor::from_inner(along.clone())).sum().backward();
            let expected = (other * Tensor::from_inner(along)).sum().backward();
            let [own, other] = [x.grad(&found), other_x.grad(&expected)].map(Option::unwrap);
            near(own, other, "input");
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
        let other = functions::relu(other_x.clone().matmul(Tensor::from_inner(held).transpose()));
        let found = (y * Tensor::from_inner(along.clone())).sum().backward();
        let expected = (other * Tensor::from_inner(along.clone())).sum().backward();
        let expected = other_x.grad(&expected).unwrap();
        near(x.grad(&found).unwrap(), expected.clone(), "input");
        // In bf16 both factors are rounded, unless the matrix has all digits.
        let x = x.detach().require_grad();
        let forward = || layer.forward_activated(x.clone(), Activation::Relu);
        let y = ActivationFormat::Bf16.during(forward);
        let found = (y * Tensor::from_inner(along)).sum().backward();
        let off = x.grad(&found).unwrap() - expected.clone();
        let norm = |tensor: Tensor<2>| tensor.square().sum().into_scalar::<f32>().sqrt();
        let part = norm(off) / norm(expected);
        match format {
            PackedFormat::F32 => assert!(part < 1e-6, "{part}"),
            _ => assert!(1e-6 < part && part < 1.0 / 256.0, "{format:?}: {part}"),
        }
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

/// What is kept for the backward pass in half the memory gives the same results, and gradients that differ by
/// the rounding of what they are computed from.
#[test]
fn activations_kept_in_bf16_round_gradients_alone() {
    let (rows, width, heads) = (40, 64, 4);
    let [norm, bias] = [4, 5].map(|seed| random([width], seed));
    // As spread as trained matrices are, so that no query attends to one key alone.
    let [qkv, fc] =
        [(3 * width, 6), (width, 7)].map(|(out, seed)| random([out, width], seed) * 0.125);
    let input = random([2, rows, width], 1);
    let along = random([2, rows, width], 8);
    let run = |format: ActivationFormat| {
        let lift = |tensor: &Tensor<1>| tensor.clone().autodiff().require_grad();
        let (norm, bias) = (lift(&norm), lift(&bias));
        let [qkv, fc] = [&qkv, &fc].map(|weight| weight.clone().autodiff().require_grad());
        let x = input.clone().autodiff().require_grad();
        let loss = format.during(|| {
            let params = [&norm, &bias].map(|param| Param::from_tensor(param.clone()));
            let [weight, offset] = params;
            let normed = LayerNorm::new(weight, offset, 1e-5).forward(x.clone());
            let plain = |activation| Epilogue {
                bias: None,
                activation,
                residual: None,
            };
            let qkv = linear(&normed, &dense(&qkv), &plain(None)).unwrap();
            let heads = qkv
                .reshape([2, rows, 3 * heads, width / heads])
                .swap_dims(1, 2);
            let seen = joint_attention(&heads, 0.25).unwrap();
            let seen = seen.swap_dims(1, 2).reshape([2, rows, width]);
            let y = linear(&seen, &dense(&fc), &plain(Some(Activation::Gelu))).unwrap();
            (y * Tensor::from_inner(along.clone())).sum()
        });
        let gradients = loss.backward();
        let of_matrices = [&qkv, &fc].map(|weight| weight.grad(&gradients).unwrap().into_data());
        let of_vectors = [&norm, &bias].map(|param| param.grad(&gradients).unwrap().into_data());
        let of_x = x.grad(&gradients).unwrap().into_data();
        let found = of_matrices.into_iter().chain(of_vectors).chain([of_x]);
        let found = found.map(|data| data.try_into_vec::<f32>().unwrap());
        (loss.into_scalar::<f32>(), found.collect::<Vec<_>>())
    };
    let (loss, exact) = run(ActivationFormat::F32);
    let (rounded_loss, rounded) = run(ActivationFormat::Bf16);
    assert_eq!(loss, rounded_loss);
    assert_ne!(exact, rounded, "nothing was rounded");
    for (exact, rounded) in exact.iter().zip(&rounded) {
        let norm =
            |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let error = norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b));
        let size = norm(&mut exact.iter().copied());
        // Half of a unit of 8 bits, a few times over.
        assert!(error <= size / 128.0, "{error} of {size}");
    }
}

/// Operations that read the same keep it once, also where it lies in another order; and what another tensor holds
/// later at the same place is not taken for it.
#[test]
fn what_several_operations_read_is_kept_once() {
    use super::kept::Kept;

    let values = |seed| random_values(64 * 96, seed);
    let narrow = |kept: &Kept| match kept {
        Kept::Narrow { values, .. } => values.clone(),
        Kept::Whole(_) => panic!("it was kept whole"),
    };
    ActivationFormat::Bf16.during(|| {
        let first = tensor(values(1), [64, 96]);
        let [one, two] = [
            Kept::new(first.clone()),
            Kept::new(first.reshape([6144].into())),
        ];
        assert!(std::sync::Arc::ptr_eq(&narrow(&one), &narrow(&two)));
        let turned = Kept::new(first.permute(&[1, 0])).opened();
        let expected = first.permute(&[1, 0]).to_contiguous();
        for (found, expected) in slice(&turned.to_contiguous()).iter().zip(slice(&expected)) {
            assert!((found - expected).abs() <= expected.abs() / 256.0);
        }
        drop(first);
        for seed in 2..20 {
            let later = tensor(values(seed), [64, 96]);
            let kept = Kept::new(later.clone());
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= b.abs() / 256.0;
            assert!(slice(&kept.opened()).iter().zip(slice(&later)).all(near));
        }
        // A row of many takes no more than itself.
        let many = tensor(values(1).repeat(3), [3, 6144]);
        assert_eq!(narrow(&Kept::new(many.narrow(0, 1, 1))).len(), 6144);
    });
    assert!(matches!(
        Kept::new(tensor(values(1), [6144])),
        Kept::Whole(_)
    ));
}

/// The input of a matrix that stays as it is serves no gradient, so that it is not kept.
#[test]
fn the_input_of_a_fixed_matrix_is_not_kept() {
    let matrix = dense(&random([48, 64], 2));
    let x = random([1, 128, 64], 1).autodiff().require_grad();
    let again = x.clone() * 1.0;
    let held = again
        .clone()
        .try_into_primitive::<Recorder>()
        .unwrap()
        .into_primitive();
    let epilogue = Epilogue {
        bias: None,
        activation: None,
        residual: None,
    };
    let y = linear(&again, &matrix, &epilogue).unwrap();
    drop(again);
    assert!(held.is_unique(), "someone keeps it");
    drop(held);
    assert!(x.grad(&y.sum().backward()).is_some());
}
