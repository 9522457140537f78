//! What operations keep of the forward pass for their gradients.

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    sync::{Arc, Weak},
};

use burn_backend::TensorMetadata as _;
use burn_flex::{FlexTensor, Layout};
use burn_std::Bytes;

use super::{contiguous, slice, tensor};
use crate::kernel::{
    activation::Activation, buffers::Floats, isa::Isa, narrow::Narrowed, signs::Signs,
};

/// In which format what the backward pass needs of the forward pass waits for it.
///
/// Everything is computed in `f32` either way, so that losses are the same; with [`Bf16`](Self::Bf16) what
/// gradients are computed from was rounded to 8 bits, and takes half of the memory; and gradients pass through
/// matrices that are held in fewer bits than `f32` has by products in bf16, summed in `f32`. It counts on `flex`, for
/// linear layers, layer norm and attention; what Burn's own operations keep stays as it is.
///
/// ```
/// use blip2_kernels::{ActivationFormat, Bias, RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex().autodiff();
/// let source = RandomWeights::new(0, 0.02);
/// let fc1 = Weights::new(&source, &device).linear("fc1", 64, 256, Bias::With);
///
/// let x = Tensor::<3>::ones([2, 8, 64], &device).require_grad();
/// let loss = ActivationFormat::Bf16.during(|| fc1.forward(x.clone()).sum());
/// assert!(x.grad(&loss.backward()).is_some());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActivationFormat {
    /// As it was computed.
    #[default]
    F32,
    /// Rounded to brain floats, half as large.
    Bf16,
}

thread_local! {
    static FORMAT: Cell<ActivationFormat> = const { Cell::new(ActivationFormat::F32) };
    /// What was narrowed and is still there, so that operations which read the same keep it once.
    static NARROWED: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Numbers of a tensor's memory, and where they are in bf16.
struct Entry {
    memory: Weak<Bytes>,
    start: usize,
    len: usize,
    narrowed: Weak<Narrowed>,
}

impl ActivationFormat {
    /// What was said on this thread.
    pub(crate) fn current() -> Self {
        FORMAT.get()
    }

    /// Keeps in this format what gradients of something that runs on this thread need.
    pub fn during<R>(self, run: impl FnOnce() -> R) -> R {
        // As it was before, whatever happens.
        struct Back(ActivationFormat);
        impl Drop for Back {
            fn drop(&mut self) {
                FORMAT.set(self.0);
                NARROWED.with_borrow_mut(Vec::clear);
            }
        }
        let _back = Back(FORMAT.replace(self));
        run()
    }
}

/// Numbers fewer than these stay as they are: they take no memory that counts.
const SMALL: usize = 1 << 10;

/// A tensor that waits for the backward pass.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    Whole(FlexTensor),
    Narrow {
        values: Arc<Narrowed>,
        layout: Layout,
    },
}

impl Kept {
    pub(super) fn new(tensor: FlexTensor) -> Self {
        let count = tensor.shape().num_elements();
        if FORMAT.get() == ActivationFormat::F32 || count < SMALL {
            return Self::Whole(tensor);
        }
        // Of what lies apart, all that lies between is kept with it, unless that is most of it.
        let tensor = match tensor.storage::<f32>().len() > 2 * count {
            true => contiguous(tensor),
            false => tensor,
        };
        match tensor.layout().contiguous_offsets() {
            Some((start, _)) => {
                let shape = tensor.shape();
                Self::narrow(&tensor, start, slice(&tensor), Layout::contiguous(shape))
            }
            None => Self::narrow(&tensor, 0, tensor.storage(), tensor.layout().clone()),
        }
    }

    fn narrow(tensor: &FlexTensor, start: usize, values: &[f32], layout: Layout) -> Self {
        let memory = Arc::downgrade(&tensor.data_arc());
        let is_it = |entry: &Entry| {
            entry.memory.ptr_eq(&memory) && (entry.start, entry.len) == (start, values.len())
        };
        let values = NARROWED.with_borrow_mut(|all| {
            // What lost its memory, or whom nobody keeps, is not asked for again.
            all.retain(|entry| {
                entry.memory.strong_count() > 0 && entry.narrowed.strong_count() > 0
            });
            let found = all.iter().find(|entry| is_it(entry));
            if let Some(narrowed) = found.and_then(|entry| entry.narrowed.upgrade()) {
                return narrowed;
            }
            let narrowed = Arc::new(Narrowed::new(Isa::active(), values));
            all.push(Entry {
                memory: memory.clone(),
                start,
                len: values.len(),
                narrowed: Arc::downgrade(&narrowed),
            });
            narrowed
        });
        Self::Narrow { values, layout }
    }

    /// The tensor, as it lay or contiguous.
    pub(super) fn opened(&self) -> FlexTensor {
        match self {
            Self::Whole(tensor) => tensor.clone(),
            Self::Narrow { values, layout } => {
                let values = values.widened(Isa::active());
                let count = values.len();
                tensor(values, [count]).with_layout(layout.clone())
            }
        }
    }
}

/// Numbers of an operation's own that wait for the backward pass.
#[derive(Debug, Clone)]
pub(super) enum KeptFloats {
    Whole(Arc<Floats>),
    Narrow(Arc<Narrowed>),
    /// Of what ReLU was applied to.
    Signs(Arc<Signs>),
}

impl KeptFloats {
    pub(super) fn new(values: Floats) -> Self {
        match FORMAT.get() {
            ActivationFormat::Bf16 if values.len() >= SMALL => {
                Self::Narrow(Arc::new(Narrowed::new(Isa::active(), &values)))
            }
            _ => Self::Whole(Arc::new(values)),
        }
    }

    /// What an activation was applied to, as far as its derivative asks.
    pub(super) fn before(activation: Activation, values: Floats) -> Self {
        match activation {
            Activation::Relu if values.len() >= SMALL => Self::signs(&values),
            _ => Self::new(values),
        }
    }

    /// What ReLU was applied to.
    pub(super) fn signs(values: &[f32]) -> Self {
        Self::Signs(Arc::new(Signs::new(Isa::active(), values)))
    }

    pub(super) fn opened(&self) -> Opened<'_> {
        match self {
            Self::Whole(values) => Opened::Whole(values),
            Self::Narrow(values) => Opened::Widened(values.widened(Isa::active())),
            Self::Signs(signs) => Opened::Widened(signs.steps(Isa::active())),
        }
    }
}

/// Numbers to compute with.
pub(super) enum Opened<'a> {
    Whole(&'a [f32]),
    Widened(Floats),
}

impl Deref for Opened<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Whole(values) => values,
            Self::Widened(values) => values,
        }
    }
}
