//! Matrices as they lie in memory.

/// A matrix as it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    /// From row to row, and from column to column.
    pub(crate) strides: [usize; 2],
}

impl<'a> View<'a> {
    /// A matrix whose rows of `width` follow one another.
    pub(crate) fn rows(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            strides: [width, 1],
        }
    }

    /// The matrix transposed.
    pub(crate) fn transposed(self) -> Self {
        let [down, along] = self.strides;
        Self {
            strides: [along, down],
            ..self
        }
    }

    /// Whether it has that number of rows and columns.
    pub(super) fn holds(&self, [rows, columns]: [usize; 2]) -> bool {
        let [down, along] = self.strides;
        rows == 0 || columns == 0 || self.data.len() > (rows - 1) * down + (columns - 1) * along
    }

    pub(super) fn from(&self, row: usize, column: usize) -> &'a [f32] {
        let [down, along] = self.strides;
        &self.data[row * down + column * along..]
    }
}

/// Where a product goes: rows of contiguous numbers, `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: *mut f32,
    pub(crate) stride: usize,
}

/// A tile's operands.
pub(super) struct Parts<'a> {
    pub(super) a: View<'a>,
    pub(super) b: View<'a>,
    /// At most 12 rows, what is summed over, and at most 32 columns.
    pub(super) dims: [usize; 3],
}
