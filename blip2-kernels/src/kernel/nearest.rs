//! Which of many vectors have the largest scalar products with one: an exact search.
//!
//! It reads every vector once, as they lie in memory or in a mapped file, so that memory bounds it; of
//! the products only the best are kept, in a heap for each thread.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use rayon::prelude::*;

use super::isa::{Isa, LANES, vectorized};

/// How many bytes of vectors a thread takes at a time.
const TOGETHER: usize = 1 << 20;

/// A thing that was found: a vector, or several that belong together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Its number.
    pub row: usize,
    /// The scalar product, of several vectors the largest.
    pub score: f32,
}

/// The better first: by the score, and of equal ones the one that comes first.
impl Ord for Nearest {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Nearest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Nearest {}

/// The `count` things whose vectors have the largest scalar products with `query`, the best first.
///
/// `vectors` are little-endian `f32`, one after another, each as long as the query; every `group` of
/// them are one thing, whose score is that of its best. What is left over at the end is no thing.
///
/// ```
/// use blip2_kernels::nearest;
///
/// let vectors = [[1.0f32, 0.0], [0.6, 0.8], [0.0, 1.0]];
/// let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
/// let best = nearest(&bytes, &[0.0, 1.0], 1, 2);
/// assert_eq!(best.iter().map(|found| found.row).collect::<Vec<_>>(), [2, 1]);
/// ```
pub fn nearest(vectors: &[u8], query: &[f32], group: usize, count: usize) -> Vec<Nearest> {
    let size = size_of_val(query) * group;
    if size == 0 || count == 0 {
        return Vec::new();
    }
    let isa = Isa::active();
    let things = (TOGETHER / size).max(1);
    let best = vectors
        .par_chunks(things * size)
        .enumerate()
        .fold(BinaryHeap::new, |mut best, (part, vectors)| {
            let mut scores = vec![0f32; vectors.len() / size];
            products(isa, vectors, query, group, &mut scores);
            for (row, score) in (part * things..).zip(scores) {
                keep(&mut best, Nearest { row, score }, count);
            }
            best
        })
        .reduce(BinaryHeap::new, |mut best, others| {
            for Reverse(found) in others {
                keep(&mut best, found, count);
            }
            best
        });
    let mut best: Vec<Nearest> = best.into_iter().map(|Reverse(found)| found).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    best
}

/// Keeps what is among the best. The heap's top is the worst of them.
fn keep(best: &mut BinaryHeap<Reverse<Nearest>>, found: Nearest, count: usize) {
    if best.len() < count {
        best.push(Reverse(found));
    } else if let Some(mut worst) = best.peek_mut()
        && found > worst.0
    {
        *worst = Reverse(found);
    }
}

vectorized! {
    /// The scalar products of vectors with a query, of every `group` of them the largest.
    fn products(vectors: &[u8], query: &[f32], group: usize, scores: &mut [f32]) {
        let size = size_of_val(query);
        let (query, query_rest) = query.as_chunks::<LANES>();
        let things = vectors.chunks_exact(size * group);
        for (score, thing) in scores.iter_mut().zip(things) {
            *score = f32::NEG_INFINITY;
            for vector in thing.chunks_exact(size) {
                let (numbers, _) = vector.as_chunks::<4>();
                let (lanes, rest) = numbers.as_chunks::<LANES>();
                let mut sums = [0f32; LANES];
                for (x, y) in lanes.iter().zip(query) {
                    for lane in 0..LANES {
                        sums[lane] += f32::from_le_bytes(x[lane]) * y[lane];
                    }
                }
                let rest = rest.iter().zip(query_rest);
                let rest: f32 = rest.map(|(x, y)| f32::from_le_bytes(*x) * y).sum();
                *score = score.max(sums.iter().sum::<f32>() + rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn the_best_are_those_of_sorting_all() {
        for [width, group, things] in [[1, 1, 5], [24, 1, 700], [256, 3, 2000], [37, 2, 9]] {
            let vectors = random_values(width * group * things, 1);
            let query = random_values(width, 2);
            let score = |thing: &[f32]| {
                let products = thing.chunks(width).map(|vector| {
                    let products = vector.iter().zip(&query);
                    products
                        .map(|(x, y)| f64::from(*x) * f64::from(*y))
                        .sum::<f64>()
                });
                products.fold(f64::NEG_INFINITY, f64::max)
            };
            let mut due: Vec<(usize, f64)> = vectors
                .chunks(width * group)
                .map(score)
                .enumerate()
                .collect();
            due.sort_by(|a, b| b.1.total_cmp(&a.1));
            for count in [0, 1, 10, things + 1] {
                let found = nearest(&bytes(&vectors), &query, group, count);
                assert_eq!(found.len(), count.min(things));
                for (found, (row, score)) in found.iter().zip(&due) {
                    assert!((f64::from(found.score) - score).abs() < 1e-4);
                    let own = due.iter().find(|(row, _)| *row == found.row);
                    assert!(found.row == *row || (own.unwrap().1 - score).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn every_set_of_instructions_gives_the_same_products() {
        let (vectors, query) = (bytes(&random_values(256 * 50, 3)), random_values(256, 4));
        let of = |isa| {
            let mut scores = vec![0f32; 50];
            products(isa, &vectors, &query, 1, &mut scores);
            scores
        };
        let portable = of(Isa::Portable);
        for isa in Isa::available() {
            let scores = of(isa).into_iter().zip(&portable);
            assert!(
                scores.into_iter().all(|(a, b)| (a - b).abs() < 1e-4),
                "{isa}"
            );
        }
    }

    #[test]
    fn of_equal_scores_the_first_comes_first() {
        let vectors = bytes(&[1.0; 5000]);
        let found = nearest(&vectors, &[1.0], 1, 3);
        assert_eq!(
            found.iter().map(|found| found.row).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert!(nearest(&vectors, &[], 1, 3).is_empty());
        assert_eq!(
            nearest(&vectors[..7], &[1.0], 1, 3).len(),
            1,
            "a cut vector is none"
        );
    }
}
