//! The number format that weights are held in.

use std::{fmt, str::FromStr};

use burn::tensor::{DType, Device};

/// The number format that the large weight matrices of a model are held in.
///
/// Activations, biases, norms, softmax and logits are always `f32`; a precision only says how a
/// matrix is stored, and so how much memory it takes and how exact it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// The format of the checkpoint file where the device can compute with it, else `f32`.
    #[default]
    AsStored,
    /// 32-bit floats.
    F32,
    /// Brain floats: the range of `f32`, 8 bits of precision.
    Bf16,
    /// Half-precision floats.
    F16,
}

impl Precision {
    /// Every precision, in the order a user would list them.
    pub const ALL: [Precision; 4] = [Self::AsStored, Self::F32, Self::Bf16, Self::F16];

    /// The format in which `device` should hold a matrix that the file stores as `stored`.
    ///
    /// [`Precision::AsStored`] falls back to `f32` where the device cannot compute with the stored
    /// format; an explicit precision is returned as asked and may have to be refused by the
    /// caller, see [`Precision::is_supported`].
    pub fn storage(self, stored: DType, device: &Device) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
            Self::AsStored => match stored {
                DType::F16 | DType::BF16 if device.supports_dtype(stored) => stored,
                _ => DType::F32,
            },
        }
    }

    /// Whether `device` can compute with matrices held in this precision.
    pub fn is_supported(self, device: &Device) -> bool {
        match self {
            Self::AsStored | Self::F32 => true,
            Self::Bf16 => device.supports_dtype(DType::BF16),
            Self::F16 => device.supports_dtype(DType::F16),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsStored => "as-stored",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// A precision name that is not one of [`Precision::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`; use one of as-stored, f32, bf16, f16")]
pub struct UnknownPrecision(String);

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.to_string() == name)
            .ok_or_else(|| UnknownPrecision(name.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!(
            "int3".parse::<Precision>(),
            Err(UnknownPrecision("int3".into()))
        );
    }

    #[test]
    fn wide_files_are_held_in_f32() {
        let device = Device::flex();
        assert_eq!(Precision::AsStored.storage(DType::F64, &device), DType::F32);
        assert_eq!(
            Precision::AsStored.storage(DType::BF16, &device),
            DType::BF16
        );
        assert_eq!(Precision::F32.storage(DType::BF16, &device), DType::F32);
    }
}
