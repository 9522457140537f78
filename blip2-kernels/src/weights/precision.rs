//! The number format that weights are held in.

use std::{fmt, str::FromStr};

use burn::tensor::{DType, Device};

use super::{role::Role, shape::matrix_shape};
use crate::{
    kernel::isa::{Isa, peak},
    matrix::packed::PackedFormat,
    seam,
};

/// The number format that the large weight matrices of a model are held in.
///
/// Biases, norms, softmax and logits are always `f32`, and so is what passes from layer to layer; a
/// precision says how a matrix is stored, and so how much memory it takes, and how it is
/// multiplied, and so how fast and how exact that is.
///
/// The kernels of the `flex` backend and those of GPUs (feature `gpu`) multiply all of them as they are. A GPU's
/// matrix units round activations of more than 32 rows to `f16`, but with weights in `f32` and with brain floats
/// as stored.
/// Other backends know no integer matrices: they hold [`Int8`](Self::Int8) and [`Int4`](Self::Int4)
/// rounded to those but widened to `f32`, which has their results and not their size.
///
/// ```
/// use blip2_kernels::{Precision, Role};
/// use burn::tensor::{DType, Device};
///
/// let precision: Precision = "int4".parse()?;
/// assert_eq!(precision.for_head(), Precision::Int8); // where four bits would show
/// let bytes = |precision: Precision| {
///     precision.held_bytes(Role::Matrix, &[4096, 4096], DType::F32, &Device::flex())
/// };
/// assert!(bytes(precision) < bytes(Precision::Bf16) / 3);
/// # Ok::<(), blip2_kernels::UnknownPrecision>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// The format of the checkpoint file where the device can compute with it, else `f32`;
    /// multiplied with activations in `f32`, so that results are those of `f32` whatever the file
    /// holds.
    #[default]
    AsStored,
    /// 32-bit floats.
    F32,
    /// Brain floats: the range of `f32`, 8 bits of precision. On `flex`, activations are rounded to
    /// them for each product, which processors with AVX-512 BF16 compute twice as fast.
    Bf16,
    /// Half-precision floats, multiplied with activations in `f32` but by a GPU's matrix units.
    F16,
    /// 8-bit integers with a scale for each output. On `flex`, activations are rounded to 8 bits
    /// for each product.
    Int8,
    /// 4-bit integers with a scale for each output and 32 inputs; output heads and tables that are
    /// tied to one are held in 8 bits. On `flex`, activations are rounded to 8 bits.
    Int4,
}

impl Precision {
    /// Every precision, in the order a user would list them.
    pub const ALL: [Precision; 6] = [
        Self::AsStored,
        Self::F32,
        Self::Bf16,
        Self::F16,
        Self::Int8,
        Self::Int4,
    ];

    /// Multiplies for less than a millisecond on this thread, by the instructions that multiply matrices of
    /// this precision on `flex` and with operands that need not be fetched, and returns the operations
    /// done, two for a multiply-add: by the time that it takes, the most that a core can do.
    pub fn saturate(self) -> f64 {
        let format = self.packed(DType::F32, Role::Matrix);
        peak::saturate(Isa::active(), format.kind())
    }

    /// The float format in which `device` should hold a tensor that the file stores as `stored`.
    ///
    /// The integer precisions are for matrices alone: what is looked up or computed with otherwise
    /// is held as with [`Precision::AsStored`]. That falls back to `f32` where the device cannot compute with the stored
    /// format; an explicit precision is returned as asked and may have to be refused by the
    /// caller, see [`Precision::is_supported`].
    pub fn storage(self, stored: DType, device: &Device) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
            Self::AsStored | Self::Int8 | Self::Int4 => match stored {
                DType::F16 | DType::BF16 if device.supports_dtype(stored) => stored,
                _ => DType::F32,
            },
        }
    }

    /// The format in which kernels hold a matrix that the file stores as `stored`.
    pub fn packed(self, stored: DType, role: Role) -> PackedFormat {
        let precision = if role == Role::Head {
            self.for_head()
        } else {
            self
        };
        match (precision, stored) {
            (Self::Bf16, _) => PackedFormat::Bf16,
            (Self::F16, _) | (Self::AsStored, DType::F16) => PackedFormat::F16,
            (Self::AsStored, DType::BF16) => PackedFormat::Bf16Exact,
            (Self::F32 | Self::AsStored, _) => PackedFormat::F32,
            (Self::Int8, _) => PackedFormat::Int8,
            (Self::Int4, _) => PackedFormat::Int4,
        }
    }

    /// The format in which kernels of a GPU hold a matrix, or a table, that the file stores as
    /// `stored`.
    pub(crate) fn on_device(self, stored: DType, role: Role) -> PackedFormat {
        let precision = match (self, role) {
            // Integers are for what is multiplied.
            (Self::Int8 | Self::Int4, Role::Embedding) => Self::AsStored,
            _ => self,
        };
        precision.packed(stored, role)
    }

    /// The precision of an output head where the other matrices have this one: four bits would
    /// change which token is the likeliest too often, and the head is a small part of a model.
    #[must_use]
    pub fn for_head(self) -> Self {
        match self {
            Self::Int4 => Self::Int8,
            other => other,
        }
    }

    /// The bytes that a tensor takes as `device` holds it, if the file stores it as `stored`.
    pub fn held_bytes(self, role: Role, shape: &[usize], stored: DType, device: &Device) -> u64 {
        let elements = shape.iter().map(|&n| n as u64).product::<u64>();
        let on_device = seam::packs_on_device(device);
        let dtype = match (role, matrix_shape(shape)) {
            (Role::Matrix | Role::Head | Role::Embedding, Some([outputs, inputs])) if on_device => {
                return self.on_device(stored, role).device_bytes(outputs, inputs);
            }
            (Role::Matrix | Role::Head, Some([outputs, inputs])) if seam::packs(device) => {
                return self.packed(stored, role).bytes(outputs, inputs) as u64;
            }
            (Role::Matrix | Role::Head, _) if matches!(self, Self::Int8 | Self::Int4) => DType::F32,
            _ if role.follows_precision() => self.storage(stored, device),
            _ => DType::F32,
        };
        elements * dtype.size() as u64
    }

    /// Whether `device` can compute with matrices held in this precision.
    pub fn is_supported(self, device: &Device) -> bool {
        match self {
            Self::AsStored | Self::F32 | Self::Int8 | Self::Int4 => true,
            Self::Bf16 if seam::packs_on_device(device) => true,
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
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// A precision name that is not one of [`Precision::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`; use one of as-stored, f32, bf16, f16, int8, int4")]
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
