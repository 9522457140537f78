//! What is to be computed, and what happens to each part of it in the end.

use super::{
    epilogue::{self, Finish, Last, SliceEpilogue},
    input::Range,
    output::{Output, Sink},
};
use crate::kernel::{
    isa::{Isa, prefetch, tile_kind::PANEL},
    panels::{PanelShape, Panels},
};

/// What is to be computed.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) isa: Isa,
    /// Of the matrix, which panels are given with.
    pub(super) shape: PanelShape,
    pub(super) epilogue: &'a SliceEpilogue<'a>,
    pub(super) y: Sink<'a>,
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

impl<'a> Work<'a> {
    /// The product of some rows with a matrix.
    ///
    /// # Panics
    ///
    /// If the lengths of what follows the product are not those of the matrix.
    pub(super) fn new(
        isa: Isa,
        matrix: Panels<'_>,
        epilogue: &'a SliceEpilogue<'a>,
        rows: usize,
        y: Sink<'a>,
        kept: Option<&'a Output<'a>>,
    ) -> Self {
        let outputs = matrix.outputs();
        if let Some(bias) = epilogue.bias {
            assert_eq!(bias.len(), outputs, "a bias for each output");
        }
        if let Some(residual) = epilogue.residual {
            assert_eq!(residual.len(), rows * outputs, "a residual for each result");
        }
        Self {
            isa,
            shape: matrix.shape(),
            epilogue,
            y,
            kept,
        }
    }

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
            earlier: match y {
                Sink::Rows(y) if part.earlier => Some(y),
                _ => None,
            },
            last: part.last.then_some(last),
            y,
            row: part.row,
            output,
            width,
            outputs: shape.outputs,
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
            if let Sink::Rows(y) = self.y {
                near(y.place(row, first, width));
            }
            if let Some(residual) = self.epilogue.residual {
                near(residual.as_ptr().wrapping_add(row * outputs + first));
            }
        }
    }
}
