//! A source of a model that was opened.

use std::fmt;

use blip2_io::{Checkpoint, CheckpointFolder};
use blip2_kernels::{RandomWeights, TensorRequest, matrix_shape};
use burn::tensor::{DType, Device};

use super::versions::NamedAdapter;

/// A source that was opened, the weights not yet read.
pub struct Opened<C> {
    pub(crate) folder: CheckpointFolder,
    pub(crate) config: C,
    pub(crate) origin: Origin,
    pub(crate) adapters: Vec<NamedAdapter>,
    pub(crate) device: Device,
}

/// Where the weights come from.
pub(crate) enum Origin {
    Checkpoint(Checkpoint),
    Random { seed: u64, weights: RandomWeights },
}

impl Origin {
    pub(super) fn bytes(&self, request: &TensorRequest<'_>) -> u64 {
        let (stored, packed) = match self {
            Self::Checkpoint(checkpoint) => (
                checkpoint.dtype(request.name),
                checkpoint.packed_format(request.name),
            ),
            Self::Random { .. } => (None, None),
        };
        let bytes = match (packed, matrix_shape(request.shape)) {
            (Some(format), Some([outputs, inputs])) => format.bytes(outputs, inputs),
            _ => request.shape.iter().product::<usize>() * stored.unwrap_or(DType::F32).size(),
        };
        bytes as u64
    }

    /// The checkpoint, if there is one.
    pub(crate) fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::Checkpoint(checkpoint) => Some(checkpoint),
            Self::Random { .. } => None,
        }
    }

    /// A hash of the tensors whose names start with one of `prefixes`, and of `extra`.
    pub(crate) fn fingerprint(&self, prefixes: &[&str], extra: &str) -> String {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.fingerprint(prefixes, extra),
            Self::Random { seed, .. } => {
                // The seed stands for every weight that it makes.
                Checkpoint::default().fingerprint(prefixes, &format!("seed {seed} {extra}"))
            }
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(checkpoint) => fmt::Debug::fmt(checkpoint, f),
            Self::Random { seed, .. } => write!(f, "random weights of seed {seed}"),
        }
    }
}
