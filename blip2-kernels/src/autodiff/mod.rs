//! Layers that record their gradients as one operation each, on `flex`.
//!
//! Where gradients are recorded, a layer's body out of Burn's operations would leave a node of the
//! graph, and a tensor, for every multiplication and sum; most of a training step would be spent on
//! moving those. Each operation here keeps what its gradient needs, and computes it in a pass or two.
//! A step of a small BLIP-2's first stage takes about half of the time with them.
//!
//! They decline tensors on other devices, and recording with recomputation
//! (`Device::gradient_checkpointing`), whose callers then compute with Burn's own operations.

mod activation;
mod attention;
pub(crate) mod kept;
mod linear;
mod norm;
pub(crate) mod optimizer;
pub(crate) mod pool;
pub(crate) mod recompute;
pub(crate) mod share;

use std::{fmt::Debug, marker::PhantomData};

use burn::tensor::{DType, Tensor};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn_backend::{AutodiffBackend, BackendTypes};
use burn_flex::{Flex, FlexTensor};

use crate::kernel::buffers::Floats;

pub(crate) use activation::activation;
pub(crate) use attention::{attention, joint_attention};
pub(crate) use linear::linear;
pub(crate) use norm::{layer_norm, rms_norm};

type Recorder = Autodiff<Flex, NoCheckpointing>;

/// A tensor that may be recorded.
type Operand = <Recorder as BackendTypes>::FloatTensorPrimitive;

/// The backward pass of an operation, and what it keeps for that.
trait Step<const N: usize>: Clone + Debug + Send + 'static {
    /// The gradients of the operands that want one for the result's, which may lie in any way.
    fn gradients(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

struct Recorded<S>(PhantomData<fn() -> S>);

impl<S> Debug for Recorded<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<S>())
    }
}

impl<S: Step<N>, const N: usize> Backward<Flex, N> for Recorded<S> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.gradients(gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// Computes with the operands' values, contiguous, and records the backward pass.
fn record<S: Step<N>, const N: usize>(
    operands: [Operand; N],
    forward: impl FnOnce([FlexTensor; N]) -> (FlexTensor, S),
) -> Operand {
    record_as_they_lie(operands, |values| forward(values.map(contiguous)))
}

/// Computes with the operands' values, and records the backward pass.
fn record_as_they_lie<S: Step<N>, const N: usize>(
    operands: [Operand; N],
    forward: impl FnOnce([FlexTensor; N]) -> (FlexTensor, S),
) -> Operand {
    let guards = operands.each_ref().map(Operand::node);
    let values = operands.map(Operand::into_primitive);
    let (output, step) = forward(values);
    let prepared = Recorded::<S>(PhantomData).prepare::<NoCheckpointing>(guards);
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(step, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// A tensor of `f32` on `flex`, recorded or not.
fn operand<const D: usize>(tensor: &Tensor<D>) -> Option<Operand> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    let tensor = tensor.clone();
    if tensor.device().is_autodiff() {
        tensor.try_into_primitive::<Recorder>().ok()
    } else {
        let plain = tensor.try_into_primitive::<Flex>().ok()?;
        Some(Recorder::from_inner(plain))
    }
}

/// Whether the tensor's gradient will be wanted.
pub(crate) fn is_tracked<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().is_autodiff() && tensor.is_tracked()
}

/// Whether any of these is recorded: else there is nothing to record.
fn any_recorded(devices: impl IntoIterator<Item = burn::tensor::Device>) -> bool {
    devices.into_iter().any(|device| device.is_autodiff())
}

/// An operand in the place of one that is not there.
fn absent() -> Operand {
    Recorder::from_inner(tensor(Vec::new(), [0]))
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    match tensor.as_slice::<f32>() {
        Some(_) => tensor,
        None => tensor.to_contiguous(),
    }
}

/// A tensor whose last axis is contiguous.
fn rows_contiguous(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    match layout.inner_stride() == 1 && layout.has_positive_strides() {
        true => tensor,
        false => tensor.to_contiguous(),
    }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

fn tensor<const D: usize>(values: impl Into<Floats>, shape: [usize; D]) -> FlexTensor {
    let layout = burn_flex::Layout::contiguous(burn::tensor::Shape::from(shape));
    FlexTensor::new(values.into().into_bytes(), layout, DType::F32)
}

fn lifted<const D: usize>(operand: Operand) -> Tensor<D> {
    Tensor::from_primitive::<Recorder>(operand)
}

#[cfg(test)]
mod tests;
