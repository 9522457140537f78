//! Attention and its gradient.

use burn::tensor::Tensor;
use burn_backend::TensorMetadata;
use burn_flex::FlexTensor;

use super::{
    Step, absent, any_recorded, is_tracked,
    kept::{Kept, KeptFloats},
    lifted, operand, record_as_they_lie, rows_contiguous, tensor,
};
use crate::kernel::{
    buffers::Floats,
    isa::{Isa, LANES, vectorized, view::View},
    math,
    product::output::Output,
    threads,
};

/// `softmax(q · kᵀ · scale + bias) · v`, with as many heads of keys as of queries. With `sources`, row
/// `i` of the queries attends to row `sources[i]` of keys and values. A bias that wants a gradient is
/// declined.
pub(crate) fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    sources: Option<&[usize]>,
    scale: f64,
    bias: Option<&Tensor<4>>,
) -> Option<Tensor<4>> {
    if !any_recorded([q.device(), k.device(), v.device()]) {
        return None;
    }
    let [batch, heads, queries, _] = q.dims();
    let [held, groups, keys, _] = k.dims();
    let wants = bias.is_some_and(is_tracked);
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
        let form = Form {
            dims: [batch, heads, queries, keys],
            pairing: Pairing::new([batch, held], sources),
            scale: scale as f32,
            first: [0; 3],
        };
        let (output, maps) = form.attention([&q, &k, &v], &bias).forward();
        let step = Apart(KeptAttention {
            operands: [q, k, v].map(Kept::new),
            bias,
            form,
            maps: KeptFloats::new(maps),
        });
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
        let form = Form {
            dims: [batch, heads, seq, seq],
            pairing: Pairing::new([batch, batch], None),
            scale: scale as f32,
            first: [0, heads, 2 * heads],
        };
        let bias = tensor(Vec::new(), [0]);
        let (output, maps) = form.attention([&qkv; 3], &bias).forward();
        let step = Joint(KeptAttention {
            operands: [Kept::new(qkv)],
            bias,
            form,
            maps: KeptFloats::new(maps),
        });
        (output, step)
    });
    Some(lifted(output))
}

/// What the backward pass needs: the operands, and the maps.
#[derive(Debug, Clone)]
struct KeptAttention<const N: usize> {
    operands: [Kept; N],
    bias: FlexTensor,
    form: Form,
    maps: KeptFloats,
}

/// Attention whose operands are one.
#[derive(Debug, Clone)]
struct Joint(KeptAttention<1>);

impl Step<1> for Joint {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(kept) = self;
        let [qkv] = kept.operands.map(|operand| operand.opened());
        let [batch, heads, seq, _] = kept.form.dims;
        let width = qkv.shape()[3];
        let gradient = rows_contiguous(gradient);
        let mut all = Floats::any(batch * seq * 3 * heads * width);
        let output = &Output::filled(&mut all, 3 * heads * width);
        let parts = [0, 1, 2].map(|part| Part {
            output,
            first: part * heads * width,
        });
        let attention = kept.form.attention([&qkv; 3], &kept.bias);
        attention.backward(&kept.maps.opened(), &gradient, parts);
        [Some(heads_of(all, [batch, seq, 3 * heads, width]))]
    }
}

/// How attention's operands belong together.
#[derive(Debug, Clone)]
struct Form {
    /// batch, heads, queries, keys
    dims: [usize; 4],
    pairing: Pairing,
    scale: f32,
    /// Where the heads of queries, keys and values begin in their tensors.
    first: [usize; 3],
}

impl Form {
    fn attention<'a>(&'a self, qkv: [&'a FlexTensor; 3], bias: &'a FlexTensor) -> Attention<'a> {
        let ([q, k, v], form) = (qkv, self);
        Attention {
            q,
            k,
            v,
            bias,
            form,
        }
    }
}

/// Attention's operands, to compute with.
#[derive(Clone, Copy)]
struct Attention<'a> {
    q: &'a FlexTensor,
    k: &'a FlexTensor,
    v: &'a FlexTensor,
    bias: &'a FlexTensor,
    form: &'a Form,
}

/// Which rows of queries attend to which rows of keys and values.
#[derive(Debug, Clone)]
struct Pairing {
    /// Of each row of queries.
    sources: Vec<usize>,
    /// Of each row of keys.
    rows: Vec<Vec<usize>>,
}

impl Pairing {
    /// Each of `batch` rows at its own of `held`, or all at the only one, where nothing else is said.
    fn new([batch, held]: [usize; 2], sources: Option<&[usize]>) -> Self {
        let own = || (0..batch).map(|row| if held == 1 { 0 } else { row });
        let sources = sources.map_or_else(|| own().collect(), <[usize]>::to_vec);
        let mut rows = vec![Vec::new(); held];
        for (row, &source) in sources.iter().enumerate() {
            rows[source].push(row);
        }
        Self { sources, rows }
    }
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

/// Where gradients of all heads go, head by head.
#[derive(Clone, Copy)]
struct Part<'a> {
    output: &'a Output<'a>,
    /// The column of the first head.
    first: usize,
}

/// Buffers that a thread uses for one head after another.
#[derive(Default)]
struct Scratch {
    transposed: Vec<f32>,
    scores: Vec<f32>,
}

impl Attention<'_> {
    /// The result, `[batch, heads, queries, width]`, and the maps: how much each query attends to each key,
    /// `[batch, heads, queries, keys]`.
    fn forward(&self) -> (FlexTensor, Floats) {
        let [batch, heads, queries, keys] = self.form.dims;
        let width = self.v.shape()[3];
        let isa = Isa::active();
        let mut values = Floats::any(batch * queries * heads * width);
        let mut maps = Floats::any(batch * heads * queries * keys);
        let output = &Output::filled(&mut values, heads * width);
        let tasks = maps.chunks_mut((queries * keys).max(1)).enumerate();
        threads::each_with(tasks, Scratch::default, |scratch, (index, map)| {
            let (batch, number) = (index / heads, index % heads);
            let place = [batch * queries, number * width];
            forward(
                isa,
                scratch,
                &self.head(batch, number),
                map,
                (output, place),
            );
        });
        (heads_of(values, [batch, queries, heads, width]), maps)
    }

    /// Puts the gradients of queries, keys and values, `[batch · rows, heads · width]`, in their
    /// places.
    fn backward(&self, maps: &[f32], gradient: &FlexTensor, parts: [Part<'_>; 3]) {
        let [of_q, of_k, of_v] = parts;
        let [_, heads, queries, keys] = self.form.dims;
        let isa = Isa::active();
        let run = |scratch: &mut Scratch, index: usize| {
            let (source, number) = (index / heads, index % heads);
            let place = |part: Part<'_>, batch: usize, rows: usize, width: usize| {
                [batch * rows, part.first + number * width]
            };
            let [width, out] = [self.q.shape()[3], self.v.shape()[3]];
            let places = [
                place(of_k, source, keys, width),
                place(of_v, source, keys, out),
            ];
            // A task has a source's head to itself, so that the gradients of keys that several rows
            // attend to are summed in the order of the rows, whoever computes them.
            let rows = &self.form.pairing.rows[source];
            if rows.is_empty() {
                for ((part, place), width) in [of_k, of_v].iter().zip(places).zip([width, out]) {
                    part.output.clear(place, [keys, width]);
                }
            }
            for (nth, &batch) in rows.iter().enumerate() {
                let head = self.head(batch, number);
                if nth == 0 {
                    transpose(isa, &head.v, [keys, out], &mut scratch.transposed);
                }
                let (size, index) = (queries * keys, batch * heads + number);
                let job = Backward {
                    isa,
                    head: &head,
                    map: View::rows(&maps[index * size..(index + 1) * size], keys),
                    gradient: head_of(gradient, batch, number),
                    add: nth > 0,
                };
                let [k, v] = places;
                job.run(
                    scratch,
                    (of_q.output, place(of_q, batch, queries, width)),
                    [(of_k.output, k), (of_v.output, v)],
                );
            }
        };
        let tasks = 0..self.form.pairing.rows.len() * heads;
        threads::each_with(tasks, Scratch::default, run);
    }

    fn head(&self, batch: usize, head: usize) -> Head<'_> {
        let [_, _, queries, keys] = self.form.dims;
        let bias = match self.bias.shape().num_elements() {
            0 => View {
                data: &[],
                strides: [0, 1],
            },
            _ => head_of(self.bias, batch, head),
        };
        let [q, k, v] = self.form.first;
        let source = self.form.pairing.sources[batch];
        Head {
            q: head_of(self.q, batch, q + head),
            k: head_of(self.k, source, k + head),
            v: head_of(self.v, source, v + head),
            bias,
            queries,
            keys,
            widths: [self.q.shape()[3], self.v.shape()[3]],
            scale: self.form.scale,
        }
    }
}

/// Attention whose operands are three.
#[derive(Debug, Clone)]
struct Apart(KeptAttention<3>);

impl Step<4> for Apart {
    fn gradients(self, gradient: FlexTensor, _: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let Self(kept) = self;
        let [q, k, v] = kept.operands.map(|operand| operand.opened());
        let [batch, heads, queries, keys] = kept.form.dims;
        let gradient = rows_contiguous(gradient);
        let [width, out] = [q.shape()[3], v.shape()[3]];
        let held = kept.form.pairing.rows.len();
        let [mut of_q, mut of_k, mut of_v] = [
            batch * queries * heads * width,
            held * keys * heads * width,
            held * keys * heads * out,
        ]
        .map(Floats::any);
        let outputs = [
            Output::filled(&mut of_q, heads * width),
            Output::filled(&mut of_k, heads * width),
            Output::filled(&mut of_v, heads * out),
        ];
        let parts = outputs.each_ref().map(|output| Part { output, first: 0 });
        let attention = kept.form.attention([&q, &k, &v], &kept.bias);
        attention.backward(&kept.maps.opened(), &gradient, parts);
        [
            Some(heads_of(of_q, [batch, queries, heads, width])),
            Some(heads_of(of_k, [held, keys, heads, width])),
            Some(heads_of(of_v, [held, keys, heads, out])),
            None,
        ]
    }
}

/// The tensor `[batch, heads, rows, width]` of what lies as `[batch, rows, heads, width]`: the way it
/// does before heads are split.
fn heads_of(values: Floats, dims: [usize; 4]) -> FlexTensor {
    tensor(values, dims).permute(&[0, 2, 1, 3])
}

/// A head's map, and its result into its place.
fn forward(
    isa: Isa,
    scratch: &mut Scratch,
    head: &Head<'_>,
    map: &mut [f32],
    (output, place): Target<'_>,
) {
    let ([width, out], queries, keys) = (head.widths, head.queries, head.keys);
    transpose(isa, &head.k, [keys, width], &mut scratch.transposed);
    let operands = [head.q, View::rows(&scratch.transposed, keys)];
    Output::filled(map, keys).multiply(isa, operands, [queries, width, keys], [0, 0], false);
    for (query, scores) in map.chunks_exact_mut(keys.max(1)).enumerate() {
        let bias = head.bias.data.get(query * head.bias.strides[0]..);
        let bias = bias.and_then(|bias| bias.get(..keys)).unwrap_or_default();
        softmax(isa, scores, bias, head.scale);
    }
    let operands = [View::rows(map, keys), head.v];
    output.multiply(isa, operands, [queries, keys, out], place, false);
}

/// The backward pass of a head.
struct Backward<'a> {
    isa: Isa,
    head: &'a Head<'a>,
    map: View<'a>,
    /// Of the result.
    gradient: View<'a>,
    /// Whether gradients of keys and values are added to others.
    add: bool,
}

/// Where a gradient goes.
type Target<'a> = (&'a Output<'a>, [usize; 2]);

impl Backward<'_> {
    /// Puts the gradients into their places. The values are there, transposed.
    ///
    /// With the map `P = softmax(S)` and the output `O = P V`: `dV = Pᵀ dO`, `dP = dO Vᵀ`,
    /// `dS = P ∘ (dP − rowsum(P ∘ dP)) · scale`, `dQ = dS K`, `dK = dSᵀ Q`.
    fn run(&self, scratch: &mut Scratch, of_q: Target<'_>, [of_k, of_v]: [Target<'_>; 2]) {
        let Self {
            isa,
            head,
            map,
            gradient,
            add,
        } = *self;
        let ([width, out], queries, keys) = (head.widths, head.queries, head.keys);
        let scores = &mut scratch.scores;
        scores.resize(queries * keys, 0.0);
        let operands = [gradient, View::rows(&scratch.transposed, keys)];
        Output::filled(scores, keys).multiply(isa, operands, [queries, out, keys], [0, 0], false);
        let size = keys.max(1);
        for (scores, map) in scores
            .chunks_exact_mut(size)
            .zip(map.data.chunks_exact(size))
        {
            softmax_backward(isa, scores, map, head.scale);
        }
        let scores = View::rows(scores, keys);
        let put = |(output, place): Target<'_>, operands, dims, add| {
            output.multiply(isa, operands, dims, place, add);
        };
        put(of_q, [scores, head.k], [queries, keys, width], false);
        put(
            of_k,
            [scores.transposed(), head.q],
            [keys, queries, width],
            add,
        );
        put(
            of_v,
            [map.transposed(), gradient],
            [keys, queries, out],
            add,
        );
    }
}

vectorized! {
    /// A matrix `[rows, columns]`, transposed.
    fn transpose(matrix: &View<'_>, dims: [usize; 2], transposed: &mut Vec<f32>) {
        let [rows, columns] = dims;
        let [down, along] = matrix.strides;
        // What was there is written over.
        transposed.resize(rows * columns, 0.0);
        for (column, to) in transposed.chunks_exact_mut(rows.max(1)).enumerate() {
            for (row, to) in to.iter_mut().enumerate() {
                *to = matrix.data[row * down + column * along];
            }
        }
    }
}

vectorized! {
    /// A query's attention map of its scores: the softmax of `scores · scale + bias`.
    fn softmax(scores: &mut [f32], bias: &[f32], scale: f32) {
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
    fn softmax_backward(gradients: &mut [f32], map: &[f32], scale: f32) {
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
