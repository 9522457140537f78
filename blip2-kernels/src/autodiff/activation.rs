//! An activation function that stands alone, and its gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::{Step, any_recorded, contiguous, kept::Kept, lifted, operand, record, slice, tensor};
use crate::kernel::{
    activation::{Activation, apply_to_all, multiply_all_by_derivative},
    buffers::Floats,
    isa::Isa,
};

/// The function of every element; `None` where nothing is recorded, or not on `flex`.
pub(crate) fn activation<const D: usize>(function: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    if !any_recorded([x.device()]) {
        return None;
    }
    let shape = x.dims();
    let output = record([operand(x)?], |[x]| {
        let mut output = Floats::any(slice(&x).len());
        output.copy_from_slice(slice(&x));
        apply_to_all(Isa::active(), function, &mut output);
        let step = Applied {
            function,
            x: Kept::new(x),
        };
        (tensor(output, shape), step)
    });
    Some(lifted(output))
}

#[derive(Debug, Clone)]
struct Applied {
    function: Activation,
    /// What it was applied to.
    x: Kept,
}

impl Step<1> for Applied {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = gradient.layout().shape().clone();
        let (gradient, x) = (contiguous(gradient), contiguous(self.x.opened()));
        let (gradient, x) = (slice(&gradient), slice(&x));
        let mut of_x = Floats::any(x.len());
        multiply_all_by_derivative(Isa::active(), self.function, gradient, x, &mut of_x);
        [Some(tensor(of_x, [x.len()]).reshape(shape))]
    }
}
