//! Attention whose sums are in 64 bits, for heads so small that its cost does not show: scores,
//! weights and results are each rounded once.

use super::kernel::View;

/// As [`attend`](super::kernel::attend) for one head, `[queries, head_dim]`.
pub(super) fn attend(
    [q, k, v]: [View<'_>; 3],
    scale: f32,
    bias: Option<View<'_>>,
    (batch, head): (usize, usize),
) -> Vec<f32> {
    let (queries, keys, width) = (q.dims[2], k.dims[2], v.dims[3]);
    let mut y = Vec::with_capacity(queries * width);
    for query in 0..queries {
        let q = q.row(batch, head, query);
        let mut weights: Vec<f32> = (0..keys)
            .map(|key| {
                let products = q.iter().zip(k.row(batch, head, key));
                let score: f64 = products.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                let bias = bias.map_or(0.0, |bias| bias.row(batch, head, query)[key]);
                score as f32 * scale + bias
            })
            .collect();
        softmax(&mut weights);
        y.extend((0..width).map(|column| {
            let values = (0..keys).map(|key| v.row(batch, head, key)[column]);
            let products = weights.iter().zip(values);
            let sum: f64 = products.map(|(&w, v)| f64::from(w) * f64::from(v)).sum();
            sum as f32
        }));
    }
    y
}

fn softmax(x: &mut [f32]) {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |x: f32| f64::from(x - largest).exp();
    let sum: f64 = x.iter().copied().map(exp).sum();
    for x in x {
        *x = (exp(*x) / sum) as f32;
    }
}
