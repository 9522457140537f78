//! What attention reads: rows of the last axis, wherever they lie.

/// Keys or values, a row for each position.
pub(crate) trait KeyRows: Sync {
    /// `[batch, heads, keys, head_dim]`
    fn dims(&self) -> [usize; 4];

    /// The row of a position.
    fn row(&self, batch: usize, head: usize, position: usize) -> &[f32];
}

/// A tensor of rank 4 whose last axis is contiguous; the others may lie in any order, and an axis
/// that is to be broadcast has a stride of 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) dims: [usize; 4],
    pub(crate) strides: [usize; 3],
}

impl<'a> View<'a> {
    /// The view with its axes of length 1 repeated as `dims` has them, but for the last.
    pub(crate) fn broadcast(mut self, dims: [usize; 4]) -> Self {
        for axis in 0..3 {
            if self.dims[axis] == 1 {
                self.strides[axis] = 0;
            }
        }
        self.dims = [dims[0], dims[1], dims[2], self.dims[3]];
        self
    }

    /// A row of the last axis.
    pub(crate) fn row(&self, batch: usize, head: usize, index: usize) -> &'a [f32] {
        let [b, h, i] = self.strides;
        let start = batch * b + head * h + index * i;
        &self.data[start..start + self.dims[3]]
    }
}

impl KeyRows for View<'_> {
    fn dims(&self) -> [usize; 4] {
        self.dims
    }

    fn row(&self, batch: usize, head: usize, position: usize) -> &[f32] {
        View::row(self, batch, head, position)
    }
}

/// Keys or values of which several rows of queries see the same.
pub(crate) struct Sources<'a> {
    pub(crate) rows: View<'a>,
    /// For each row of queries, the row that it sees.
    pub(crate) sources: &'a [usize],
}

impl KeyRows for Sources<'_> {
    fn dims(&self) -> [usize; 4] {
        let [_, heads, keys, width] = self.rows.dims;
        [self.sources.len(), heads, keys, width]
    }

    fn row(&self, batch: usize, head: usize, position: usize) -> &[f32] {
        self.rows.row(self.sources[batch], head, position)
    }
}
