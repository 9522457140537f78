//! The key-value cache of autoregressive attention.
//!
//! A decode appends a position to each of its sequences at every step, and between steps it drops
//! sequences, repeats them and changes their order: beams of a search, candidates that continue one
//! prompt, rows that have ended. [`KvCache`] is told so by [`select`](KvCache::select). Where the
//! kernels run, no key or value is moved by that; on other devices the rows are copied.

use burn::tensor::Tensor;

use crate::seam::{attention::DotProductAttention, cache::Storage};

/// Keys and values of the positions seen so far.
///
/// The first positions that are appended, the prompt's, are held once for all sequences that come
/// to continue it. Room for the later ones is made once, as promised by the capacity; it grows, by
/// doubling, only if that was too small.
///
/// ```
/// use blip2_kernels::KvCache;
/// use burn::tensor::{Device, Tensor};
///
/// let positions = |rows, new| Tensor::<4>::ones([rows, 2, new, 8], &Device::flex());
/// let mut cache = KvCache::new(1, 10);
/// cache.append(positions(1, 3), positions(1, 3)); // a prompt of three positions
/// cache.select(&[0, 0]); // two beams of it
/// cache.append(positions(2, 1), positions(2, 1)); // a token for each
/// assert_eq!((cache.rows(), cache.len()), (2, 4));
/// let attended = cache.attention(positions(2, 1), 8f64.sqrt().recip()).forward();
/// assert_eq!(attended.output.dims(), [2, 2, 1, 8]);
/// ```
#[derive(Debug, Clone)]
pub struct KvCache {
    storage: Storage,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for `rows` sequences of up to `capacity` positions.
    pub fn new(rows: usize, capacity: usize) -> Self {
        Self {
            storage: Storage::Empty { rows },
            capacity,
        }
    }

    /// A cache of positions to which none will be added: what cross-attention attends to.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[rows, heads, len, head_dim]`
    pub fn of(keys: Tensor<4>, values: Tensor<4>) -> Self {
        let [rows, _, len, _] = keys.dims();
        let mut cache = Self::new(rows, len);
        cache.append(keys, values);
        cache
    }

    /// The number of positions held.
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of sequences held.
    pub fn rows(&self) -> usize {
        self.storage.rows()
    }

    /// Writes new positions behind those held.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[rows, heads, new, head_dim]`
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) {
        self.storage.append(keys, values, self.capacity);
    }

    /// The [`DotProductAttention`] of queries to all positions held. A head of keys may serve a group of
    /// queries' heads.
    ///
    /// # Shapes
    ///
    /// - q: `[rows, heads, queries, head_dim]`
    pub fn attention(&self, q: Tensor<4>, scale: f64) -> DotProductAttention<'_> {
        DotProductAttention::of(self.storage.operands(q), scale)
    }

    /// Keeps the sequences `rows`, in that order; one may be named several times.
    ///
    /// # Panics
    ///
    /// If a row is named that is not held, as slice indexing does.
    pub fn select(&mut self, rows: &[usize]) {
        self.storage.select(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::burn_ops::cache::TensorCache;
    use burn::tensor::{Device, Distribution, Int, Tolerance};
    use proptest::prelude::*;

    fn random(shape: [usize; 4]) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    /// A cache of tensors that kernels do not take.
    fn direct(keys: Tensor<4>, values: Tensor<4>, capacity: usize) -> KvCache {
        KvCache {
            storage: Storage::Tensors(Box::new(TensorCache::new(keys, values, capacity))),
            capacity,
        }
    }

    fn gathered(x: &Tensor<4>, rows: &[usize]) -> Tensor<4> {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &x.device());
        x.clone().select(0, rows)
    }

    #[test]
    fn positions_come_back_in_order_beyond_the_capacity() {
        let all = random([2, 3, 7, 4]);
        let part = |start, new| all.clone().narrow(2, start, new);
        let mut shared = KvCache::new(2, 2);
        let mut direct = direct(part(0, 2), part(0, 2) * 2.0, 2);
        shared.append(part(0, 2), part(0, 2) * 2.0);
        for (start, new) in [(2, 1), (3, 4)] {
            for cache in [&mut shared, &mut direct] {
                cache.append(part(start, new), part(start, new) * 2.0);
                let (keys, values) = cache.storage.tensors(&all.device()).unwrap();
                let so_far = part(0, start + new);
                keys.into_data()
                    .assert_eq(&so_far.clone().into_data(), true);
                values
                    .into_data()
                    .assert_eq(&(so_far * 2.0).into_data(), true);
                assert_eq!((cache.len(), cache.rows()), (start + new, 2));
            }
        }
    }

    #[test]
    fn heads_of_keys_serve_groups_and_padding_stays_hidden() {
        let (q, k, v) = (
            random([2, 6, 3, 40]),
            random([2, 2, 9, 40]),
            random([2, 2, 9, 40]),
        );
        let bias = random([2, 1, 1, 9]);
        let expected = DotProductAttention::new(q.clone(), k.clone(), v.clone(), 0.2)
            .with_bias(bias.clone())
            .with_map(true)
            .forward();
        let cache = KvCache::of(k, v);
        for keep_map in [false, true] {
            let attended = cache
                .attention(q.clone(), 0.2)
                .with_bias(bias.clone())
                .with_map(keep_map)
                .forward();
            attended.output.into_data().assert_approx_eq::<f32>(
                &expected.output.clone().into_data(),
                Tolerance::absolute(1e-5),
            );
            assert_eq!(attended.map.is_some(), keep_map);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever a search does to its rows, both storages hold what copying would.
        #[test]
        fn rows_are_dropped_repeated_and_reordered(
            prompts in 1usize..4,
            prompt in 1usize..4,
            capacity in 0usize..6,
            steps in prop::collection::vec(prop::collection::vec(0usize..16, 1..6), 0..6),
        ) {
            let mut expected = random([prompts, 2, prompt, 3]);
            let mut shared = KvCache::new(prompts, capacity);
            shared.append(expected.clone(), expected.clone() * 3.0);
            let mut direct = direct(expected.clone(), expected.clone() * 3.0, capacity);
            for parents in steps {
                let rows = expected.dims()[0];
                let parents: Vec<usize> = parents.iter().map(|parent| parent % rows).collect();
                let new = random([parents.len(), 2, 1, 3]);
                expected = Tensor::cat(vec![gathered(&expected, &parents), new.clone()], 2);
                for cache in [&mut shared, &mut direct] {
                    cache.select(&parents);
                    cache.append(new.clone(), new.clone() * 3.0);
                    let (keys, values) = cache.storage.tensors(&new.device()).unwrap();
                    keys.into_data().assert_eq(&expected.clone().into_data(), true);
                    values.into_data().assert_eq(&(expected.clone() * 3.0).into_data(), true);
                }
            }
        }
    }
}
