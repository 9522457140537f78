//! From panels back to rows of floats.

use half::{bf16, f16};

use super::{PackedFormat, PackedMatrix};
use crate::kernel::isa::tile_kind::PANEL;

impl PackedMatrix {
    /// Writes the weights of `output` as floats to `row`.
    ///
    /// # Panics
    ///
    /// If there is no such output, or `row` is not as long as there are inputs.
    pub fn read_row(&self, output: usize, row: &mut [f32]) {
        assert!(output < self.outputs, "output {output} of {}", self.outputs);
        assert_eq!(row.len(), self.inputs, "one weight for each input");
        let (steps, behind) = self.panels().panel(output / PANEL);
        let at = output % PANEL;
        match self.format {
            PackedFormat::F32 => {
                for (w, step) in row.iter_mut().zip(steps.chunks_exact(4 * PANEL)) {
                    *w = f32::from_le_bytes(bytes(step, 4 * at));
                }
            }
            PackedFormat::F16 => {
                for (w, step) in row.iter_mut().zip(steps.chunks_exact(2 * PANEL)) {
                    *w = f16::from_le_bytes(bytes(step, 2 * at)).to_f32();
                }
            }
            PackedFormat::Bf16 | PackedFormat::Bf16Exact => {
                for (pair, step) in row.chunks_mut(2).zip(steps.chunks_exact(4 * PANEL)) {
                    for (i, w) in pair.iter_mut().enumerate() {
                        *w = bf16::from_le_bytes(bytes(step, 4 * at + 2 * i)).to_f32();
                    }
                }
            }
            PackedFormat::Int8 => {
                let scale = f32::from_le_bytes(bytes(behind, 4 * at));
                for (four, step) in row.chunks_mut(4).zip(steps.chunks_exact(4 * PANEL)) {
                    for (w, &integer) in four.iter_mut().zip(&step[4 * at..]) {
                        *w = f32::from(integer as i8) * scale;
                    }
                }
            }
            PackedFormat::Int4 => {
                for (group, step) in row.chunks_mut(32).zip(steps.chunks_exact(18 * PANEL)) {
                    let scale = f16::from_le_bytes(bytes(step, 16 * PANEL + 2 * at)).to_f32();
                    for (i, w) in group.iter_mut().enumerate() {
                        let byte = step[(i / 8 * PANEL + at) * 4 + i % 4];
                        let nibble = if i % 8 < 4 { byte & 15 } else { byte >> 4 };
                        *w = (f32::from(nibble) - 8.0) * scale;
                    }
                }
            }
        }
    }
}

fn bytes<const N: usize>(step: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&step[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_within_the_format() {
        let weight =
            |output: usize, input: usize| ((output * 31 + input * 17) % 97) as f32 / 48.0 - 1.0;
        for (outputs, inputs) in [(1, 1), (33, 31), (64, 65), (5, 257), (0, 4), (4, 0)] {
            for format in PackedFormat::ALL {
                let packed = PackedMatrix::pack(format, outputs, inputs, |output, row| {
                    for (input, w) in row.iter_mut().enumerate() {
                        *w = weight(output, input);
                    }
                });
                assert_eq!(packed.bytes().len(), format.bytes(outputs, inputs));
                let tolerance = match format {
                    PackedFormat::F32 => 0.0,
                    PackedFormat::F16 => 5e-4,
                    PackedFormat::Bf16 | PackedFormat::Bf16Exact => 4e-3,
                    PackedFormat::Int8 => 5e-3,
                    PackedFormat::Int4 => 0.15,
                };
                let mut row = vec![f32::NAN; inputs];
                for output in 0..outputs {
                    packed.read_row(output, &mut row);
                    for (input, w) in row.iter().enumerate() {
                        let difference = (w - weight(output, input)).abs();
                        assert!(difference <= tolerance, "{format}: {difference}");
                    }
                }
            }
        }
    }
}
