//! The key-value cache of autoregressive attention.
//!
//! A decode appends a position to each of its sequences at every step, and between steps it drops
//! sequences, repeats them and changes their order: beams of a search, candidates that continue one
//! prompt, rows that have ended. [`KvCache`] is told so by [`select`](KvCache::select). Where the
//! kernels run, and on a GPU, no key or value is moved by that; on other devices the rows are copied.

use burn::tensor::Tensor;

use crate::replay::PlaceCounter;
use crate::seam::{
    attention::{DotProductAttention, Operands},
    cache::{Selecting, Storage},
};

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
    /// Sequences that have the same number of positions, one group behind another: several after a
    /// [`join`](Self::join), and never none.
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    storage: Storage,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for `rows` sequences of up to `capacity` positions.
    pub fn new(rows: usize, capacity: usize) -> Self {
        Self::of_storage(Storage::Empty { rows }, capacity)
    }

    fn of_storage(storage: Storage, capacity: usize) -> Self {
        Self {
            parts: vec![Part { storage, capacity }],
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

    /// The number of positions held, of the longest sequence.
    pub fn len(&self) -> usize {
        let lens = self.parts.iter().map(|part| part.storage.len());
        lens.max().unwrap_or(0)
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of sequences held.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.storage.rows()).sum()
    }

    /// Writes new positions behind those held.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[rows, heads, new, head_dim]`
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) {
        if let [part] = self.parts.as_mut_slice() {
            return part.storage.append(keys, values, part.capacity);
        }
        let mut start = 0;
        for part in &mut self.parts {
            let rows = part.storage.rows();
            let of_part = |x: &Tensor<4>| x.clone().narrow(0, start, rows);
            part.storage
                .append(of_part(&keys), of_part(&values), part.capacity);
            start += rows;
        }
    }

    /// The [`DotProductAttention`] of queries to all positions held. A head of keys may serve a group of
    /// queries' heads.
    ///
    /// # Shapes
    ///
    /// - q: `[rows, heads, queries, head_dim]`
    pub fn attention(&self, q: Tensor<4>, scale: f64) -> DotProductAttention<'_> {
        let Some((first, behind)) = self.parts.split_first() else {
            return DotProductAttention::of(Operands::Nothing { q }, scale);
        };
        if behind.is_empty() {
            return DotProductAttention::of(first.storage.operands(q), scale);
        }
        let mut start = 0;
        let mut of_part = |part: &'_ Part| {
            let rows = part.storage.rows();
            start += rows;
            q.clone().narrow(0, start - rows, rows)
        };
        let mut described = DotProductAttention::of(first.storage.operands(of_part(first)), scale);
        described.behind = behind
            .iter()
            .map(|part| part.storage.operands(of_part(part)))
            .collect();
        described
    }

    /// Keeps the sequences `rows`, in that order.
    ///
    /// One may be named several times. Sequences that joined stay in one group while their order among
    /// the others does: what mixes groups splits them.
    ///
    /// # Panics
    ///
    /// If a row is named that is not held, as slice indexing does.
    pub fn select(&mut self, rows: &[usize]) {
        self.select_sharing(rows, &mut Selecting::default());
    }

    /// Keeps the sequences `rows`, in that order, of caches that hold the same positions, as those of a model's layers
    /// do: as [`select`](Self::select) of each, but a device is told once.
    ///
    /// ```
    /// use blip2_kernels::KvCache;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let mut layers = vec![KvCache::new(1, 10); 3];
    /// for cache in &mut layers {
    ///     let positions = Tensor::<4>::ones([1, 2, 3, 8], &Device::flex());
    ///     cache.append(positions.clone(), positions);
    /// }
    /// KvCache::select_all(&mut layers, &[0, 0]);
    /// assert!(layers.iter().all(|cache| cache.rows() == 2));
    /// ```
    ///
    /// # Panics
    ///
    /// If a row is named that is not held, as slice indexing does.
    pub fn select_all<'a>(caches: impl IntoIterator<Item = &'a mut Self>, rows: &[usize]) {
        let mut selecting = Selecting::default();
        for cache in caches {
            cache.select_sharing(rows, &mut selecting);
        }
    }

    fn select_sharing(&mut self, rows: &[usize], selecting: &mut Selecting) {
        if let [part] = self.parts.as_mut_slice() {
            return part.storage.select(rows, selecting);
        }
        let runs = runs(&self.starts(), rows);
        let uses = |part| runs.iter().filter(|(other, _)| *other == part).count();
        let uses: Vec<usize> = (0..self.parts.len()).map(uses).collect();
        let mut held: Vec<Option<Part>> = self.parts.drain(..).map(Some).collect();
        for (part, rows) in runs {
            // Only what others stand between is copied.
            let part = match uses[part] {
                1 => held[part].take(),
                _ => held[part].clone(),
            };
            self.parts.extend(part.map(|mut part| {
                part.storage.select(&rows, selecting);
                part
            }));
        }
    }

    /// Drops the last `count` positions of every sequence, as if they had not been appended: tokens that were
    /// tried and are not kept. The first positions that were appended, the prompt's, stay.
    ///
    /// ```
    /// use blip2_kernels::KvCache;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let positions = |new| Tensor::<4>::ones([1, 2, new, 8], &Device::flex());
    /// let mut cache = KvCache::new(1, 10);
    /// cache.append(positions(3), positions(3)); // a prompt
    /// cache.append(positions(4), positions(4)); // four tokens in one pass …
    /// cache.drop_last(3); // … of which one holds
    /// assert_eq!(cache.len(), 4);
    /// ```
    pub fn drop_last(&mut self, count: usize) {
        for part in &mut self.parts {
            part.storage.drop_last(count);
        }
    }

    /// Has kernels read in `counter`, which counts as many places, how many there are and where they lie; or, with
    /// `None`, tells them, as at first. A bias of what attends to them has a number for each place for which there is room
    /// ([`capacity`](Self::capacity)) where they read it.
    ///
    /// `false` for a cache that is not in a device's memory, whose sequences are of different lengths, or were moved
    /// in another way than those that the counter was made of.
    pub fn count_by(&mut self, counter: Option<&PlaceCounter>) -> bool {
        match self.parts.as_mut_slice() {
            [part] => part.storage.count_by(counter),
            _ => false,
        }
    }

    /// A counter that counts on from the places held, and moves the sequences from where they are; `None` for a cache
    /// that is not in a device's memory, or whose sequences are of different lengths.
    pub fn counter(&self) -> Option<PlaceCounter> {
        match self.parts.as_slice() {
            [part] => part.storage.counter(),
            _ => None,
        }
    }

    /// The places for which there is room, if that is known: of a cache in a device's memory.
    pub fn capacity(&self) -> Option<usize> {
        match self.parts.as_slice() {
            [part] => part.storage.capacity(),
            _ => None,
        }
    }

    /// Counts a place that a [replayed](crate::replay::Replay) step wrote.
    pub fn note_written(&mut self) {
        for part in &mut self.parts {
            part.storage.note_written();
        }
    }

    /// The first row of each part, and the number of all rows.
    fn starts(&self) -> Vec<usize> {
        let mut starts = vec![0];
        for part in &self.parts {
            starts.push(starts[starts.len() - 1] + part.storage.rows());
        }
        starts
    }

    /// Takes the sequences of another cache behind its own, with however many positions they have. Each
    /// attends to what it would alone; only products of weights are shared.
    ///
    /// ```
    /// use blip2_kernels::KvCache;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let positions = |rows, new| Tensor::<4>::ones([rows, 2, new, 8], &Device::flex());
    /// let mut cache = KvCache::of(positions(1, 5), positions(1, 5));
    /// cache.join(KvCache::of(positions(2, 3), positions(2, 3)));
    /// assert_eq!((cache.rows(), cache.len()), (3, 5)); // the longest has five
    /// let attended = cache.attention(positions(3, 1), 1.0).forward();
    /// assert_eq!(attended.output.dims(), [3, 2, 1, 8]);
    /// ```
    pub fn join(&mut self, other: Self) {
        self.parts.extend(other.parts);
        let filled = self.parts.iter().any(|part| part.storage.rows() > 0);
        // Of a batch whose rows have all ended nothing is left to be computed.
        if filled {
            self.parts.retain(|part| part.storage.rows() > 0);
        }
    }
}

/// Rows, as neighbours that are of one part: the part, and their places in it.
fn runs(starts: &[usize], rows: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let mut runs: Vec<(usize, Vec<usize>)> = Vec::new();
    for &row in rows {
        let part = starts.partition_point(|&start| start <= row) - 1;
        let place = row - starts[part];
        match runs.last_mut() {
            Some((last, places)) if *last == part => places.push(place),
            _ => runs.push((part, vec![place])),
        }
    }
    runs
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
        let cache = TensorCache::new(keys, values, capacity);
        KvCache::of_storage(Storage::Tensors(Box::new(cache)), capacity)
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
                let (keys, values) = cache.parts[0].storage.tensors(&all.device()).unwrap();
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

    /// Rows of different lengths attend as each would alone, to the bit; whatever is selected of them.
    #[test]
    fn sequences_that_joined_attend_as_alone() {
        let lens = [5, 3, 4];
        let parts = lens.map(|len| (random([2, 2, len, 40]), random([2, 2, len, 40])));
        let (q, new, bias) = (
            random([6, 4, 1, 40]),
            random([6, 2, 1, 40]),
            random([6, 1, 1, 6]),
        );
        let row = |x: &Tensor<4>, row: usize| x.clone().narrow(0, row, 1);
        for rows in [
            vec![0, 1, 2, 3, 4, 5],
            vec![1, 2, 2, 5],
            vec![4, 0, 5, 1],
            vec![3],
        ] {
            let mut joined = KvCache::of(parts[0].0.clone(), parts[0].1.clone());
            for (keys, values) in &parts[1..] {
                joined.join(KvCache::of(keys.clone(), values.clone()));
            }
            joined.select(&rows);
            let all = |x: &Tensor<4>| gathered(x, &rows);
            joined.append(all(&new), all(&new) * 3.0);
            let longest = rows.iter().map(|row| lens[row / 2] + 1).max().unwrap();
            assert_eq!((joined.rows(), joined.len()), (rows.len(), longest));
            let bias = bias.clone().narrow(3, 6 - longest, longest);
            for keep_map in [false, true] {
                let attended = joined
                    .attention(all(&q), 0.3)
                    .with_bias(all(&bias))
                    .with_map(keep_map)
                    .forward();
                for (place, &one) in rows.iter().enumerate() {
                    let (keys, values) = &parts[one / 2];
                    let mut alone = KvCache::of(row(keys, one % 2), row(values, one % 2));
                    alone.append(row(&new, one), row(&new, one) * 3.0);
                    let keys = lens[one / 2] + 1;
                    let expected = alone
                        .attention(row(&q, one), 0.3)
                        .with_bias(row(&bias, one).narrow(3, longest - keys, keys))
                        .with_map(keep_map)
                        .forward();
                    let same = |a: Tensor<4>, b: Tensor<4>| {
                        row(&a, place).into_data().assert_eq(&b.into_data(), true);
                    };
                    same(attended.output.clone(), expected.output);
                    if let (Some(map), Some(expected)) = (attended.map.clone(), expected.map) {
                        same(map.narrow(3, longest - keys, keys), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn positions_that_were_dropped_are_written_again() {
        let all = random([2, 3, 9, 4]);
        let part = |start, new| all.clone().narrow(2, start, new);
        let mut shared = KvCache::new(2, 4);
        let mut direct = direct(part(0, 2), part(0, 2) * 2.0, 4);
        shared.append(part(0, 2), part(0, 2) * 2.0);
        for cache in [&mut shared, &mut direct] {
            cache.append(part(5, 4), part(5, 4));
            cache.drop_last(3);
            assert_eq!(cache.len(), 3);
            cache.select(&[1, 0]);
            cache.append(part(7, 1), part(7, 1));
            cache.drop_last(2);
            cache.select(&[1, 0]);
            cache.append(part(2, 6), part(2, 6) * 2.0);
            let (keys, values) = cache.parts[0].storage.tensors(&all.device()).unwrap();
            keys.into_data().assert_eq(&part(0, 8).into_data(), true);
            values
                .into_data()
                .assert_eq(&(part(0, 8) * 2.0).into_data(), true);
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
                    let (keys, values) = cache.parts[0].storage.tensors(&new.device()).unwrap();
                    keys.into_data().assert_eq(&expected.clone().into_data(), true);
                    values.into_data().assert_eq(&(expected.clone() * 3.0).into_data(), true);
                }
            }
        }
    }
}
