//! A packed matrix as the tiles read it.

use std::ops::Range;

use super::isa::tile_kind::{PANEL, TileKind};

/// How a matrix `[outputs, inputs]` lies in panels of 32 outputs, and how they are multiplied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelShape {
    /// How its tiles are multiplied.
    pub(crate) kind: TileKind,
    /// The number of outputs.
    pub(crate) outputs: usize,
    /// The number of inputs.
    pub(crate) inputs: usize,
}

impl PanelShape {
    /// The number of panels, of which the last may have fewer outputs than the others.
    pub(crate) fn count(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Whether matrices of both shapes read their input in one form.
    pub(crate) fn reads_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.inputs == other.inputs
    }

    /// The size of a panel in bytes.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.kind.panel_bytes(self.inputs)
    }
}

/// The bytes of a matrix, or of some of its panels.
///
/// What holds a matrix and in which number format is no business of a kernel: whoever holds one gives
/// this view of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels<'a> {
    bytes: &'a [u8],
    shape: PanelShape,
    /// The panel that the bytes begin with.
    first: usize,
}

impl<'a> Panels<'a> {
    /// The view of `bytes`, a whole matrix.
    ///
    /// # Panics
    ///
    /// If they are not as many as its panels take.
    pub(crate) fn new(bytes: &'a [u8], shape: PanelShape) -> Self {
        Self::some(bytes, shape, 0..shape.count())
    }

    /// The view of `bytes`, some panels of a matrix of that shape.
    ///
    /// # Panics
    ///
    /// If they are not as many as these take.
    pub(crate) fn some(bytes: &'a [u8], shape: PanelShape, panels: Range<usize>) -> Self {
        let size = panels.len() * shape.panel_bytes();
        assert_eq!(bytes.len(), size, "whole panels");
        Self {
            bytes,
            shape,
            first: panels.start,
        }
    }

    /// The shape of the whole matrix.
    pub(crate) fn shape(&self) -> PanelShape {
        self.shape
    }

    /// The number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// The number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.shape.inputs
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A panel's steps, and the scales and sums that stand behind them.
    pub(crate) fn panel(&self, index: usize) -> (&'a [u8], &'a [u8]) {
        let (size, own) = (self.shape.panel_bytes(), index - self.first);
        let panel = &self.bytes[own * size..(own + 1) * size];
        panel.split_at(self.shape.kind.steps_bytes(self.shape.inputs))
    }
}
