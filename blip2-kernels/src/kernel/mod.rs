//! Kernels: functions of slices, on the CPU.
//!
//! Nothing here knows a layer, how a matrix came to be packed, or a graph of gradients. [`isa`] holds
//! what is written in instructions; the rest is plain loops around it.

// Without `flex` no arm of the seam calls most of them; what packs matrices needs the others.
#![cfg_attr(not(feature = "flex"), allow(dead_code))]

pub(crate) mod activation;
pub(crate) mod attention;
#[cfg(feature = "autodiff")]
pub(crate) mod buffers;
#[cfg(feature = "flex")]
pub(crate) mod cache;
#[cfg(feature = "flex")]
pub(crate) mod flex;
pub(crate) mod isa;
pub(crate) mod likeliest;
pub(crate) mod math;
#[cfg(feature = "autodiff")]
pub(crate) mod narrow;
pub(crate) mod nearest;
pub(crate) mod norm;
pub(crate) mod panels;
pub(crate) mod product;
#[cfg(feature = "autodiff")]
pub(crate) mod signs;
pub(crate) mod threads;
pub(crate) mod top;
