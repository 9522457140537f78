//! An activation function that stands alone, and its gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::{
    Step, any_recorded, contiguous,
    kept::{Kept, KeptFloats},
    lifted, operand, record, slice, tensor,
};
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
        let x = match function {
            Activation::Relu => Before::Relu(KeptFloats::signs(slice(&x))),
            _ => Before::Any(Kept::new(x)),
        };
        let step = Applied { function, x };
        (tensor(output, shape), step)
    });
    Some(lifted(output))
}

/// What it was applied to, as far as its derivative asks.
#[derive(Debug, Clone)]
enum Before {
    Relu(KeptFloats),
    Any(Kept),
}

#[derive(Debug, Clone)]
struct Applied {
    function: Activation,
    x: Before,
}

impl Step<1> for Applied {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = gradient.layout().shape().clone();
        let gradient = contiguous(gradient);
        let gradient = slice(&gradient);
        let mut of_x = Floats::any(gradient.len());
        let mut multiply = |x: &[f32]| {
            multiply_all_by_derivative(Isa::active(), self.function, gradient, x, &mut of_x);
        };
        match &self.x {
            Before::Relu(signs) => multiply(&signs.opened()),
            Before::Any(x) => multiply(slice(&contiguous(x.opened()))),
        }
        let count = of_x.len();
        [Some(tensor(of_x, [count]).reshape(shape))]
    }
}
