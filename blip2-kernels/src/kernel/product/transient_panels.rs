//! Matrices of `f32` that are packed for a product or two, as those of a training step are.

use std::ops::Range;

use crate::kernel::{
    buffers::Floats,
    isa::tile_kind::{PANEL, TileKind},
    panels::{PanelShape, Panels},
    threads,
};

/// A matrix in panels of 32 outputs, or some of its panels: of each input, the weights of a panel's outputs
/// follow one another.
#[derive(Debug)]
pub(super) struct TransientPanels {
    values: Floats,
    /// Where the first panel begins: with a line of the cache.
    start: usize,
    shape: PanelShape,
    /// The panels that are there.
    panels: Range<usize>,
}

impl TransientPanels {
    /// The matrix `weight` `[outputs, inputs]`.
    pub(super) fn of(weight: &[f32], [outputs, inputs]: [usize; 2]) -> Self {
        /// Inputs taken at a time, few enough that what is read of each output stays in the cache.
        const NEAR: usize = 16;
        Self::whole([outputs, inputs], |first, panel| {
            let width = PANEL.min(outputs - first);
            for (part, steps) in panel.chunks_mut(NEAR * PANEL).enumerate() {
                let count = steps.len() / PANEL;
                for output in 0..width {
                    let start = (first + output) * inputs + part * NEAR;
                    let from = &weight[start..start + count];
                    for (step, w) in steps.chunks_exact_mut(PANEL).zip(from) {
                        step[output] = *w;
                    }
                }
            }
        })
    }

    /// The matrix `weight` `[inputs, outputs]`, transposed.
    pub(super) fn of_transposed(weight: &[f32], [outputs, inputs]: [usize; 2]) -> Self {
        Self::whole([outputs, inputs], |first, panel| {
            let width = PANEL.min(outputs - first);
            for (input, step) in panel.chunks_exact_mut(PANEL).enumerate() {
                step[..width].copy_from_slice(&weight[input * outputs + first..][..width]);
            }
        })
    }

    /// `fill` is given each panel's first output, and the panel.
    fn whole(
        [outputs, inputs]: [usize; 2],
        fill: impl Fn(usize, &mut [f32]) + Send + Sync,
    ) -> Self {
        /// Smaller matrices are packed sooner than other threads are woken.
        const LARGE: usize = 1 << 18;
        let kind = TileKind::F32;
        let shape = PanelShape {
            kind,
            outputs,
            inputs,
        };
        let mut whole = Self::room(shape, 0..shape.count());
        let is_large = whole.values.len() >= LARGE;
        let panels = whole.panels_mut();
        match is_large {
            true => threads::each(panels, |(first, values)| fill(first, values)),
            false => panels.for_each(|(first, values)| fill(first, values)),
        }
        whole
    }

    /// Room for some panels: zeros where the outputs of one are fewer than a panel's, else any numbers.
    pub(super) fn room(shape: PanelShape, panels: Range<usize>) -> Self {
        const LINE: usize = 16;
        let size = panel_words(shape);
        let len = panels.len() * size;
        let mut values = Floats::any(len + LINE);
        let start = values.as_ptr().align_offset(64).min(LINE);
        if !panels.is_empty() && panels.end * PANEL > shape.outputs {
            values[start + len - size..start + len].fill(0.0);
        }
        Self {
            values,
            start,
            shape,
            panels,
        }
    }

    /// Each panel to be filled, from its first output on.
    pub(super) fn panels_mut(&mut self) -> impl Iterator<Item = (usize, &mut [f32])> {
        let size = panel_words(self.shape);
        let values = &mut self.values[self.start..self.start + self.panels.len() * size];
        let panels = self
            .panels
            .clone()
            .zip(values.chunks_exact_mut(size.max(1)));
        panels.map(|(panel, values)| (panel * PANEL, values))
    }

    /// Each panel, from its first output on.
    pub(super) fn panels(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let size = panel_words(self.shape).max(1);
        let panels = self.panels.clone().zip(self.values().chunks_exact(size));
        panels.map(|(panel, values)| (panel * PANEL, values))
    }

    /// The matrix as the kernels read it, summed in 32 bits however small it is.
    #[cfg(target_endian = "little")]
    pub(super) fn as_panels(&self) -> Panels<'_> {
        let values = self.values();
        // SAFETY: any float is four bytes, which may lie anywhere.
        #[allow(unsafe_code)]
        let bytes =
            unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
        Panels::some(bytes, self.shape, self.panels.clone())
    }

    fn values(&self) -> &[f32] {
        let len = self.panels.len() * panel_words(self.shape);
        &self.values[self.start..self.start + len]
    }
}

/// The words of four bytes in a panel.
fn panel_words(shape: PanelShape) -> usize {
    shape.panel_bytes() / size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        matrix::packed::{PackedFormat, PackedMatrix},
        random_values,
    };

    #[test]
    fn panels_are_those_of_a_packed_matrix_either_way() {
        for [outputs, inputs] in [[1, 1], [33, 31], [64, 40], [5, 130], [700, 400]] {
            let weight = random_values(outputs * inputs, 1);
            let transposed: Vec<f32> = (0..outputs * inputs)
                .map(|n| weight[n % outputs * inputs + n / outputs])
                .collect();
            let pack = |output: usize, row: &mut [f32]| {
                row.copy_from_slice(&weight[output * inputs..][..inputs]);
            };
            let expected = PackedMatrix::pack(PackedFormat::F32, outputs, inputs, pack);
            for panels in [
                TransientPanels::of(&weight, [outputs, inputs]),
                TransientPanels::of_transposed(&transposed, [outputs, inputs]),
            ] {
                for panel in 0..outputs.div_ceil(PANEL) {
                    let found = panels.as_panels().panel(panel);
                    assert_eq!(found, expected.panels().panel(panel));
                }
            }
        }
    }
}
