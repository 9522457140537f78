//! Sampling warpers: temperature, top-k, top-p, min-p and typical-p.
//!
//! Formulas of `transformers`' `generation/logits_process.py`, on one row of scores in place;
//! a removed token gets −∞. Each expects at least one finite score and no NaN. `min_keep` tokens
//! always survive, so that a beam search has something besides the end tokens to go on with.

use super::config::GenerationConfig;
use super::numerics::{LogNormalizer, Softmax, TopK, descending};

/// The first slice of the vocabulary that top-p sorts; mostly enough.
const FIRST_HEAD: usize = 256;

/// Removes what `config` asks to, by the warpers after the temperature in `transformers`' order.
pub(super) fn truncate(scores: &mut [f32], config: &GenerationConfig, min_keep: usize) {
    if config.top_k != 0 {
        top_k(scores, config.top_k.max(min_keep));
    }
    if config.top_p < 1.0 {
        top_p(scores, config.top_p, min_keep);
    }
    if let Some(share) = config.min_p {
        min_p(scores, share, min_keep);
    }
    if config.typical_p < 1.0 {
        typical_p(scores, config.typical_p, min_keep);
    }
}

/// Divides the scores, so that their softmax is flatter above 1 and sharper below.
pub(super) fn temperature(scores: &mut [f32], temperature: f64) {
    let temperature = temperature as f32;
    for score in scores {
        *score /= temperature;
    }
}

/// Keeps the `k` largest and whatever equals the smallest of them.
fn top_k(scores: &mut [f32], k: usize) {
    if k >= scores.len() {
        return;
    }
    let mut order = scores.to_vec();
    let (_, &mut bar, _) = order.select_nth_unstable_by(k - 1, |&a, &b| descending(a, b));
    remove_where(scores, |score| score < bar);
}

/// Keeps the largest until the rest holds at most `1 − top_p`: an element goes if the
/// probabilities from the smallest up to and including its own sum to no more than that.
fn top_p(scores: &mut [f32], top_p: f64, min_keep: usize) {
    let softmax = Softmax::of(scores);
    let probs: Vec<f32> = scores.iter().map(|&x| softmax.prob(x)).collect();
    let rest = (1.0 - top_p) as f32;
    let mut order = finite(scores);
    // An ascending stable sort puts the later of two equals higher.
    let compare = |&a: &usize, &b: &usize| descending(scores[a], scores[b]).then(b.cmp(&a));
    let total: f64 = probs.iter().map(|&p| f64::from(p)).sum();
    let mut head = FIRST_HEAD.min(order.len());
    let kept = loop {
        if head < order.len() {
            order.select_nth_unstable_by(head, compare);
        }
        order[..head].sort_unstable_by(compare);
        let mut up_to_here = total;
        let kept = order[..head].iter().enumerate().position(|(rank, &i)| {
            let goes = rank >= min_keep && up_to_here as f32 <= rest;
            up_to_here -= f64::from(probs[i]);
            goes
        });
        match kept {
            Some(kept) => break kept,
            None if head == order.len() => return,
            None => head = (8 * head).min(order.len()),
        }
    };
    for &i in &order[kept..] {
        scores[i] = f32::NEG_INFINITY;
    }
}

/// Keeps what is at least `min_p` times as probable as the likeliest.
fn min_p(scores: &mut [f32], min_p: f64, min_keep: usize) {
    let softmax = Softmax::of(scores);
    let top = scores.iter().fold(0f32, |top, &x| top.max(softmax.prob(x)));
    let bar = min_p as f32 * top;
    let mut keep = TopK::new(min_keep);
    for (i, &score) in scores.iter().enumerate() {
        keep.push(score, (i, score));
    }
    remove_where(scores, |score| softmax.prob(score) < bar);
    for (_, (i, score)) in keep.into_sorted() {
        scores[i] = score;
    }
}

/// Keeps the tokens whose surprise is nearest to the entropy until they reach `mass`.
fn typical_p(scores: &mut [f32], mass: f64, min_keep: usize) {
    let Ok(norm) = LogNormalizer::of(scores) else {
        return;
    };
    let softmax = Softmax::of(scores);
    let mut order = finite(scores);
    let entropy: f64 = order
        .iter()
        .map(|&i| norm.log_prob(scores[i]))
        .map(|log_prob| -f64::from(log_prob) * f64::from(log_prob.exp()))
        .sum();
    let entropy = entropy as f32;
    let shift = |i: usize| (-norm.log_prob(scores[i]) - entropy).abs();
    order.sort_by(|&a, &b| descending(shift(b), shift(a)));
    let mass = mass as f32;
    let mut sum = 0f64;
    let last = order
        .iter()
        .position(|&i| {
            sum += f64::from(softmax.prob(scores[i]));
            sum as f32 >= mass
        })
        .unwrap_or(order.len() - 1);
    let bar = shift(order[last]);
    let gone: Vec<usize> = order
        .iter()
        .copied()
        .skip(min_keep)
        .filter(|&i| shift(i) > bar)
        .collect();
    for i in gone {
        scores[i] = f32::NEG_INFINITY;
    }
}

fn finite(scores: &[f32]) -> Vec<usize> {
    (0..scores.len())
        .filter(|&i| scores[i] > f32::NEG_INFINITY)
        .collect()
}

fn remove_where(scores: &mut [f32], goes: impl Fn(f32) -> bool) {
    for score in scores {
        if goes(*score) {
            *score = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Goldens {
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        config: GenerationConfig,
        min_keep: usize,
        logits: Vec<Option<f32>>,
        scores: Vec<Option<f32>>,
    }

    /// `fixtures/lm/make_generate_goldens.py` ran the classes of `transformers`.
    #[test]
    fn warpers_keep_and_remove_what_transformers_does() {
        let goldens: Goldens =
            serde_json::from_str(&blip2_testing::text("lm/warpers.json")).unwrap();
        assert_eq!(goldens.cases.len(), 120);
        for (n, case) in goldens.cases.iter().enumerate() {
            let mut scores: Vec<f32> = case
                .logits
                .iter()
                .map(|x| x.unwrap_or(f32::NEG_INFINITY))
                .collect();
            temperature(&mut scores, case.config.temperature);
            truncate(&mut scores, &case.config, case.min_keep);
            for (i, (&ours, golden)) in scores.iter().zip(&case.scores).enumerate() {
                let golden = golden.unwrap_or(f32::NEG_INFINITY);
                assert_eq!(ours, golden, "case {n}, token {i}: {:?}", case.config);
            }
        }
    }

    /// Top-p sorts the likeliest first and looks further only if they do not reach its share.
    #[test]
    fn top_p_over_a_large_flat_vocabulary() {
        let flat: Vec<f32> = (0..5000).map(|i| (i % 977) as f32 * 1e-4).collect();
        for share in [0.01, 0.3, 0.99] {
            let mut scores = flat.clone();
            top_p(&mut scores, share, 1);
            let softmax = Softmax::of(&flat);
            let kept: f64 = scores
                .iter()
                .filter(|&&x| x > f32::NEG_INFINITY)
                .map(|&x| f64::from(softmax.prob(x)))
                .sum();
            assert!(kept >= share - 1e-6 && kept < share + 1e-3, "{kept}");
        }
    }
}
