//! What is to be computed, and what happens to each part of it in the end.

use super::{
    epilogue::{self, Finish, Last, SliceEpilogue},
    input::Range,
    output::Output,
};
use crate::kernel::{
    isa::{Isa, prefetch, tile_kind::PANEL},
    panels::PanelShape,
};

/// What is to be computed.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) isa: Isa,
    /// Of the matrix, which panels are given with.
    pub(super) shape: PanelShape,
    pub(super) epilogue: &'a SliceEpilogue<'a>,
    pub(super) x: &'a [f32],
    pub(super) y: &'a Output<'a>,
    /// What activations are applied to.
    pub(super) kept: Option<&'a Output<'a>>,
}

/// Where sums belong: a panel's outputs of a few rows.
pub(super) struct Part<'a> {
    pub(super) panel: usize,
    /// What stands behind the panel's steps.
    pub(super) behind: &'a [u8],
    pub(super) row: usize,
    /// Of integers: how to widen each row.
    pub(super) ranges: &'a [Range],
    /// Whether the result holds the sums of earlier inputs.
    pub(super) earlier: bool,
    /// Whether no inputs are left.
    pub(super) last: bool,
}

impl Work<'_> {
    /// From the sums of a part's rows to their results.
    pub(super) fn finish(&self, part: &Part<'_>, sums: &[[f32; PANEL]]) {
        let Self {
            isa,
            shape,
            y,
            kept,
            ..
        } = *self;
        let output = part.panel * PANEL;
        let width = PANEL.min(shape.outputs - output);
        let SliceEpilogue {
            bias,
            activation,
            residual,
        } = *self.epilogue;
        let last = Last {
            bias: bias.map(|bias| &bias[output..output + width]),
            kept,
            activation,
            residual,
        };
        let job = Finish {
            kind: shape.kind,
            ranges: part.ranges,
            behind: part.behind,
            earlier: part.earlier,
            last: part.last.then_some(last),
            y,
            row: part.row,
            output,
            width,
        };
        epilogue::finish(isa, job, sums);
    }

    /// Has what a part's sums will meet brought near while they are computed: rows lie too far apart
    /// for the processor to foresee.
    pub(super) fn prefetch(&self, part: &Part<'_>) {
        const LINE: usize = 16;
        let outputs = self.shape.outputs;
        let first = part.panel * PANEL;
        let width = PANEL.min(outputs - first);
        let near = |place: *const f32| {
            prefetch(place);
            if width > LINE {
                prefetch(place.wrapping_add(LINE));
            }
        };
        for row in part.row..part.row + part.ranges.len() {
            near(self.y.place(row, first, width));
            if let Some(residual) = self.epilogue.residual {
                near(residual.as_ptr().wrapping_add(row * outputs + first));
            }
        }
    }
}
