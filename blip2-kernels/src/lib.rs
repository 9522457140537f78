//! The ground floor of BLIP-2 for Rust: layers that hold weights, attention, and KV caches, on
//! [Burn](https://burn.dev) tensors.
//!
//! Use this crate directly only to write a model of your own; to run BLIP-2, use `blip2-core`.
//!
//! | part | what it is for |
//! |---|---|
//! | [`Weights`], [`WeightSource`] | how a model asks for its tensors, whoever answers |
//! | [`Linear`], [`Embedding`], [`LayerNorm`], [`RmsNorm`], [`Activation`] | the layers |
//! | [`Matrix`], [`PackedMatrix`], [`PackedFormat`] | how a matrix is held: a tensor, or packed for the kernels |
//! | [`DotProductAttention`], [`KvCache`] | attention, and what it remembers |
//! | [`bert`] | BERT's layer |
//! | [`Keep`] | what a forward keeps of its layers |
//! | [`Precision`] | the format that matrices are held in |
//! | [`nearest`] | an exact search among vectors |
//! | [`Isa`] | the instruction set that the kernels use |
//! | [`device`], [`replay`] | what a GPU is and is made to do; work that it is told once and does again |
//!
//! ```
//! use blip2_kernels::{Activation, Bias, RandomWeights, Weights};
//! use burn::tensor::{Device, Tensor};
//!
//! let device = Device::flex();
//! let source = RandomWeights::new(0, 0.02);       // or a checkpoint, see `blip2-io`
//! let weights = Weights::new(&source, &device);
//!
//! let fc1 = weights.linear("mlp.fc1", 16, 64, Bias::With);
//! let fc2 = weights.linear("mlp.fc2", 64, 16, Bias::With);
//! let x = Tensor::<3>::ones([2, 5, 16], &device);  // [batch, seq, hidden]
//! let y = fc2.forward(Activation::Gelu.forward(fc1.forward(x)));
//! assert_eq!(y.dims(), [2, 5, 16]);
//! ```
//!
//! # Kernels
//!
//! On the plain `flex` backend (feature `flex`), matrices are held packed and multiplied by this
//! crate's kernels: AMX, AVX-512 with VNNI and BF16, AVX2 with AVX-VNNI, or portable Rust, chosen at run time and
//! narrowed by the environment variable `BLIP2_ISA` (see [`Isa`]). They run on the threads of the current `rayon`
//! pool. Where gradients are recorded on `flex` (feature `autodiff`), linear layers, layer norm and
//! attention are an operation each, whose gradients have kernels, too. On GPUs (feature `gpu`) matrices
//! stay packed in the device's memory, and kernels compiled by CubeCL read them so; [`device`] accounts
//! for them. On every other backend, and where gradients are recorded there, the layers are Burn's own
//! operations.
//!
//! # Panics
//!
//! Layers follow Burn's idiom: a tensor whose width does not fit a layer panics. The crates above
//! check shapes where user input enters and return errors.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "autodiff")]
mod autodiff;
mod block;
pub mod device;
#[cfg(feature = "gpu")]
mod gpu;
mod kernel;
mod layer;
mod mask;
mod matrix;
pub mod replay;
mod seam;
mod setters;
mod weights;

pub use block::bert;
pub use kernel::{
    activation::Activation,
    isa::Isa,
    likeliest::Likeliest,
    nearest::{Nearest, nearest},
    top::{MOST_TOP, Top, TopLogits},
};
pub use layer::{
    attention::{merge_heads, split_heads},
    cache::KvCache,
    embedding::Embedding,
    keep::{Keep, Kept},
    linear::Linear,
    low_rank::LowRank,
    mlp::mlp,
    norm::{LayerNorm, RmsNorm},
};
pub use mask::{MASKED, causal_bias, padding_bias};
pub use matrix::{
    Matrix,
    device::DeviceMatrix,
    packed::{PackedFormat, PackedMatrix, UnknownPackedFormat, WrongPackedSize},
};
pub use seam::{
    attention::{Attended, DotProductAttention, Rounding},
    likeliest, packs,
    stack::{in_groups, layers_in_pool, rows_at_once, step_in_pool},
    top_logits,
};
pub use weights::{
    bias::Bias,
    cursor::Weights,
    observer::{LowRankData, Magnitude, WeightObserver},
    precision::{Precision, UnknownPrecision},
    random::RandomWeights,
    request::TensorRequest,
    role::Role,
    shape::matrix_shape,
    shared::SharedWeights,
    source::{WeightSource, packed_matrix},
};
#[cfg(feature = "autodiff")]
pub use {
    autodiff::{
        kept::ActivationFormat,
        optimizer::{AdamWStep, sum_of_squares},
        pool::in_pool,
    },
    kernel::buffers::Recycling,
};

/// Gradient checkpointing: layers that are computed again in the backward pass, instead of being kept.
pub mod recompute {
    #[cfg(feature = "autodiff")]
    pub use crate::autodiff::recompute::Recompute;
    pub use crate::seam::{checkpointed as layer, is_tracked};
}

/// Which rows of a larger batch are computed here, for dropout: it drops the same of a row whether one
/// process sees the batch or several share it.
#[cfg(feature = "autodiff")]
pub mod share {
    pub use crate::autodiff::share::{Rows, during, over_pictures, over_positions};
}

/// Numbers between −1 and 1 for tests.
#[cfg(test)]
pub(crate) fn random_values(len: usize, seed: u64) -> Vec<f32> {
    use burn::tensor::{DType, Device};

    let device = Device::flex();
    let data = RandomWeights::new(seed, 3f32.sqrt().recip()).tensor(&TensorRequest {
        name: "values",
        shape: &[len],
        role: Role::Dense,
        precision: Precision::F32,
        device: &device,
        packs: false,
    });
    let data = data.unwrap().convert_dtype(DType::F32);
    data.try_to_vec().unwrap()
}
