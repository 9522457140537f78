//! Layers: what is computed of which weights. Who computes is the business of the seam below.

mod activation;
pub(crate) mod attention;
pub(crate) mod cache;
pub(crate) mod embedding;
pub(crate) mod keep;
pub(crate) mod linear;
pub(crate) mod low_rank;
pub(crate) mod mlp;
pub(crate) mod norm;
