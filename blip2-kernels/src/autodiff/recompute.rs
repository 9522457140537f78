//! Gradient checkpointing: layers that are computed again in the backward pass, instead of being kept.

use std::cell::RefCell;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor},
};

use super::{
    is_tracked,
    share::{self, Share},
};

thread_local! {
    static TAPE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// The layers whose insides were not kept so far.
struct Tape {
    /// What random numbers follow from.
    seed: u64,
    segments: Vec<Segment>,
}

impl Tape {
    /// What the next layer's random numbers follow from.
    fn next_seed(&self) -> u64 {
        let count = self.segments.len() as u64 + 1;
        self.seed.rotate_left(17) ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A layer whose inside is computed again.
struct Segment {
    input: Tensor<3>,
    /// Its result, as a new beginning.
    output: Tensor<3>,
    again: Box<dyn Fn(Tensor<3>) -> Tensor<3>>,
    /// What random numbers follow from in it.
    seed: u64,
    /// Whose they are.
    share: Option<Share>,
}

/// Gradient checkpointing (Chen et al., 2016): the layers whose insides were not kept while something
/// ran, to be computed again in the backward pass.
///
/// Of a stack only the inputs of its layers are kept, for a third more arithmetic.
///
/// ```
/// use blip2_kernels::recompute::{self, Recompute};
/// use blip2_kernels::{Bias, Linear, RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex().autodiff();
/// let source = RandomWeights::new(0, 0.02);
/// let weights = Weights::new(&source, &device);
/// let layers = ["0", "1"].map(|name| weights.linear(name, 8, 8, Bias::With));
///
/// let x = Tensor::<3>::ones([1, 4, 8], &device).require_grad();
/// let (loss, kept) = Recompute::during(&device, 0, || {
///     let run = |x, fc| recompute::layer(fc, x, |fc: &Linear, x| fc.forward(x));
///     layers.iter().fold(x.clone(), run).sum()
/// });
/// let parts = kept.backward(loss); // a gradient is their sum
/// assert!(parts.iter().any(|part| x.grad(part).is_some()));
/// ```
pub struct Recompute {
    segments: Vec<Segment>,
}

impl std::fmt::Debug for Recompute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recompute({} layers)", self.segments.len())
    }
}

impl Recompute {
    /// Runs something without keeping the insides of [layers](crate::recompute::layer) on this
    /// thread. Random numbers of `device` follow from `seed`, so that dropout drops the same again.
    pub fn during<R>(device: &Device, seed: u64, run: impl FnOnce() -> R) -> (R, Self) {
        device.seed(seed);
        let segments = Vec::new();
        TAPE.with_borrow_mut(|tape| *tape = Some(Tape { seed, segments }));
        // Off again, whatever happens.
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                TAPE.with_borrow_mut(|tape| *tape = None);
            }
        }
        let off = Off;
        let result = run();
        let tape = TAPE.with_borrow_mut(Option::take);
        drop(off);
        let segments = tape.map_or_else(Vec::new, |tape| tape.segments);
        (result, Self { segments })
    }

    /// The gradients of a loss that was computed meanwhile, in several parts, of which each
    /// parameter's gradient is the sum.
    pub fn backward(self, loss: Tensor<1>) -> Vec<Gradients> {
        let mut found = vec![loss.backward()];
        for segment in self.segments.into_iter().rev() {
            let parts = found.iter().filter_map(|part| segment.output.grad(part));
            let Some(gradient) = parts.reduce(|sum, part| sum + part) else {
                continue;
            };
            let input = plain(segment.input.clone()).autodiff().require_grad();
            input.device().seed(segment.seed);
            let again = || (segment.again)(input.clone());
            let output = share::within(segment.share, again);
            let part = (output * Tensor::from_inner(gradient)).sum().backward();
            let gradient = input.grad(&part);
            found.push(part);
            if let Some(gradient) = gradient
                && is_tracked(&segment.input)
            {
                let along = segment.input * Tensor::from_inner(gradient);
                found.push(along.sum().backward());
            }
        }
        found
    }
}

/// Whether checkpointing is on, on this thread.
pub(crate) fn is_on() -> bool {
    TAPE.with_borrow(Option::is_some)
}

/// Whether checkpointing is on, and a gradient of the layer or of its input will be wanted.
pub(crate) fn serves<L: Module>(layer: &L, input: &Tensor<3>) -> bool {
    is_on() && wants_gradients(layer, input)
}

fn wants_gradients<L: Module>(layer: &L, input: &Tensor<3>) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.val().is_require_grad();
        }
    }
    let mut any = Any(is_tracked(input));
    layer.visit(&mut any);
    any.0
}

/// Runs a layer without recording its inside, and remembers how to run it again.
pub(crate) fn checkpointed<L: Module + 'static>(
    layer: &L,
    input: Tensor<3>,
    run: impl Fn(&L, Tensor<3>) -> Tensor<3> + 'static,
) -> Tensor<3> {
    let seed = TAPE.with_borrow(|tape| tape.as_ref().map_or(0, Tape::next_seed));
    input.device().seed(seed);
    let unrecorded = layer.clone().map(&mut Stop);
    let output = run(&unrecorded, plain(input.clone()));
    let output = output.autodiff().require_grad();
    let layer = layer.clone();
    let segment = Segment {
        input,
        output: output.clone(),
        again: Box::new(move |input| run(&layer, input)),
        seed,
        share: share::remembered(),
    };
    TAPE.with_borrow_mut(|tape| {
        if let Some(tape) = tape {
            tape.segments.push(segment);
        }
    });
    output
}

fn plain(tensor: Tensor<3>) -> Tensor<3> {
    match tensor.device().is_autodiff() {
        true => tensor.inner(),
        false => tensor,
    }
}

/// Switches gradients off.
struct Stop;

impl ModuleMapper for Stop {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        if !value.device().is_autodiff() {
            return param;
        }
        Param::initialized(param.id, value.inner())
    }
}
