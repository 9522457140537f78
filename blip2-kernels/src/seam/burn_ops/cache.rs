//! A cache of tensors: each sequence has rows of its own, which are copied when sequences change.

use burn::tensor::{Int, Tensor};

/// Keys and values in buffers whose first `len` positions count.
#[derive(Debug, Clone)]
pub(crate) struct TensorCache {
    keys: Tensor<4>,
    values: Tensor<4>,
    len: usize,
}

impl TensorCache {
    /// A cache of first positions with room for `capacity`.
    pub(crate) fn new(keys: Tensor<4>, values: Tensor<4>, capacity: usize) -> Self {
        let len = keys.dims()[2];
        let mut cache = Self { keys, values, len };
        if capacity > len {
            cache.grow(capacity);
        }
        cache
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn rows(&self) -> usize {
        self.keys.dims()[0]
    }

    pub(crate) fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) {
        let [rows, heads, new, head_dim] = keys.dims();
        let end = self.len + new;
        if end > self.keys.dims()[2] {
            self.grow(end.next_power_of_two());
        }
        let place = [0..rows, 0..heads, self.len..end, 0..head_dim];
        // Taking the buffers out makes them unique, so that the write happens in place.
        self.keys = self.keys.extract().slice_assign(place.clone(), keys);
        self.values = self.values.extract().slice_assign(place, values);
        self.len = end;
    }

    /// What is returned shares the cache's memory: drop it before the next `append`, or that one
    /// has to copy.
    pub(crate) fn tensors(&self) -> (Tensor<4>, Tensor<4>) {
        (
            self.keys.clone().narrow(2, 0, self.len),
            self.values.clone().narrow(2, 0, self.len),
        )
    }

    pub(crate) fn drop_last(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
    }

    pub(crate) fn select(&mut self, rows: &[usize]) {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &self.keys.device());
        self.keys = self.keys.extract().select(0, rows.clone());
        self.values = self.values.extract().select(0, rows);
    }

    fn grow(&mut self, capacity: usize) {
        for buffer in [&mut self.keys, &mut self.values] {
            let [rows, heads, old, head_dim] = buffer.dims();
            let larger = Tensor::zeros([rows, heads, capacity, head_dim], &buffer.device());
            let place = [0..rows, 0..heads, 0..old, 0..head_dim];
            *buffer = larger.slice_assign(place, buffer.extract());
        }
    }
}
