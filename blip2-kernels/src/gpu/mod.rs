//! Kernels for GPUs, written once and compiled by CubeCL for whatever device there is.
//!
//! | part | what it computes |
//! |---|---|
//! | [`product`] | few rows, and many, with a matrix that is read as narrow as it is held |
//! | [`norm`] | layer norm and root-mean-square norm, a launch each |
//! | [`attention`] | one query over a cache, whose newest place it may write, and several or many queries without a map |
//! | [`cache`] | keys and values, written in place |
//! | [`lookup`] | rows of a packed table |
//! | [`select`] | the likeliest token of each row of logits |
//! | [`top`] | the largest logits of each row |
//! | [`replay`] | work that was recorded, done again with other numbers |
//! | [`rows`] | which row of a cache has a place of a sequence that moved |
//! | [`counter`] | how many places caches hold, where kernels read it |
//!
//! Each function answers `None` for tensors that are elsewhere.

pub(crate) mod attention;
pub(crate) mod cache;
pub(crate) mod count;
pub(crate) mod counter;
pub(crate) mod limits;
pub(crate) mod lookup;
mod newest;
pub(crate) mod norm;
mod places;
pub(crate) mod product;
pub(crate) mod replay;
pub(crate) mod rows;
pub(crate) mod select;
pub(crate) mod sum;
pub(crate) mod tensors;
mod tiled;
pub(crate) mod top;
