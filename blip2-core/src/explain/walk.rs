//! From a score back to the patches, by the attention maps in between.
//!
//! The papers build whole matrices: of how much each position of a stage is made of each position that
//! it reads. Here one row of them is wanted, that of the token (or of the queries' mean), so a row
//! vector is taken through the same products from behind: the square of the length for each map rather
//! than its cube.

use burn::tensor::{Gradients, Tensor};

use super::{
    matrix::{Matrix, add},
    trail::Stage,
};
use crate::error::Blip2Error;

/// How a layer's map says what its output is made of.
pub(super) enum Rule<'g> {
    /// Relevance (Chefer et al., 2021), with the gradients of the score.
    Relevance(&'g Gradients),
    /// Rollout (Abnar and Zuidema, 2020).
    Rollout,
    /// The last layer's map alone.
    Attention,
}

/// The weights of what the last stage reads, `[rows][positions]`, for the weights `start` of what the
/// first gives.
pub(super) fn walk(
    stages: &[Stage],
    start: &[(usize, f32)],
    rule: &Rule<'_>,
) -> Result<Vec<Vec<f32>>, Blip2Error> {
    let longest = start.iter().map(|(place, _)| place + 1).max().unwrap_or(0);
    let mut first = vec![0.0; longest];
    for &(place, weight) in start {
        if let Some(first) = first.get_mut(place) {
            *first += weight;
        }
    }
    let mut weights = vec![first];
    let mut crossed = false;
    for stage in stages {
        weights = match stage {
            Stage::Places { places, rows } => picked(&weights, places, *rows),
            Stage::Own(maps) => {
                let maps = by_row(maps, weights.len(), rule)?;
                let rows = weights.iter().zip(&maps);
                rows.map(|(row, maps)| own(row, maps, rule, crossed))
                    .collect()
            }
            Stage::Crossing { own, cross } => {
                let present: Vec<Tensor<4>> = cross.iter().flatten().cloned().collect();
                let own = by_row(own, weights.len(), rule)?;
                let found = by_row(&present, weights.len(), rule)?;
                let has: Vec<bool> = cross.iter().map(Option::is_some).collect();
                let rows = weights.iter().zip(own.iter().zip(&found));
                rows.map(|(row, (own, cross))| crossing(row, own, cross, &has, rule))
                    .collect()
            }
        };
        crossed = matches!(stage, Stage::Crossing { .. });
    }
    Ok(weights)
}

/// The weights at these places, in as many rows.
fn picked(weights: &[Vec<f32>], places: &[usize], rows: usize) -> Vec<Vec<f32>> {
    let at = |place: &usize| weights.first().and_then(|row| row.get(*place).copied());
    let all: Vec<f32> = places
        .iter()
        .map(|place| at(place).unwrap_or(0.0))
        .collect();
    let each = (all.len() / rows.max(1)).max(1);
    all.chunks(each).map(<[f32]>::to_vec).collect()
}

/// The folded maps of each row of the batch, `[row][layer]`.
fn by_row(
    maps: &[Tensor<4>],
    rows: usize,
    rule: &Rule<'_>,
) -> Result<Vec<Vec<Matrix>>, Blip2Error> {
    let mut all = vec![Vec::with_capacity(maps.len()); rows];
    for map in maps {
        let gradient = match rule {
            // What the score does not depend on has no gradient.
            Rule::Relevance(gradients) => Some(
                map.grad(gradients)
                    .unwrap_or_else(|| map.clone().inner().zeros_like()),
            ),
            Rule::Rollout | Rule::Attention => None,
        };
        for (row, folded) in all.iter_mut().zip(Matrix::folded(map, gradient)?) {
            row.push(folded);
        }
    }
    Ok(all)
}

/// Through layers of self-attention. `crossed`: what they give was read by cross-attention.
fn own(weights: &[f32], maps: &[Matrix], rule: &Rule<'_>, crossed: bool) -> Vec<f32> {
    match rule {
        Rule::Rollout => maps.iter().rev().fold(weights.to_vec(), halved),
        // The stage before read the patches' own positions.
        Rule::Attention if crossed => weights.to_vec(),
        Rule::Attention => maps
            .last()
            .map_or(weights.to_vec(), |map| map.after(weights)),
        Rule::Relevance(_) if crossed => normalised(weights, maps),
        Rule::Relevance(_) => maps.iter().rev().fold(weights.to_vec(), stepped),
    }
}

/// `w · (I + Ā)` (equation 6).
fn stepped(weights: Vec<f32>, map: &Matrix) -> Vec<f32> {
    let mut sums = map.after(&weights);
    add(&mut sums, 1.0, &weights);
    sums
}

/// `w · (I + A) / 2`: an attention's result is added to what it was given.
fn halved(weights: Vec<f32>, map: &Matrix) -> Vec<f32> {
    let sums = stepped(weights, map);
    sums.into_iter().map(|sum| sum / 2.0).collect()
}

/// `w · R̄`, where R = (I + Ā_L) … (I + Ā_1), and R̄ is its part H = R − I, each of whose rows is scaled
/// to the sum 1, plus I (equations 8 and 9): what is read by cross-attention counts as much as itself.
///
/// H may be a millionth of R, so it is never had by subtracting.
fn normalised(weights: &[f32], maps: &[Matrix]) -> Vec<f32> {
    // The sums of H's rows, H · 1, by the same product from the other side: H' = H + Ā · (I + H).
    let mut sums = vec![0.0; maps.first().map_or(0, |map| map.columns)];
    for map in maps {
        let all: Vec<f32> = sums.iter().map(|sum| 1.0 + sum).collect();
        add(&mut sums, 1.0, &map.before(&all));
    }
    let scaled: Vec<f32> = weights.iter().zip(&sums).map(share).collect();
    // scaled · H, from behind.
    let mut more = vec![0.0; scaled.len()];
    for map in maps.iter().rev() {
        let mut all = scaled.clone();
        add(&mut all, 1.0, &more);
        add(&mut more, 1.0, &map.after(&all));
    }
    add(&mut more, 1.0, weights);
    more
}

/// A weight divided by a row's sum; of a row of nothing, nothing.
fn share((weight, sum): (&f32, &f32)) -> f32 {
    match *sum > 0.0 {
        true => weight / sum,
        false => 0.0,
    }
}

/// Through layers of self-attention with cross-attention in those that `has` it, to what is read.
fn crossing(
    weights: &[f32],
    own: &[Matrix],
    cross: &[Matrix],
    has: &[bool],
    rule: &Rule<'_>,
) -> Vec<f32> {
    let side = own.first().map_or(0, |map| map.columns);
    let mut weights = weights.to_vec();
    weights.resize(side, 0.0);
    if let Rule::Attention = rule {
        return cross.last().map_or(Vec::new(), |map| map.after(&weights));
    }
    // Of relevance, how far the positions are mixed where each cross-attention reads.
    let mixed = match rule {
        Rule::Relevance(_) => mixtures(side, own),
        _ => Vec::new(),
    };
    let mut read = vec![0.0; cross.first().map_or(0, |map| map.columns)];
    let mut cross = cross.iter().rev();
    for (layer, map) in own.iter().enumerate().rev() {
        if has.get(layer).copied().unwrap_or(false)
            && let Some(looked) = cross.next()
        {
            match mixed.get(layer) {
                // R^sq grows by R̄ᵀ · Ā · R̄ (equation 10), whose last factor is the next stage's.
                Some(mixed) => add(&mut read, 1.0, &looked.after(&mixed.before(&weights))),
                None => {
                    // Positions behind those that look, such as text, pass by.
                    let looking = weights.iter_mut().take(looked.rows().len());
                    looking.for_each(|weight| *weight /= 2.0);
                    add(&mut read, 1.0, &looked.after(&weights));
                }
            }
        }
        weights = match rule {
            Rule::Relevance(_) => stepped(weights, map),
            _ => halved(weights, map),
        };
    }
    read
}

/// R̄ after each layer's self-attention.
fn mixtures(side: usize, own: &[Matrix]) -> Vec<Matrix> {
    let mut more = Matrix::nothing(side);
    own.iter()
        .map(|map| {
            more = more.grown(map);
            scaled(&more)
        })
        .collect()
}

/// R̄ of H = R − I.
fn scaled(more: &Matrix) -> Matrix {
    let mut scaled = more.clone();
    let rows = scaled.values.chunks_exact_mut(scaled.columns.max(1));
    for (place, row) in rows.enumerate() {
        let sum: f32 = row.iter().sum();
        if sum > 0.0 {
            row.iter_mut().for_each(|value| *value /= sum);
        }
        row[place] += 1.0;
    }
    scaled
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    type Rows = Vec<Vec<f64>>;

    fn random(rows: usize, columns: usize, seed: usize) -> Matrix {
        let value = |n: usize| ((n + 1) * (31 * seed + 7) * 7919 % 97) as f32 / 400.0;
        let values = (0..rows * columns).map(value).collect();
        Matrix { columns, values }
    }

    fn gradients() -> Gradients {
        let x = Tensor::<1>::ones([1], &Device::flex().autodiff()).require_grad();
        (x * 2.0).backward()
    }

    fn rows(matrix: &Matrix) -> Rows {
        let row = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
        matrix.rows().map(row).collect()
    }

    fn identity(side: usize) -> Rows {
        let row = |n| (0..side).map(|m| f64::from(u8::from(n == m))).collect();
        (0..side).map(row).collect()
    }

    fn product(a: &Rows, b: &Rows) -> Rows {
        let columns = b.first().map_or(0, Vec::len);
        let cell = |row: &Vec<f64>, n: usize| row.iter().zip(b).map(|(x, own)| x * own[n]).sum();
        a.iter()
            .map(|row| (0..columns).map(|n| cell(row, n)).collect())
            .collect()
    }

    fn sum(a: &Rows, b: &Rows) -> Rows {
        let row = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
        a.iter().zip(b).map(row).collect()
    }

    fn transposed(a: &Rows) -> Rows {
        let columns = a.first().map_or(0, Vec::len);
        (0..columns)
            .map(|n| a.iter().map(|row| row[n]).collect())
            .collect()
    }

    /// R̄, as the paper has it.
    fn bar(relevance: &Rows) -> Rows {
        let side = relevance.len();
        let mut hat = relevance.clone();
        for (n, row) in hat.iter_mut().enumerate() {
            row[n] -= 1.0;
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum);
        }
        sum(&hat, &identity(side))
    }

    fn assert_near(found: &[f32], weights: &[f32], expected: &Rows) {
        let weights = vec![weights.iter().map(|&x| f64::from(x)).collect()];
        for (found, expected) in found.iter().zip(&product(&weights, expected)[0]) {
            assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.abs().max(1.0));
        }
    }

    #[test]
    fn a_row_taken_through_from_behind_is_that_of_the_whole_matrices() {
        let (gradients, weights) = (gradients(), [0.25, 0.0, 1.0, 0.5]);
        let rule = Rule::Relevance(&gradients);
        let (maps, cross) = (
            [1, 2, 3].map(|seed| random(4, 4, seed)),
            // Of two of the layers, whose last position is text that looks at nothing.
            [4, 5].map(|seed| random(3, 6, seed)),
        );
        let mut whole = identity(4);
        let mut read = vec![vec![0.0; 6]; 4];
        let mut looks = cross.iter();
        for (n, map) in maps.iter().enumerate() {
            whole = sum(&whole, &product(&rows(map), &whole));
            read = sum(&read, &product(&rows(map), &read));
            if n != 1 {
                let mut looked = rows(looks.next().unwrap());
                looked.push(vec![0.0; 6]);
                read = sum(&read, &product(&transposed(&bar(&whole)), &looked));
            }
        }
        assert_near(&own(&weights, &maps, &rule, false), &weights, &whole);
        assert_near(&own(&weights, &maps, &rule, true), &weights, &bar(&whole));
        let has = [true, false, true];
        let found = crossing(&weights, &maps, &cross, &has, &rule);
        assert_near(&found, &weights, &read);
    }

    #[test]
    fn rollout_shares_everything_out() {
        let even = |rows: usize, columns: usize| Matrix {
            columns,
            values: vec![1.0 / columns as f32; rows * columns],
        };
        let own_maps = [even(4, 4), even(4, 4)];
        let through = own(&[1.0, 0.0, 0.0, 0.0], &own_maps, &Rule::Rollout, false);
        assert!((through.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(through[0] > through[1] && through[1] > 0.0);
        let cross = [even(4, 6), even(4, 6)];
        let weights = [1.0, 0.0, 0.0, 0.0];
        let read = crossing(&weights, &own_maps, &cross, &[true; 2], &Rule::Rollout);
        // Half of it at each reading, and half of the rest.
        assert!((read.iter().sum::<f32>() - 0.75).abs() < 1e-6);
    }

    #[test]
    fn a_row_of_nothing_stays_one() {
        let gradients = gradients();
        let nothing = [Matrix::nothing(3), Matrix::nothing(3)];
        let weights = [1.0, 2.0, 3.0];
        let found = own(&weights, &nothing, &Rule::Relevance(&gradients), true);
        assert_eq!(found, weights);
    }
}
