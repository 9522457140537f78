//! From rows of floats to panels.

use std::ops::Range;

use burn::tensor::{DType, Element, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{PackedFormat, PackedMatrix, memory, panel, widen};
use crate::kernel::isa::{Isa, tile_kind::PANEL};

impl PackedMatrix {
    /// Packs a matrix `[outputs, inputs]` of `f32`, `f16` or `bf16`; `None` for other data.
    pub fn from_data(
        format: PackedFormat,
        outputs: usize,
        inputs: usize,
        data: &TensorData,
    ) -> Option<Self> {
        fn pack<E: Element>(
            (format, outputs, inputs): (PackedFormat, usize, usize),
            data: &TensorData,
            widen: impl Fn(Isa, &[E], &mut [f32]) + Sync,
        ) -> Option<PackedMatrix> {
            let values = data.as_slice::<E>().ok()?;
            let isa = Isa::active();
            (values.len() == outputs * inputs).then(|| {
                PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    widen(isa, &values[output * inputs..][..inputs], row);
                })
            })
        }
        let shape = (format, outputs, inputs);
        match data.dtype() {
            stored if format.holds(stored, inputs) => Self::rearranged(shape, data.as_bytes()),
            DType::F32 => pack::<f32>(shape, data, |_, from, to| to.copy_from_slice(from)),
            DType::F16 => pack::<f16>(shape, data, widen::f16),
            DType::BF16 => pack::<bf16>(shape, data, widen::bf16),
            _ => None,
        }
    }

    /// Packs a matrix `[outputs, inputs]` given row by row: `read(output, row)` fills `row` with the
    /// weights of an output. Rows are read by several threads, each once, so that a matrix never
    /// exists twice.
    pub fn pack(
        format: PackedFormat,
        outputs: usize,
        inputs: usize,
        read: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let isa = Isa::active();
        let padded = format.steps(inputs) * format.kind().step();
        Self::by_panels(
            (format, outputs, inputs),
            || panel::Rows::new(format, padded),
            |rows, outputs, bytes| {
                rows.pack(isa, bytes, outputs.len(), |index, row| {
                    read(outputs.start + index, &mut row[..inputs]);
                });
            },
        )
    }

    /// Packs numbers whose bits a panel holds as they are: they only change places. `None` where
    /// there are not as many as the shape says.
    fn rearranged(
        (format, outputs, inputs): (PackedFormat, usize, usize),
        stored: &[u8],
    ) -> Option<Self> {
        let width = inputs * format.width();
        (stored.len() == outputs * width).then(|| {
            Self::by_panels(
                (format, outputs, inputs),
                || (),
                |(), outputs, bytes| {
                    let rows = &stored[outputs.start * width..outputs.end * width];
                    panel::interleave(format, rows, width, bytes);
                },
            )
        })
    }

    /// A matrix whose panels `fill` writes, each by one of several threads with what its thread
    /// keeps: the outputs of a panel, and its bytes, which are zero.
    fn by_panels<S>(
        (format, outputs, inputs): (PackedFormat, usize, usize),
        kept: impl Fn() -> S + Sync + Send,
        fill: impl Fn(&mut S, Range<usize>, &mut [u8]) + Sync + Send,
    ) -> Self {
        let panel_bytes = format.kind().panel_bytes(inputs);
        let bytes = memory::filled(format.bytes(outputs, inputs), |bytes| {
            // Sums and scales of nothing are zero.
            if inputs == 0 {
                return;
            }
            let panels = bytes.par_chunks_exact_mut(panel_bytes).enumerate();
            panels.for_each_init(kept, |kept, (panel, bytes)| {
                let first = panel * PANEL;
                fill(kept, first..outputs.min(first + PANEL), bytes);
            });
        });
        Self {
            outputs,
            inputs,
            format,
            kind: super::kind(format, outputs * inputs),
            bytes,
        }
    }
}

impl PackedFormat {
    /// Whether a panel has the very bits that numbers of `stored` have in memory, in another order.
    fn holds(self, stored: DType, inputs: usize) -> bool {
        let same = matches!(
            (self, stored),
            (Self::F32, DType::F32)
                | (Self::F16, DType::F16)
                | (Self::Bf16 | Self::Bf16Exact, DType::BF16)
        );
        // Panels are little-endian, and padded to whole steps.
        same && cfg!(target_endian = "little") && inputs.is_multiple_of(self.kind().step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that every format of floats holds.
    fn data(outputs: usize, inputs: usize) -> TensorData {
        let values: Vec<f32> = (0..outputs * inputs)
            .map(|i| ((i * 37 + i / 11) % 251) as f32 / 128.0 - 0.9375)
            .collect();
        TensorData::new(values, [outputs, inputs])
    }

    #[test]
    fn what_is_stored_is_packed_as_it_is_when_read_by_rows() {
        for (outputs, inputs) in [(1, 2), (31, 8), (32, 64), (77, 96), (5, 33), (0, 4), (4, 0)] {
            let wide = data(outputs, inputs);
            let values = wide.as_slice::<f32>().expect("floats");
            for format in PackedFormat::ALL {
                let by_rows = PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    row.copy_from_slice(&values[output * inputs..][..inputs]);
                });
                for stored in [DType::F32, DType::F16, DType::BF16] {
                    let data = wide.clone().convert_dtype(stored);
                    let packed = PackedMatrix::from_data(format, outputs, inputs, &data);
                    let packed = packed.expect("floats of the shape");
                    let same = packed.bytes() == by_rows.bytes();
                    assert!(same, "{outputs} × {inputs} {stored:?} as {format}");
                }
            }
        }
    }

    #[test]
    fn other_shapes_and_other_numbers_are_none() {
        let wide = data(4, 6);
        for format in PackedFormat::ALL {
            assert!(PackedMatrix::from_data(format, 4, 5, &wide).is_none());
            let integers = wide.clone().convert_dtype(DType::I32);
            assert!(PackedMatrix::from_data(format, 4, 6, &integers).is_none());
        }
    }
}
