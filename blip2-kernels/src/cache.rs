//! The key-value cache of autoregressive attention.

use burn::tensor::{Device, Int, Tensor};

/// Keys and values of the positions seen so far, in buffers that were allocated once.
///
/// New positions are written in place behind the old ones; the buffers grow, by doubling, only if
/// the promised capacity was too small.
#[derive(Debug, Clone)]
pub struct KvCache {
    keys: Tensor<4>,
    values: Tensor<4>,
    len: usize,
}

impl KvCache {
    /// An empty cache for `rows` sequences of up to `capacity` positions.
    pub fn new(
        rows: usize,
        heads: usize,
        capacity: usize,
        head_dim: usize,
        device: &Device,
    ) -> Self {
        let shape = [rows, heads, capacity, head_dim];
        Self {
            keys: Tensor::zeros(shape, device),
            values: Tensor::zeros(shape, device),
            len: 0,
        }
    }

    /// The number of positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of sequences held.
    pub fn rows(&self) -> usize {
        self.keys.dims()[0]
    }

    /// Writes new positions and returns the keys and values of all positions so far.
    ///
    /// What is returned shares the cache's memory: drop it before the next `append`, or that one
    /// has to copy.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[rows, heads, new, head_dim]`
    /// - output: twice `[rows, heads, len, head_dim]`
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
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
        (
            self.keys.clone().narrow(2, 0, end),
            self.values.clone().narrow(2, 0, end),
        )
    }

    /// Keeps the sequences `rows`, in that order; one may be named several times.
    ///
    /// # Shapes
    ///
    /// - rows: `[new_rows]`
    pub fn select(&mut self, rows: Tensor<1, Int>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn appended_positions_come_back_in_order_beyond_the_capacity() {
        let device = Device::flex();
        let all = Tensor::<4>::random([2, 3, 7, 4], Distribution::Default, &device);
        let mut cache = KvCache::new(2, 3, 2, 4, &device);
        assert!(cache.is_empty());
        for (start, new) in [(0, 2), (2, 1), (3, 4)] {
            let part = all.clone().narrow(2, start, new);
            let (keys, values) = cache.append(part.clone(), part * 2.0);
            let so_far = all.clone().narrow(2, 0, start + new);
            keys.into_data()
                .assert_eq(&so_far.clone().into_data(), true);
            values
                .into_data()
                .assert_eq(&(so_far * 2.0).into_data(), true);
        }
        assert_eq!((cache.len(), cache.rows()), (7, 2));
    }

    #[test]
    fn rows_are_reordered_and_repeated() {
        let device = Device::flex();
        let all = Tensor::<4>::random([2, 1, 2, 3], Distribution::Default, &device);
        let mut cache = KvCache::new(2, 1, 4, 3, &device);
        cache.append(all.clone(), all.clone());
        cache.select(Tensor::from_ints([1, 1, 0], &device));
        let next = Tensor::<4>::ones([3, 1, 1, 3], &device);
        let (keys, _) = cache.append(next.clone(), next.clone());
        let expected = Tensor::cat(
            vec![all.select(0, Tensor::from_ints([1, 1, 0], &device)), next],
            2,
        );
        keys.into_data().assert_eq(&expected.into_data(), true);
    }
}
