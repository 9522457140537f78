//! A packed matrix as the tiles read it.

use super::isa::tile_kind::{PANEL, TileKind};

/// The bytes of a matrix `[outputs, inputs]` in panels of 32 outputs, and how they are multiplied.
///
/// What holds a matrix and in which number format is no business of a kernel: whoever holds one gives
/// this view of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    bytes: &'a [u8],
    kind: TileKind,
    outputs: usize,
    inputs: usize,
}

impl<'a> Panels<'a> {
    /// The view of `bytes`.
    ///
    /// # Panics
    ///
    /// If they are not as many as the panels of such a matrix take.
    pub(crate) fn new(bytes: &'a [u8], kind: TileKind, [outputs, inputs]: [usize; 2]) -> Self {
        let panels = outputs.div_ceil(PANEL);
        assert_eq!(
            bytes.len(),
            panels * kind.panel_bytes(inputs),
            "whole panels"
        );
        Self {
            bytes,
            kind,
            outputs,
            inputs,
        }
    }

    /// How its tiles are multiplied.
    pub(crate) fn kind(&self) -> TileKind {
        self.kind
    }

    /// The number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The number of panels, of which the last may have fewer outputs than the others.
    pub(crate) fn count(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// A panel's steps, and the scales and sums that stand behind them.
    pub(crate) fn panel(&self, index: usize) -> (&'a [u8], &'a [u8]) {
        let size = self.kind.panel_bytes(self.inputs);
        let panel = &self.bytes[index * size..(index + 1) * size];
        panel.split_at(self.kind.steps_bytes(self.inputs))
    }
}
