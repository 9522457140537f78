//! Matrices laid out for the kernels.

mod format;
mod memory;
mod pack;
mod panel;
mod quantize;
mod unpack;
mod widen;

use std::{fmt, sync::Arc};

pub use format::{PackedFormat, UnknownPackedFormat};

use crate::kernel::{
    isa::tile_kind::TileKind,
    panels::{PanelShape, Panels},
};

/// A matrix `[outputs, inputs]` in the layout and number format of the kernels: in panels of 32
/// outputs. Cloning shares the bytes.
///
/// # Layout
///
/// A panel holds its outputs interleaved, so that a product with any number of rows reads it once
/// from front to back. Its bytes, for a matrix `[outputs, inputs]` whose inputs are padded with
/// zeros to whole steps:
///
/// | format | a step | inputs | what stands behind the steps of a panel |
/// |---|---|---|---|
/// | `F32` | 32 × `f32` | 1 | |
/// | `F16` | 32 × `f16` | 1 | |
/// | `Bf16`, `Bf16Exact` | 32 × 2 × `bf16` | 2 | |
/// | `Int8` | 32 × 4 × `i8` | 4 | 32 scales (`f32`), 32 sums of the integers (`i32`) |
/// | `Int4` | 4 × 32 × 4 bytes, 32 scales (`f16`) | 32 | 32 scaled sums of the integers (`f32`) |
///
/// In a step of `Int4`, byte `i` of output `o` in the `p`-th quarter holds input `8 p + i` in its
/// low and input `8 p + 4 + i` in its high four bits, each 8 above its value. All numbers are
/// little-endian, so that the bytes can be written to a file and mapped again.
///
/// ```
/// use std::sync::Arc;
///
/// use blip2_kernels::{PackedFormat, PackedMatrix};
/// use burn::tensor::TensorData;
///
/// let weights = TensorData::from([[0.5f32, -1.0], [2.0, 0.25], [0.0, 1.0]]);
/// let packed = PackedMatrix::from_data(PackedFormat::Int8, 3, 2, &weights).expect("floats");
/// let bytes: Arc<Vec<u8>> = Arc::new(packed.bytes().to_vec()); // to a file and back
/// let again = PackedMatrix::from_bytes(packed.format(), 3, 2, bytes)?;
/// assert_eq!((again.outputs(), again.inputs()), (3, 2));
/// # Ok::<(), blip2_kernels::WrongPackedSize>(())
/// ```
#[derive(Clone)]
pub struct PackedMatrix {
    outputs: usize,
    inputs: usize,
    format: PackedFormat,
    /// How its tiles are multiplied.
    kind: TileKind,
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

/// Bytes that are not a packed matrix of the shape and format they were said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a {format} matrix of {outputs} × {inputs} takes {expected} bytes packed, but there are {found}"
)]
pub struct WrongPackedSize {
    format: PackedFormat,
    outputs: usize,
    inputs: usize,
    expected: usize,
    found: usize,
}

impl PackedMatrix {
    /// A matrix whose bytes were [packed](PackedMatrix::bytes) before, perhaps in a mapped file.
    ///
    /// # Errors
    ///
    /// [`WrongPackedSize`] where the number of bytes is not that of the shape and format. Any
    /// content of the right size is a matrix.
    pub fn from_bytes(
        format: PackedFormat,
        outputs: usize,
        inputs: usize,
        bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    ) -> Result<Self, WrongPackedSize> {
        let (expected, found) = (format.bytes(outputs, inputs), (*bytes).as_ref().len());
        if expected != found {
            return Err(WrongPackedSize {
                format,
                outputs,
                inputs,
                expected,
                found,
            });
        }
        Ok(Self {
            outputs,
            inputs,
            format,
            kind: kind(format, outputs * inputs),
            bytes,
        })
    }

    /// The number of outputs: rows of the matrix, as a checkpoint stores it.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of inputs: columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number format.
    pub fn format(&self) -> PackedFormat {
        self.format
    }

    /// The matrix as it is held and may be written to a file; see [the layout](Self#layout).
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The matrix as the kernels read it.
    pub(crate) fn panels(&self) -> Panels<'_> {
        let shape = PanelShape {
            kind: self.kind,
            outputs: self.outputs,
            inputs: self.inputs,
        };
        Panels::new(self.bytes(), shape)
    }
}

/// How the tiles of a matrix that is kept are multiplied.
///
/// Matrices too small for their arithmetic to show are summed in 64 bits: the models that have
/// them, made to test others, are random, and their layers amplify rounding as those of no
/// trained model do.
fn kind(format: PackedFormat, elements: usize) -> TileKind {
    const SMALL: usize = 1 << 16;
    match format {
        PackedFormat::F32 if elements <= SMALL => TileKind::F32Wide,
        _ => format.kind(),
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {}]", self.format, self.outputs, self.inputs)
    }
}
