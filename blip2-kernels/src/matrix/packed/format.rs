//! The number formats of packed matrices.

use std::{fmt, str::FromStr};

use crate::kernel::isa::tile_kind::{PANEL, TileKind};

/// The number format of a [`PackedMatrix`](super::PackedMatrix), which also decides how it is
/// multiplied.
///
/// ```
/// use blip2_kernels::PackedFormat;
///
/// let format: PackedFormat = "int8".parse()?;
/// assert!(format.bytes(4096, 4096) < PackedFormat::F32.bytes(4096, 4096) / 3);
/// # Ok::<(), blip2_kernels::UnknownPackedFormat>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PackedFormat {
    /// 32-bit floats.
    F32,
    /// Half-precision floats, multiplied with activations in `f32`.
    F16,
    /// Brain floats, multiplied with activations rounded to brain floats, summed in `f32`.
    Bf16,
    /// Brain floats, multiplied with activations in `f32`.
    Bf16Exact,
    /// 8-bit integers with a scale for each output, multiplied with activations that are rounded to
    /// 8 bits row by row.
    Int8,
    /// 4-bit integers with a scale for each output and 32 inputs, multiplied with activations as in
    /// [`Int8`](Self::Int8).
    Int4,
}

impl PackedFormat {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Bf16Exact,
        Self::Int8,
        Self::Int4,
    ];

    /// The size of a packed matrix of this format.
    pub fn bytes(self, outputs: usize, inputs: usize) -> usize {
        outputs.div_ceil(PANEL) * self.kind().panel_bytes(inputs)
    }

    /// Whether the numbers are floats, which a tensor can hold as they are.
    pub(crate) fn is_float(self) -> bool {
        !matches!(self, Self::Int8 | Self::Int4)
    }

    /// The size of a matrix of this format in a GPU's memory: packed, but for floats that are tensors
    /// there.
    pub(crate) fn device_bytes(self, outputs: usize, inputs: usize) -> u64 {
        let bytes = match self {
            Self::F32 => 4 * outputs * inputs,
            Self::F16 => 2 * outputs * inputs,
            _ => self.bytes(outputs, inputs),
        };
        bytes as u64
    }

    pub(crate) fn kind(self) -> TileKind {
        match self {
            Self::F32 => TileKind::F32,
            Self::F16 => TileKind::F16,
            Self::Bf16 => TileKind::Bf16Dot,
            Self::Bf16Exact => TileKind::Bf16,
            Self::Int8 => TileKind::Int8,
            Self::Int4 => TileKind::Int4,
        }
    }

    /// The bytes of a weight in a panel; 0 where several share a byte.
    pub(super) fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 | Self::Bf16Exact => 2,
            Self::Int8 => 1,
            Self::Int4 => 0,
        }
    }

    /// The number of steps that `inputs` take.
    pub(crate) fn steps(self, inputs: usize) -> usize {
        inputs.div_ceil(self.kind().step())
    }
}

impl fmt::Display for PackedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Bf16Exact => "bf16-exact",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// A name that is not one of [`PackedFormat::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown packed format `{0}`; known are f32, f16, bf16, bf16-exact, int8 and int4")]
pub struct UnknownPackedFormat(String);

impl FromStr for PackedFormat {
    type Err = UnknownPackedFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.to_string() == name)
            .ok_or_else(|| UnknownPackedFormat(name.to_string()))
    }
}
