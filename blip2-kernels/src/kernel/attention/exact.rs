//! Attention whose sums are in 64 bits, for heads so small that its cost does not show: scores,
//! weights and results are each rounded once.

use super::Head;

/// As [`attend`](super::attend) for one head, `[queries, head_dim]`.
pub(super) fn attend(head: &Head<'_>) -> Vec<f32> {
    let mut y = Vec::new();
    for (query, q) in head.queries().enumerate() {
        let scores = head.keys().map(|key| {
            let products = q.iter().zip(key);
            let score: f64 = products.map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            score as f32
        });
        let mut weights: Vec<f32> = scores.collect();
        head.score(query, &mut weights);
        softmax(&mut weights);
        let mut sums = vec![0f64; head.width];
        for (&weight, value) in weights.iter().zip(head.values()) {
            for (sum, &value) in sums.iter_mut().zip(value) {
                *sum += f64::from(weight) * f64::from(value);
            }
        }
        y.extend(sums.into_iter().map(|sum| sum as f32));
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
