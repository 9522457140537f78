//! Attention and its gradient.

use std::sync::Arc;

use burn::tensor::Tensor;
use burn_backend::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{
    Step, absent, any_recorded, lifted, operand, record_as_they_lie, rows_contiguous,
    small::{Panels, Rows, View, multiply},
    tensor,
};
use crate::{
    isa::{Isa, LANES, vectorized},
    math,
};

/// `softmax(q · kᵀ · scale + bias) · v`, with as many heads of keys as of queries. A bias that wants a
/// gradient is declined.
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
    let wants = bias.is_some_and(|bias| bias.device().is_autodiff() && bias.is_tracked());
    if groups != heads || wants {
        return None;
    }
    let bias = match bias {
        Some(bias) if bias.dims()[3] == keys => operand(bias)?,
        Some(_) => return None,
        None => absent(),
    };
    let operands = [operand(q)?, operand(k)?, operand(v)?, bias];
    let output = record_as_they_lie(operands, |operands| {
        let [q, k, v, bias] = operands.map(rows_contiguous);
        let mut step = Attention {
            q,
            k,
            v,
            bias,
            dims: [batch, heads, queries, keys],
            scale: scale as f32,
            first: [0; 3],
            maps: Arc::default(),
        };
        let output = step.forward();
        (output, step)
    });
    Some(lifted(output))
}

/// The same, of queries, keys and values whose heads follow one another in one tensor
/// `[batch, 3 · heads, seq, head_dim]`: their gradients come as one, too.
pub(crate) fn joint_attention(qkv: &Tensor<4>, scale: f64) -> Option<Tensor<4>> {
    if !any_recorded([qkv.device()]) {
        return None;
    }
    let [batch, all, seq, _] = qkv.dims();
    let heads = all / 3;
    let output = record_as_they_lie([operand(qkv)?], |[qkv]| {
        let qkv = rows_contiguous(qkv);
        let mut step = Attention {
            q: qkv.clone(),
            k: qkv.clone(),
            v: qkv,
            bias: tensor(Vec::new(), [0]),
            dims: [batch, heads, seq, seq],
            scale: scale as f32,
            first: [0, heads, 2 * heads],
            maps: Arc::default(),
        };
        let output = step.forward();
        (output, Joint(step))
    });
    Some(lifted(output))
}

/// Attention whose operands are one.
#[derive(Debug, Clone)]
struct Joint(Attention);

impl Step<1> for Joint {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [batch, heads, seq, _] = self.0.dims;
        let width = self.0.q.shape()[3];
        let gradient = rows_contiguous(gradient);
        let mut all = Heads::new([batch, seq, 3 * heads, width]);
        let slabs = all.slabs().enumerate();
        slabs.for_each(|(batch, slab)| {
            for (head, parts) in self.0.slopes(&gradient, batch).iter().enumerate() {
                for (part, rows) in parts.iter().enumerate() {
                    put(slab, 3 * heads, part * heads + head, rows);
                }
            }
        });
        [Some(all.tensor())]
    }
}

#[derive(Debug, Clone)]
struct Attention {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    bias: FlexTensor,
    /// batch, heads, queries, keys
    dims: [usize; 4],
    scale: f32,
    /// Where the heads of queries, keys and values begin in their tensors.
    first: [usize; 3],
    /// How much each query looks at each key, for each head of each picture.
    maps: Arc<Vec<Vec<Rows>>>,
}

/// One head's operands.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: View<'a>,
    k: View<'a>,
    v: View<'a>,
    /// Rows of biases, one for each query; nothing where there is no bias.
    bias: View<'a>,
    queries: usize,
    keys: usize,
    /// Of queries and keys, and of values.
    widths: [usize; 2],
    scale: f32,
}

/// A head of a tensor `[batch, heads, rows, width]` whose last axis is contiguous. Axes of size 1 are
/// as large as one wants.
fn head_of(tensor: &FlexTensor, batch: usize, head: usize) -> View<'_> {
    let (shape, layout) = (tensor.shape(), tensor.layout());
    let step = |axis: usize| match shape[axis] {
        1 => 0,
        _ => layout.strides()[axis].unsigned_abs(),
    };
    let start = layout.start_offset() + batch * step(0) + head * step(1);
    View {
        data: tensor.storage::<f32>().get(start..).unwrap_or_default(),
        strides: [step(2), 1],
    }
}

impl Attention {
    /// The result, `[batch, heads, queries, width]`; keeps the maps.
    fn forward(&mut self) -> FlexTensor {
        let [batch, heads, queries, _] = self.dims;
        let mut output = Heads::new([batch, queries, heads, self.v.shape()[3]]);
        let isa = Isa::active();
        let slabs = output.slabs().enumerate();
        let maps = slabs.map(|(batch, slab)| {
            let heads_of = (0..heads).into_par_iter();
            let found: Vec<[Rows; 2]> = heads_of
                .map(|head| forward(isa, self.head(batch, head)))
                .collect();
            let placed = found.into_iter().enumerate().map(|(head, [map, rows])| {
                put(slab, heads, head, &rows);
                map
            });
            placed.collect()
        });
        self.maps = Arc::new(maps.collect());
        output.tensor()
    }

    /// For each head of a picture the gradients of queries, keys and values.
    fn slopes(&self, gradient: &FlexTensor, batch: usize) -> Vec<[Rows; 3]> {
        let isa = Isa::active();
        let heads = self.maps[batch].par_iter().enumerate();
        let slope = heads.map(|(head, map)| {
            let gradient = head_of(gradient, batch, head);
            backward(isa, self.head(batch, head), map, gradient)
        });
        slope.collect()
    }

    fn head(&self, batch: usize, head: usize) -> Head<'_> {
        let [_, _, queries, keys] = self.dims;
        let bias = match self.bias.shape().num_elements() {
            0 => View {
                data: &[],
                strides: [0, 1],
            },
            _ => head_of(&self.bias, batch, head),
        };
        let [q, k, v] = self.first;
        Head {
            q: head_of(&self.q, batch, q + head),
            k: head_of(&self.k, batch, k + head),
            v: head_of(&self.v, batch, v + head),
            bias,
            queries,
            keys,
            widths: [self.q.shape()[3], self.v.shape()[3]],
            scale: self.scale,
        }
    }
}

impl Step<4> for Attention {
    fn gradients(self, gradient: FlexTensor, _: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [batch, heads, queries, keys] = self.dims;
        let gradient = rows_contiguous(gradient);
        let [width, out] = [self.q.shape()[3], self.v.shape()[3]];
        let [mut of_q, mut of_k, mut of_v] = [
            Heads::new([batch, queries, heads, width]),
            Heads::new([batch, keys, heads, width]),
            Heads::new([batch, keys, heads, out]),
        ];
        let slabs = of_q.slabs().zip(of_k.slabs()).zip(of_v.slabs());
        slabs.enumerate().for_each(|(batch, ((q, k), v))| {
            for (head, [of_q, of_k, of_v]) in self.slopes(&gradient, batch).iter().enumerate() {
                put(q, heads, head, of_q);
                put(k, heads, head, of_k);
                put(v, heads, head, of_v);
            }
        });
        [
            Some(of_q.tensor()),
            Some(of_k.tensor()),
            Some(of_v.tensor()),
            None,
        ]
    }
}

/// A tensor in the making, `[batch, rows, heads, width]`: the way it lies before heads are split.
struct Heads {
    values: Vec<f32>,
    dims: [usize; 4],
}

impl Heads {
    fn new(dims: [usize; 4]) -> Self {
        let values = vec![0f32; dims.iter().product()];
        Self { values, dims }
    }

    /// What belongs to each batch.
    fn slabs(&mut self) -> impl IndexedParallelIterator<Item = &mut [f32]> {
        let size = self.dims[1..].iter().product::<usize>().max(1);
        self.values.par_chunks_mut(size)
    }

    /// The tensor `[batch, heads, rows, width]`.
    fn tensor(self) -> FlexTensor {
        tensor(self.values, self.dims).permute(&[0, 2, 1, 3])
    }
}

/// Puts a head in its place of a slab.
fn put(slab: &mut [f32], heads: usize, head: usize, rows: &Rows) {
    let width = rows.width();
    let places = slab.chunks_exact_mut((heads * width).max(1));
    for (row, place) in places.enumerate() {
        place[head * width..(head + 1) * width].copy_from_slice(rows.row(row));
    }
}

/// A head's map, `[queries, keys]`.
fn map(isa: Isa, head: &Head<'_>, operand: &mut Panels) -> Rows {
    let ([width, _], queries, keys) = (head.widths, head.queries, head.keys);
    let turned = operand.fill(head.k.turned(), width, keys);
    let mut map = multiply(isa, head.q, turned, [queries, keys]);
    for query in 0..queries {
        let bias = head.bias.data.get(query * head.bias.strides[0]..);
        let bias = bias.and_then(|bias| bias.get(..keys)).unwrap_or_default();
        look(isa, map.row_mut(query), bias, head.scale);
    }
    map
}

/// A head's map and result.
fn forward(isa: Isa, head: Head<'_>) -> [Rows; 2] {
    let mut operand = Panels::default();
    let map = map(isa, &head, &mut operand);
    let values = operand.fill(head.v, head.keys, head.widths[1]);
    let output = multiply(isa, map.view(), values, [head.queries, head.widths[1]]);
    [map, output]
}

/// The gradients of queries, keys and values.
fn backward(isa: Isa, head: Head<'_>, map: &Rows, gradient: View<'_>) -> [Rows; 3] {
    let ([width, out], queries, keys) = (head.widths, head.queries, head.keys);
    let mut operand = Panels::default();
    let values = operand.fill(head.v.turned(), out, keys);
    let mut slope = multiply(isa, gradient, values, [queries, keys]);
    for query in 0..queries {
        slopes(isa, slope.row_mut(query), map.row(query), head.scale);
    }
    let of_q = operand.fill(head.k, keys, width);
    let of_q = multiply(isa, slope.view(), of_q, [queries, width]);
    let of_k = operand.fill(head.q, queries, width);
    let of_k = multiply(isa, slope.view().turned(), of_k, [keys, width]);
    let of_v = operand.fill(gradient, queries, out);
    let of_v = multiply(isa, map.view().turned(), of_v, [keys, out]);
    [of_q, of_k, of_v]
}

vectorized! {
    /// Turns a query's scores into its map: how much it looks at each key.
    fn look(scores: &mut [f32], bias: &[f32], scale: f32) {
        for score in scores.iter_mut() {
            *score *= scale;
        }
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += bias;
        }
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = scores.as_chunks::<LANES>();
        for scores in whole {
            for lane in 0..LANES {
                lanes[lane] = lanes[lane].max(scores[lane]);
            }
        }
        let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let mut lanes = [0f32; LANES];
        let (whole, rest) = scores.as_chunks_mut::<LANES>();
        for scores in whole {
            for lane in 0..LANES {
                scores[lane] = math::exp(scores[lane] - largest);
                lanes[lane] += scores[lane];
            }
        }
        let mut sum: f32 = lanes.iter().sum();
        for score in rest {
            *score = math::exp(*score - largest);
            sum += *score;
        }
        let share = 1.0 / sum;
        for score in scores.iter_mut() {
            *score *= share;
        }
    }
}

vectorized! {
    /// Turns the gradients of a query's map into those of its scores.
    fn slopes(gradients: &mut [f32], map: &[f32], scale: f32) {
        let mut lanes = [0f32; LANES];
        let (whole, rest) = gradients.as_chunks::<LANES>();
        let (shares, other_shares) = map.as_chunks::<LANES>();
        for (gradients, shares) in whole.iter().zip(shares) {
            for lane in 0..LANES {
                lanes[lane] += gradients[lane] * shares[lane];
            }
        }
        let rest = rest.iter().zip(other_shares).map(|(gradient, share)| gradient * share);
        let mean = lanes.iter().sum::<f32>() + rest.sum::<f32>();
        for (gradient, share) in gradients.iter_mut().zip(map) {
            *gradient = share * (*gradient - mean) * scale;
        }
    }
}
