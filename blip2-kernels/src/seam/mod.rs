//! Who computes: for each operation of a layer, the first that serves its operands.
//!
//! A layer says *what* is computed; *who* computes it is chosen here and nowhere else.
//!
//! | who | serves |
//! |---|---|
//! | [`cpu`] | tensors on the plain `flex` backend, by this crate's kernels |
//! | [`autodiff`] | tensors on `flex` whose gradients are recorded: one operation each, with kernels for both passes |
//! | [`gpu`](crate::gpu) | tensors on what Burn reaches through CubeCL, by kernels compiled for the device |
//! | [`burn_ops`] | everything: Burn's own operations |
//!
//! A kernel of another device is a folder beside [`cpu`], and one more arm in the operations that it
//! serves. An arm that does not serve its operands answers `None` before it has computed anything.

pub(crate) mod attention;
pub(crate) mod burn_ops;
pub(crate) mod cache;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod joined;
pub(crate) mod stack;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Int, Tensor},
};

use attention::{Attended, DotProductAttention};

#[cfg(feature = "autodiff")]
use attention::Operands;

#[cfg(feature = "autodiff")]
use crate::autodiff;
#[cfg(feature = "gpu")]
use crate::gpu as device;
use crate::{
    kernel::{activation::Activation, product::epilogue::Epilogue},
    mask::{MASKED, causal_bias},
    matrix::{Affine, Matrix},
};

/// What follows a product of tensors.
pub(crate) type TensorEpilogue<const D: usize> = Epilogue<Tensor<1>, Tensor<D>>;

/// What follows the product of a layer without an adapter: the bias.
fn biased<const D: usize>(layer: &Affine<'_>) -> TensorEpilogue<D> {
    Epilogue {
        bias: layer.bias.clone(),
        ..Epilogue::default()
    }
}

/// Returns the result of the first arm that has one, of those whose feature is built; else of the last.
macro_rules! first_served {
    ($($feature:literal => $arm:expr,)* else $otherwise:expr $(,)?) => {{
        $(
            #[cfg(feature = $feature)]
            if let Some(result) = $arm {
                return result;
            }
        )*
        $otherwise
    }};
}

/// Whether matrices on `device` are held packed, for kernels.
pub fn packs(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return crate::kernel::flex::serves(device);
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// Whether matrices on `device` are held packed in its own memory, for its kernels.
pub(crate) fn packs_on_device(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return device::tensors::serves(device);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// `residual + activation(x · Wᵀ + bias)` on the last axis.
pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    matrix: &Matrix,
    epilogue: TensorEpilogue<D>,
) -> Tensor<D> {
    first_served! {
        "flex" => cpu::linear(&x, matrix, &epilogue),
        "gpu" => device::product::linear(&x, matrix, &epilogue),
        "autodiff" => autodiff::linear(&x, matrix, &epilogue),
        else burn_ops::linear(x, matrix, epilogue)
    }
}

/// The products of one input with several layers, each as [`linear`] with its bias makes it but for the order of
/// sums on a GPU.
pub(crate) fn linears<const N: usize, const D: usize>(
    x: Tensor<D>,
    layers: [Affine<'_>; N],
) -> [Tensor<D>; N] {
    first_served! {
        "flex" => cpu::linears(&x, &layers),
        "gpu" => device::product::linears(&x, &layers),
        else layers.map(|layer| linear(x.clone(), layer.matrix, biased(&layer)))
    }
}

/// `activation(gate(x)) · up(x)`.
pub(crate) fn gated<const D: usize>(
    x: Tensor<D>,
    layers: [Affine<'_>; 2],
    activation: Activation,
) -> Tensor<D> {
    first_served! {
        "flex" => cpu::gated(&x, &layers, activation),
        "gpu" => device::product::gated(&x, &layers, activation),
        else {
            let [gate, up] = layers;
            let activated = Epilogue {
                activation: Some(activation),
                ..biased(&gate)
            };
            linear(x.clone(), gate.matrix, activated) * linear(x, up.matrix, biased(&up))
        }
    }
}

/// As [`linear`] with a bias alone, summed in 64 bits where the device has them and the matrix is a
/// tensor. Where its gradient is wanted, that is the usual product's, and the numbers are those of exact sums.
pub(crate) fn linear_exact<const D: usize>(x: Tensor<D>, layer: Affine<'_>) -> Tensor<D> {
    let Matrix::Dense(weight) = layer.matrix else {
        return linear(x, layer.matrix, biased(&layer));
    };
    let weight = weight.val();
    if !is_tracked(&weight) {
        return match burn_ops::linear_exact(&x, weight, layer.bias.as_ref()) {
            Some(y) => y,
            None => linear(x, layer.matrix, biased(&layer)),
        };
    }
    // A parameter stays one when it is detached.
    let bias = layer.bias.as_ref();
    let bias = bias.map(|bias| bias.clone().detach().set_require_grad(false));
    let numbers = x.clone().detach().set_require_grad(false);
    let weight = weight.detach().set_require_grad(false);
    let exact = burn_ops::linear_exact(&numbers, weight, bias.as_ref());
    let usual = linear(x, layer.matrix, biased(&layer));
    match exact {
        Some(exact) => usual.clone() + (exact - usual.detach()),
        None => usual,
    }
}

/// `residual + second(activation(first(x)))` on the last axis.
pub(crate) fn mlp<const D: usize>(
    x: Tensor<D>,
    [first, second]: [Affine<'_>; 2],
    activation: Activation,
    residual: Tensor<D>,
) -> Tensor<D> {
    first_served! {
        "flex" => cpu::mlp(&x, [&first, &second], activation, &residual),
        else {
            let inside = Epilogue {
                bias: first.bias,
                activation: Some(activation),
                residual: None,
            };
            let behind = Epilogue {
                bias: second.bias,
                activation: None,
                residual: Some(residual),
            };
            linear(linear(x, first.matrix, inside), second.matrix, behind)
        }
    }
}

/// Vectors of a table, `[batch, seq, inputs]`, by their indices `[batch, seq]`.
pub(crate) fn lookup(table: &Matrix, indices: Tensor<2, Int>) -> Tensor<3> {
    #[cfg(feature = "gpu")]
    if let Matrix::OnDevice(table) = table
        && let Some(vectors) = device::lookup::lookup(table, &indices)
    {
        return vectors;
    }
    match table {
        Matrix::Dense(table) => burn_ops::lookup(table.val(), indices),
        Matrix::Packed(table) => burn_ops::lookup_packed(table, indices),
        Matrix::OnDevice(_) => burn_ops::lookup(widened(table, &indices.device()), indices),
    }
}

/// The weights as a tensor `[outputs, inputs]` of `f32` for one product, see [`Matrix::to_tensor`]: in the
/// memory where they lie, if that is the device's.
fn widened(matrix: &Matrix, device: &Device) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if let Matrix::OnDevice(matrix) = matrix
        && let Some(widened) = crate::gpu::product::widened(matrix)
    {
        return widened.to_device(device);
    }
    matrix.to_tensor(device)
}

/// Looks for the likeliest token of each row that is none of `forbidden`, on a GPU: four numbers a row,
/// `[rows, 4]`, of which [`Likeliest::of`](crate::Likeliest::of) makes tokens. `None` for logits that are elsewhere, and for
/// more forbidden tokens than four.
///
/// ```
/// use blip2_kernels::likeliest;
/// use burn::tensor::{Device, Tensor};
///
/// let logits = Tensor::<3>::zeros([2, 1, 100], &Device::flex());
/// assert!(likeliest(&logits, &[]).is_none()); // they are read as fast as searched
/// ```
///
/// # Shapes
///
/// - logits: `[batch, seq, vocab]`, each position a row
pub fn likeliest(logits: &Tensor<3>, forbidden: &[u32]) -> Option<Tensor<2>> {
    #[cfg(feature = "gpu")]
    return device::select::find(logits, forbidden);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = (logits, forbidden);
        None
    }
}

/// Looks for the `k` largest logits of each row, on a GPU: `3 + 2k` numbers a row, `[rows, 3 + 2k]`, of which
/// [`TopLogits::of`](crate::TopLogits::of) makes tokens. `None` for logits that are elsewhere, and for no or
/// more than [`MOST_TOP`](crate::MOST_TOP).
///
/// ```
/// use blip2_kernels::top_logits;
/// use burn::tensor::{Device, Tensor};
///
/// let logits = Tensor::<3>::zeros([2, 1, 100], &Device::flex());
/// assert!(top_logits(&logits, 10).is_none()); // they are read as fast as searched
/// ```
///
/// # Shapes
///
/// - logits: `[batch, seq, vocab]`, each position a row
pub fn top_logits(logits: &Tensor<3>, k: usize) -> Option<Tensor<2>> {
    #[cfg(feature = "gpu")]
    return device::top::find(logits, k);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = (logits, k);
        None
    }
}

/// An activation function of every element.
pub(crate) fn activation<const D: usize>(function: Activation, x: Tensor<D>) -> Tensor<D> {
    first_served! {
        "flex" => cpu::activation(function, &x),
        "autodiff" => autodiff::activation(function, &x),
        else burn_ops::activation(function, x)
    }
}

/// `(x − mean) / sqrt(var + eps) · weight + bias` on the last axis.
pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    first_served! {
        "flex" => cpu::layer_norm(&x, &weight, &bias, eps),
        "gpu" => device::norm::layer_norm(&x, &weight, &bias, eps),
        "autodiff" => autodiff::layer_norm(&x, &weight, &bias, eps),
        else burn::tensor::module::layer_norm(x, weight, Some(bias), eps)
    }
}

/// `x / sqrt(mean(x²) + eps) · weight` on the last axis.
pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    first_served! {
        "flex" => cpu::rms_norm(&x, &weight, eps),
        "gpu" => device::norm::rms_norm(&x, &weight, eps),
        "autodiff" => autodiff::rms_norm(&x, &weight, eps),
        else burn_ops::rms_norm(x, weight, eps)
    }
}

/// Runs a layer of a stack. While [`Recompute`](crate::recompute::Recompute) is on, the layer's inside
/// is not kept but computed again in the backward pass.
///
/// `run` must do the same each time, whatever the layer's parameters are held in; what it uses
/// besides may not want gradients.
pub fn checkpointed<L: Module + 'static>(
    layer: &L,
    input: Tensor<3>,
    run: impl Fn(&L, Tensor<3>) -> Tensor<3> + 'static,
) -> Tensor<3> {
    #[cfg(feature = "autodiff")]
    if autodiff::recompute::serves(layer, &input) {
        return autodiff::recompute::checkpointed(layer, input, run);
    }
    run(layer, input)
}

/// Whether a layer of this parameter runs in a step of training: gradients are recorded, or a layer's
/// inside is computed without them, to be computed again in the backward pass.
pub(crate) fn trains<const D: usize>(parameter: &Tensor<D>) -> bool {
    #[cfg(feature = "autodiff")]
    if autodiff::recompute::is_on() {
        return true;
    }
    parameter.is_autodiff()
}

/// Whether any parameter of these layers [is trained](trains). Their input does not tell: pictures want no
/// gradients. Nor do the devices of their parameters, among which those with gradients are not told apart.
fn any_trains<M: Module>(layers: &M) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0 |= trains(&parameter.val());
        }
    }
    let mut any = Any(false);
    layers.visit(&mut any);
    any.0
}

/// Random numbers for a tensor's rows, as they are drawn for the whole batch that these are a part of.
pub(crate) fn drawn(
    rows: usize,
    width: usize,
    draw: impl FnOnce([usize; 2]) -> Tensor<2>,
) -> Tensor<2> {
    #[cfg(feature = "autodiff")]
    return autodiff::share::drawn(rows, width, draw);
    #[cfg(not(feature = "autodiff"))]
    draw([rows, width])
}

/// Whether the tensor's gradient will be wanted: what a layer that is computed again
/// [uses besides](checkpointed) its input may not want one.
///
/// ```
/// use blip2_kernels::recompute;
/// use burn::tensor::{Device, Tensor};
///
/// let picture = Tensor::<3>::zeros([1, 17, 32], &Device::flex());
/// assert!(!recompute::is_tracked(&picture));
/// ```
pub fn is_tracked<const D: usize>(tensor: &Tensor<D>) -> bool {
    #[cfg(feature = "autodiff")]
    return autodiff::is_tracked(tensor);
    // Burn records no gradients that this crate was not built for.
    #[cfg(not(feature = "autodiff"))]
    {
        let _ = tensor;
        false
    }
}

impl DotProductAttention<'_> {
    /// Computes it.
    pub fn forward(self) -> Attended {
        if !self.behind.is_empty() {
            return joined::attention(self);
        }
        #[cfg(feature = "flex")]
        if !self.keeps_map
            && let Some(output) = cpu::attention(&self)
        {
            return Attended { output, map: None };
        }
        // All others are told what is hidden by a bias.
        let described = self.with_future_in_bias();
        if !described.keeps_map
            && let Some(output) = described.fused()
        {
            return Attended { output, map: None };
        }
        burn_ops::attention(described)
    }

    fn with_future_in_bias(self) -> Self {
        let (operand, keys) = (self.operands.queries(), self.operands.keys());
        let [_, _, queries, _] = operand.dims();
        if !self.causal || queries < 2 {
            return self.with_causal(false);
        }
        let future = causal_bias(queries, keys, &operand.device());
        let bias = match self.bias.clone() {
            // Hidden twice is no more than hidden once.
            Some(bias) => {
                let seen = bias.dims()[3].min(keys);
                (future + bias.narrow(3, 0, seen)).clamp_min(MASKED)
            }
            None => future,
        };
        self.with_bias(bias).with_causal(false)
    }

    /// The result by another kernel that holds no map.
    fn fused(&self) -> Option<Tensor<4>> {
        first_served! {
            "gpu" => gpu::attention(self).map(Some),
            "autodiff" => self.recorded().map(Some),
            else None
        }
    }

    /// The result by an operation that records its gradient.
    #[cfg(feature = "autodiff")]
    fn recorded(&self) -> Option<Tensor<4>> {
        let (scale, bias) = (self.scale, self.bias.as_ref());
        match &self.operands {
            Operands::Apart { q, k, v } => autodiff::attention(q, k, v, None, scale, bias),
            Operands::Sources { q, k, v, sources } => {
                autodiff::attention(q, k, v, Some(sources), scale, bias)
            }
            Operands::Joint(qkv) if bias.is_none() => autodiff::joint_attention(qkv, scale),
            // Only where there is something to record is the cache worth copying.
            Operands::Shared { q, cache } if q.is_autodiff() => {
                let (k, v) = cache.tensors();
                let (k, v) = (k.to_device(&q.device()), v.to_device(&q.device()));
                autodiff::attention(q, &k, &v, None, scale, bias)
            }
            #[cfg(feature = "gpu")]
            Operands::OnDevice { .. } => None,
            Operands::Joint(_) | Operands::Shared { .. } | Operands::Nothing { .. } => None,
        }
    }
}
