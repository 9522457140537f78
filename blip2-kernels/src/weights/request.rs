//! One tensor that a model asks for.

use burn::tensor::{DType, Device};

use super::{precision::Precision, role::Role};

/// One tensor that a model asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorRequest<'a> {
    /// The full Hugging Face name, for example `vision_model.post_layernorm.weight`.
    pub name: &'a str,
    /// The shape that the configuration demands.
    pub shape: &'a [usize],
    /// What the tensor is for.
    pub role: Role,
    /// The precision for roles that follow it.
    pub precision: Precision,
    /// The device that will hold the tensor.
    pub device: &'a Device,
    /// Whether the tensor will be packed, and so wants to be as exact as it is stored.
    pub packs: bool,
}

impl TensorRequest<'_> {
    /// The format in which a source that stores the tensor as `stored` should give it.
    pub fn storage(&self, stored: DType) -> DType {
        if !self.role.follows_precision() {
            DType::F32
        } else if self.packs {
            // Whoever packs widens what it reads by itself.
            match stored {
                DType::F16 | DType::BF16 => stored,
                _ => DType::F32,
            }
        } else {
            self.precision.storage(stored, self.device)
        }
    }
}
