//! Attention and its gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{Step, absent, any_recorded, lifted, operand, record, slice, tensor};
use crate::{
    isa::{Isa, vectorized},
    math,
};

/// `softmax(q · kᵀ · scale + bias) · v`, with as many heads of keys as of queries. Maps are not kept:
/// they are computed again for the gradient. A bias that wants a gradient is declined.
pub(crate) fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    scale: f64,
    bias: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    if !any_recorded([q.device(), k.device(), v.device()]) {
        return None;
    }
    let [batch, heads, queries, _] = q.dims();
    let [_, groups, keys, _] = k.dims();
    let width = v.dims()[3];
    let wants = bias.is_some_and(|bias| bias.device().is_autodiff() && bias.is_tracked());
    if groups != heads || wants {
        return None;
    }
    let (bias_dims, bias) = match bias {
        Some(bias) if bias.dims()[3] == keys => (bias.dims(), operand(bias)?),
        Some(_) => return None,
        None => ([0; 4], absent()),
    };
    let operands = [operand(q)?, operand(k)?, operand(v)?, bias];
    let output = record(operands, |[q, k, v, bias]| {
        let step = Attention {
            q,
            k,
            v,
            bias,
            bias_dims,
            dims: [batch, heads, queries, keys],
            scale: scale as f32,
        };
        let mut output = vec![0f32; batch * heads * queries * width];
        let isa = Isa::active();
        output
            .par_chunks_mut((queries * width).max(1))
            .enumerate()
            .for_each(|(head, output)| forward(isa, step.head(head), output));
        (tensor(output, [batch, heads, queries, width]), step)
    });
    Some(lifted(output))
}

#[derive(Debug, Clone)]
struct Attention {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    bias: FlexTensor,
    bias_dims: [usize; 4],
    /// batch, heads, queries, keys
    dims: [usize; 4],
    scale: f32,
}

/// One head's operands, each contiguous.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    /// Rows of biases, one for each query, one for all, or none.
    bias: &'a [f32],
    queries: usize,
    keys: usize,
    scale: f32,
}

impl Attention {
    /// The head of this number, counted over the whole batch.
    fn head(&self, number: usize) -> Head<'_> {
        let [_, heads, queries, keys] = self.dims;
        let part = |tensor: &'_ FlexTensor, count: usize| {
            let all = slice(tensor).len();
            let size = all / count.max(1);
            (number * size, size)
        };
        let count = self.dims[0] * heads;
        let of = |tensor| {
            let (start, size) = part(tensor, count);
            start..start + size
        };
        let [b, h, rows, _] = self.bias_dims;
        let bias = match slice(&self.bias) {
            [] => &[],
            bias => {
                let (batch, head) = (number / heads, number % heads);
                let place = (batch.min(b - 1)) * h + head.min(h - 1);
                let size = rows * keys;
                &bias[place * size..(place + 1) * size]
            }
        };
        Head {
            q: &slice(&self.q)[of(&self.q)],
            k: &slice(&self.k)[of(&self.k)],
            v: &slice(&self.v)[of(&self.v)],
            bias,
            queries,
            keys,
            scale: self.scale,
        }
    }
}

impl Step<4> for Attention {
    fn gradients(self, gradient: FlexTensor, _: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [batch, heads, queries, keys] = self.dims;
        let count = batch * heads;
        let sizes = [&self.q, &self.k, &self.v].map(|tensor| slice(tensor).len());
        let [mut of_q, mut of_k, mut of_v] = sizes.map(|size| vec![0f32; size]);
        let [q, k, v] = sizes.map(|size| (size / count.max(1)).max(1));
        let out = (slice(&gradient).len() / count.max(1)).max(1);
        let isa = Isa::active();
        of_q.par_chunks_mut(q)
            .zip(of_k.par_chunks_mut(k))
            .zip(of_v.par_chunks_mut(v))
            .zip(slice(&gradient).par_chunks(out))
            .enumerate()
            .for_each(|(head, (((q, k), v), gradient))| {
                backward(isa, self.head(head), gradient, q, k, v);
            });
        let shaped = |values: Vec<f32>, rows: usize| {
            let width = values.len() / (count * rows).max(1);
            Some(tensor(values, [batch, heads, rows, width]))
        };
        [
            shaped(of_q, queries),
            shaped(of_k, keys),
            shaped(of_v, keys),
            None,
        ]
    }
}

/// `[rows, width]` to `[width, rows]`.
#[inline(always)]
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let width = values.len() / rows.max(1);
    let mut turned = vec![0f32; values.len()];
    for (row, values) in values.chunks_exact(width.max(1)).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            turned[column * rows + row] = value;
        }
    }
    turned
}

/// The sum of rows, each times its factor.
#[inline(always)]
fn combined(factors: &[f32], rows: &[f32], sum: &mut [f32]) {
    for (&factor, row) in factors.iter().zip(rows.chunks_exact(sum.len().max(1))) {
        for (sum, &value) in sum.iter_mut().zip(row) {
            *sum += factor * value;
        }
    }
}

/// A query's map: how much it looks at each key.
#[inline(always)]
fn looked(head: &Head<'_>, keys: &[f32], query: usize, map: &mut [f32]) {
    let width = head.q.len() / head.queries.max(1);
    map.fill(0.0);
    combined(&head.q[query * width..(query + 1) * width], keys, map);
    let bias = match head.bias.len() {
        0 => None,
        all if all == head.keys => Some(head.bias),
        _ => Some(&head.bias[query * head.keys..(query + 1) * head.keys]),
    };
    match bias {
        Some(bias) => {
            for (score, bias) in map.iter_mut().zip(bias) {
                *score = *score * head.scale + bias;
            }
        }
        None => {
            for score in map.iter_mut() {
                *score *= head.scale;
            }
        }
    }
    let largest = map.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    for score in map.iter_mut() {
        *score = math::exp(*score - largest);
    }
    let sum: f32 = sum(map);
    let share = 1.0 / sum;
    for score in map.iter_mut() {
        *score *= share;
    }
}

/// A sum in several lanes, which the compiler may keep in one register.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (whole, rest) = values.as_chunks::<16>();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

vectorized! {
    fn forward(head: Head<'_>, output: &mut [f32]) {
        let keys = transposed(head.k, head.keys);
        let mut map = vec![0f32; head.keys];
        let width = output.len() / head.queries.max(1);
        for (query, output) in output.chunks_exact_mut(width.max(1)).enumerate() {
            looked(&head, &keys, query, &mut map);
            combined(&map, head.v, output);
        }
    }
}

vectorized! {
    fn backward(head: Head<'_>, gradient: &[f32], of_q: &mut [f32], of_k: &mut [f32], of_v: &mut [f32]) {
        let (keys, values) = (transposed(head.k, head.keys), transposed(head.v, head.keys));
        let width = (of_q.len() / head.queries.max(1)).max(1);
        let out = (gradient.len() / head.queries.max(1)).max(1);
        let (mut map, mut slope) = (vec![0f32; head.keys], vec![0f32; head.keys]);
        for query in 0..head.queries {
            looked(&head, &keys, query, &mut map);
            let gradient = &gradient[query * out..(query + 1) * out];
            slope.fill(0.0);
            combined(gradient, &values, &mut slope);
            let mut mean = [0f32; 16];
            for (place, (slope, share)) in slope.iter().zip(&map).enumerate() {
                mean[place % 16] += slope * share;
            }
            let mean: f32 = mean.iter().sum();
            for (slope, share) in slope.iter_mut().zip(&map) {
                *slope = share * (*slope - mean) * head.scale;
            }
            let own = &head.q[query * width..(query + 1) * width];
            combined(&slope, head.k, &mut of_q[query * width..(query + 1) * width]);
            for (factor, row) in slope.iter().zip(of_k.chunks_exact_mut(width)) {
                for (sum, value) in row.iter_mut().zip(own) {
                    *sum += factor * value;
                }
            }
            for (factor, row) in map.iter().zip(of_v.chunks_exact_mut(out)) {
                for (sum, value) in row.iter_mut().zip(gradient) {
                    *sum += factor * value;
                }
            }
        }
    }
}
