//! Where the numbers of an attention are, as its kernels are told.

use burn_cubecl::cubecl::{self, prelude::*};

/// Numbers of a head that a unit reads at a time.
pub(super) const VECTOR: usize = 4;

/// The score of a key that is not there.
pub(super) const LOWEST: f32 = f32::MIN;

/// Where the numbers of a head begin: an offset and the steps from batch to batch, head to head and
/// place to place, all in vectors.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) index: usize,
}

/// The steps of a bias, none along an axis that all share.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
pub(super) struct BiasPlace {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) query: usize,
}

/// The shape of an attention.
#[derive(Debug, Clone, Copy, CubeType, CubeLaunch)]
pub(super) struct Extent {
    pub(super) heads: usize,
    /// Heads of queries that share a head of keys.
    pub(super) group: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) cubes: usize,
    /// Places of a sequence in the [table of rows](super::rows), where there is one.
    pub(super) row: usize,
}
