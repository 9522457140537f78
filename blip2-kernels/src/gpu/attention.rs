//! Attention without a map: a cube takes some queries of a head through all keys, some keys at a time,
//! and keeps of the softmax no more than its largest score and its sum (Milakov and Gimelshein, 2018;
//! Dao et al., 2022).

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::{
    cubecl::{self, prelude::*},
    kernel::into_contiguous,
    tensor::CubeTensor,
};

use super::{
    count,
    counter::Counter,
    newest::attend_newest,
    places::{
        BiasPlace, BiasPlaceLaunch, Extent, ExtentLaunch, LOWEST, Place, PlaceLaunch, VECTOR,
    },
    rows::{RowTable, row_of},
    sum::{fold, fold_max},
    tensors::{self, UNITS, as_it_lies, buffer, bytes, elements, empty, lift, lower},
    tiled,
};

/// Queries of a cube where there are many: they share what is read of keys and values.
const QUERIES: usize = 4;

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn attend<N: Size>(
    q: &[Vector<f32, N>],
    k: &[Vector<f32, N>],
    v: &[Vector<f32, N>],
    bias: &[f32],
    rows: &[u32],
    y: &mut [Vector<f32, N>],
    q_at: Place,
    k_at: Place,
    v_at: Place,
    bias_at: BiasPlace,
    extent: Extent,
    scale: f32,
    #[comptime] vectors: usize,
    #[comptime] together: usize,
    #[comptime] has_bias: bool,
    #[comptime] has_rows: bool,
) {
    let units = comptime!(UNITS as usize);
    let unit = UNIT_POS as usize;
    if CUBE_POS >= extent.cubes {
        terminate!();
    }
    let tiles = extent.queries.div_ceil(together);
    let first = CUBE_POS % tiles * together;
    let head = CUBE_POS / tiles % extent.heads;
    let batch = CUBE_POS / tiles / extent.heads;
    let k_start = k_at.start + head / extent.group * k_at.head;
    let v_start = v_at.start + head / extent.group * v_at.head;

    // Queries that are not there are the last one, and written nowhere.
    let mut queries = Shared::<[Vector<f32, N>]>::new_slice(comptime!(together * vectors));
    let mut at = unit;
    while at < comptime!(together * vectors) {
        let query = min(first + at / vectors, extent.queries - 1);
        let start = q_at.start + batch * q_at.batch + head * q_at.head + query * q_at.index;
        queries[at] = q[start + at % vectors];
        at += units;
    }

    let mut scores = Shared::<[f32]>::new_slice(comptime!(together * units));
    let mut folded = Shared::<[f32]>::new_slice(comptime!(together * units));
    let mut largest = Array::<f32>::new(together);
    let mut sums = Array::<f32>::new(together);
    let mut outputs = Array::<Vector<f32, N>>::new(together);
    #[unroll]
    for i in 0..together {
        largest[i] = LOWEST;
        sums[i] = 0.0;
        outputs[i] = Vector::new(0.0);
    }
    // For the values, each group of units takes keys a fixed step apart, and each of its units a vector.
    let groups = comptime!(units / vectors);
    let (group, lane) = (unit / vectors, unit % vectors);
    let mut chunk = 0usize;
    while chunk < extent.keys {
        sync_cube();
        let key = chunk + unit;
        let there = key < extent.keys;
        let mut mine = Array::<f32>::new(together);
        #[unroll]
        for i in 0..together {
            mine[i] = 0.0;
        }
        if there {
            let row = row_of(rows, batch, key, extent.row, has_rows);
            let start = k_start + row * k_at.batch + key * k_at.index;
            #[unroll]
            for part in 0..vectors {
                let k = k[start + part];
                #[unroll]
                for i in 0..together {
                    let products = k * queries[i * vectors + part];
                    #[unroll]
                    for e in 0..comptime!(VECTOR) {
                        mine[i] += products.extract(e);
                    }
                }
            }
        }
        #[unroll]
        for i in 0..together {
            let mut score = mine[i] * scale;
            if has_bias {
                if there {
                    let query = min(first + i, extent.queries - 1);
                    let row = batch * bias_at.batch + head * bias_at.head + query * bias_at.query;
                    score += bias[row + key];
                }
            }
            mine[i] = select(there, score, LOWEST);
            folded[unit * together + i] = mine[i];
        }
        fold_max(&mut folded, together.runtime(), units, units);
        let mut shrink = Array::<f32>::new(together);
        #[unroll]
        for i in 0..together {
            let now = max(largest[i], folded[i]);
            shrink[i] = (largest[i] - now).exp();
            largest[i] = now;
        }
        sync_cube();
        #[unroll]
        for i in 0..together {
            let weight = select(there, (mine[i] - largest[i]).exp(), 0.0);
            scores[i * units + unit] = weight;
            folded[unit * together + i] = weight;
        }
        fold(&mut folded, together.runtime(), units, units);
        #[unroll]
        for i in 0..together {
            sums[i] = sums[i] * shrink[i] + folded[i];
            outputs[i] *= Vector::new(shrink[i]);
        }
        if group < groups {
            let end = min(extent.keys - chunk, units);
            let mut place = group;
            while place < end {
                let row = row_of(rows, batch, chunk + place, extent.row, has_rows);
                let v = v[v_start + row * v_at.batch + (chunk + place) * v_at.index + lane];
                #[unroll]
                for i in 0..together {
                    outputs[i] += v * Vector::new(scores[i * units + place]);
                }
                place += groups;
            }
        }
        chunk += units;
    }

    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(comptime!(together * groups * vectors));
    if group < groups {
        #[unroll]
        for i in 0..together {
            parts[(i * groups + group) * vectors + lane] = outputs[i];
        }
    }
    sync_cube();
    #[unroll]
    for i in 0..together {
        if unit < vectors && first + i < extent.queries {
            let mut sum = Vector::new(0.0);
            for group in 0..groups {
                sum += parts[(i * groups + group) * vectors + unit];
            }
            let row = (batch * extent.queries + first + i) * extent.heads + head;
            y[row * vectors + unit] = sum / Vector::new(sums[i]);
        }
    }
}

/// A tensor `[batch, heads, places, head_dim]` as it lies, and from which head on it is meant.
pub(crate) struct Heads {
    tensor: CubeTensor,
    start: usize,
    count: usize,
}

impl Heads {
    /// `count` heads from `first` on of a tensor that lies as the kernel reads it; else `None`.
    pub(crate) fn new(tensor: CubeTensor, first: usize, count: usize) -> Option<Self> {
        let strides = tensor.meta.strides();
        let whole = strides[..3].iter().all(|step| step.is_multiple_of(VECTOR));
        let heads = strides[3] == 1 && whole && tensor.meta.shape()[3].is_multiple_of(VECTOR);
        let start = first * strides[1];
        heads.then_some(Self {
            tensor,
            start,
            count,
        })
    }

    /// All heads of a tensor, which is copied if it does not lie as the kernel reads it.
    pub(crate) fn all(tensor: &Tensor<4>) -> Option<Self> {
        let lying = as_it_lies(tensor)?;
        let lying = match lying.meta.strides()[3] {
            1 => lying,
            _ => into_contiguous(lying),
        };
        Self::new(lying, 0, tensor.dims()[1])
    }

    fn place(&self) -> PlaceLaunch {
        let strides = self.tensor.meta.strides();
        let [batch, head, index] = [0, 1, 2].map(|axis| strides[axis] / VECTOR);
        PlaceLaunch::new(self.start / VECTOR, batch, head, index)
    }

    fn buffer(&self) -> BufferArg {
        buffer(
            &self.tensor,
            self.tensor.handle.size_in_used() as usize / 4 / VECTOR,
        )
    }
}

/// How many places of keys and values there are.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) count: usize,
    /// Where the kernel is to read it, in place of being told: then a bias has a number for each place for
    /// which there is room.
    pub(crate) counter: Option<&'a Counter>,
    /// Where they are, of sequences that moved.
    pub(crate) rows: Option<&'a RowTable>,
}

impl Places<'_> {
    pub(crate) fn told(count: usize) -> Self {
        Self {
            count,
            counter: None,
            rows: None,
        }
    }
}

/// `softmax(q · kᵀ · scale + bias) · v` of keys and values of some places, `[batch, heads, queries, head_dim]`; `None` for
/// what the kernel does not take. The `newest` key and value, if they are given, are not among `k` and
/// `v` yet, which have room for them: one query attends to them, and they are written there.
pub(crate) fn attention(
    [q, k, v]: [&Heads; 3],
    places: Places<'_>,
    newest: Option<[&Heads; 2]>,
    bias: Option<&Tensor<4>>,
    scale: f64,
) -> Option<Tensor<4>> {
    let (keys, counter, rows) = (places.count, places.counter, places.rows);
    let shape = q.tensor.meta.shape();
    let (batch, queries, width) = (shape[0], shape[2], shape[3]);
    let (heads, groups) = (q.count, k.count);
    let vectors = width / VECTOR;
    let empty_of = batch * heads * groups * queries * keys * width == 0;
    if newest.is_some() && queries != 1 {
        return None;
    }
    if empty_of || v.tensor.meta.shape()[3] != width || vectors > UNITS as usize / 4 {
        return None;
    }
    let bias = match bias {
        Some(bias) if bias.dims()[3] == keys || counter.is_some() => {
            Some((lower(bias)?, bias.dims()))
        }
        Some(_) => return None,
        None => None,
    };
    let bias_at = match &bias {
        Some((_, [b, h, queries, keys])) => {
            let step = |axis: usize, step: usize| if axis == 1 { 0 } else { step };
            BiasPlaceLaunch::new(
                step(*b, h * queries * keys),
                step(*h, queries * keys),
                step(*queries, *keys),
            )
        }
        None => BiasPlaceLaunch::new(0, 0, 0),
    };
    // Many queries are a prompt's, whose sequences did not move yet; others may take longer.
    let is_tiled = queries >= tiled::QUERIES && vectors <= tiled::MOST_VECTORS && rows.is_none();
    let together = match queries {
        1 => 1,
        _ if is_tiled => tiled::QUERIES,
        _ => QUERIES,
    };
    let cubes = batch * heads * queries.div_ceil(together);
    let y = empty(&q.tensor, [batch, queries, heads, width], DType::F32);
    let held = 2 * 4 * batch * groups * keys * width;
    let table = rows.map_or(0, |_| 4 * batch * keys);
    count::moves(2 * bytes(&y) + held + table + bias.as_ref().map_or(0, |(bias, _)| bytes(bias)));
    let rows_buffer = || rows.map_or_else(|| q.buffer(), RowTable::buffer);
    let row = rows.map_or(0, |_| k.tensor.meta.shape()[2]);
    let bias_tensor = bias.as_ref().map_or(&q.tensor, |(bias, _)| bias);
    if let Some([new_k, new_v]) = newest {
        // What is told does not change from step to step.
        let told = if counter.is_some() { 0 } else { keys };
        // Written where keys and values are counted as read.
        count::moves(2 * 4 * batch * groups * width);
        // SAFETY: as below; the newest key and value of each head are read where they are, by their
        // shapes and strides, and written to a place of the cache's own, by one cube.
        unsafe {
            attend_newest::launch_unchecked(
                &q.tensor.client,
                tensors::cubes(cubes),
                CubeDim::new_1d(UNITS),
                VECTOR,
                q.buffer(),
                new_k.buffer(),
                new_v.buffer(),
                buffer(bias_tensor, elements(bias_tensor)),
                counter.map_or_else(|| q.buffer(), Counter::buffer),
                rows_buffer(),
                k.buffer(),
                v.buffer(),
                buffer(&y, elements(&y) / VECTOR),
                q.place(),
                new_k.place(),
                new_v.place(),
                k.place(),
                v.place(),
                bias_at,
                ExtentLaunch::new(heads, heads / groups, queries, told, cubes, row),
                scale as f32,
                vectors,
                bias.is_some(),
                counter.is_some(),
                rows.is_some(),
            );
        }
        return Some(lift::<4>(y).swap_dims(1, 2));
    }
    if is_tiled {
        // SAFETY: as below.
        unsafe {
            tiled::attend::launch_unchecked(
                &q.tensor.client,
                tensors::cubes(cubes),
                CubeDim::new_1d(UNITS),
                VECTOR,
                q.buffer(),
                k.buffer(),
                v.buffer(),
                buffer(bias_tensor, elements(bias_tensor)),
                buffer(&y, elements(&y) / VECTOR),
                q.place(),
                k.place(),
                v.place(),
                bias_at,
                ExtentLaunch::new(heads, heads / groups, queries, keys, cubes, row),
                scale as f32,
                vectors,
                bias.is_some(),
            );
        }
        return Some(lift::<4>(y).swap_dims(1, 2));
    }
    // SAFETY: a cube reads queries, keys and values of a head that the tensors have, by their shapes
    // and strides, and a bias of every key where there is one; it writes the outputs of its queries.
    unsafe {
        attend::launch_unchecked(
            &q.tensor.client,
            tensors::cubes(cubes),
            CubeDim::new_1d(UNITS),
            VECTOR,
            q.buffer(),
            k.buffer(),
            v.buffer(),
            buffer(bias_tensor, elements(bias_tensor)),
            rows_buffer(),
            buffer(&y, elements(&y) / VECTOR),
            q.place(),
            k.place(),
            v.place(),
            bias_at,
            ExtentLaunch::new(heads, heads / groups, queries, keys, cubes, row),
            scale as f32,
            vectors,
            together,
            bias.is_some(),
            rows.is_some(),
        );
    }
    Some(lift::<4>(y).swap_dims(1, 2))
}
