//! Which part of a model is held in which precision.

use std::fmt;

use blip2_kernels::{Precision, setters};
use burn::tensor::Device;

use crate::error::Blip2Error;

/// The precisions that a model's two large parts are held in.
///
/// The Q-Former, its query tokens and the projection are always `f32`: they are a thirtieth of the
/// model, and everything that the language model hears of a picture passes through them.
///
/// ```
/// use blip2_core::{Precision, PrecisionPlan};
///
/// let both = PrecisionPlan::from(Precision::Bf16);
/// let mixed = both.with_vision(Precision::F32);
/// assert_eq!(mixed.to_string(), "f32 vision, bf16 language model");
/// assert_eq!(both.to_string(), "bf16");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct PrecisionPlan {
    /// Of the vision tower's matrices.
    pub vision: Precision,
    /// Of the language model's matrices and token embeddings.
    pub language_model: Precision,
}

setters! { PrecisionPlan {
    with_vision(vision: Precision),
    with_language_model(language_model: Precision),
} }

impl PrecisionPlan {
    /// Refuses a precision that `device` cannot compute with.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Precision`] naming it.
    pub fn check(self, device: &Device) -> Result<(), Blip2Error> {
        let parts = [self.vision, self.language_model];
        match parts.into_iter().find(|part| !part.is_supported(device)) {
            Some(precision) => Err(Blip2Error::Precision { precision }),
            None => Ok(()),
        }
    }
}

impl From<Precision> for PrecisionPlan {
    /// Both parts in the same precision; but beside a language model in 4 bits, the vision tower
    /// has 8: it is small, its time goes to arithmetic and not to reading weights, and it is where
    /// an answer's grounds come from.
    fn from(precision: Precision) -> Self {
        Self {
            vision: precision.for_head(),
            language_model: precision,
        }
    }
}

impl fmt::Display for PrecisionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vision,
            language_model,
        } = self;
        if vision == language_model {
            write!(f, "{vision}")
        } else {
            write!(f, "{vision} vision, {language_model} language model")
        }
    }
}
