//! Attention of rows that have different numbers of keys: part by part.

use burn::tensor::Tensor;

use super::attention::{Attended, DotProductAttention};

/// As [`DotProductAttention::forward`]. A part gets what it gets alone.
pub(super) fn attention(described: DotProductAttention<'_>) -> Attended {
    let DotProductAttention {
        operands,
        behind,
        scale,
        bias,
        causal,
        rounding,
        keeps_map,
    } = described;
    let parts = std::iter::once(operands).chain(behind);
    let (mut outputs, mut maps, mut start) = (Vec::new(), Vec::new(), 0);
    for operands in parts {
        let (rows, keys) = (operands.rows(), operands.keys());
        let bias = bias.as_ref().map(|bias| part(bias, start, rows, keys));
        let attended = DotProductAttention::of(operands, scale)
            .with_bias(bias)
            .with_causal(causal)
            .with_rounding(rounding)
            .with_map(keeps_map)
            .forward();
        outputs.push(attended.output);
        maps.extend(attended.map);
        start += rows;
    }
    Attended {
        output: Tensor::cat(outputs, 0),
        map: (!maps.is_empty()).then(|| aligned(maps)),
    }
}

/// The bias of `rows` from `start` on, whose `keys` are the last columns.
fn part(bias: &Tensor<4>, start: usize, rows: usize, keys: usize) -> Tensor<4> {
    let [batch, _, _, longest] = bias.dims();
    let of_rows = match batch {
        1 => bias.clone(),
        _ => bias.clone().narrow(0, start, rows),
    };
    match longest > keys && longest > 1 {
        true => of_rows.narrow(3, longest - keys, keys),
        false => of_rows,
    }
}

/// Maps in one, with zeros before those of fewer keys.
fn aligned(maps: Vec<Tensor<4>>) -> Tensor<4> {
    let longest = maps.iter().map(|map| map.dims()[3]).max().unwrap_or(0);
    let widened = maps.into_iter().map(|map| {
        let [rows, heads, queries, keys] = map.dims();
        let before = [rows, heads, queries, longest - keys];
        match longest > keys {
            true => Tensor::cat(vec![Tensor::zeros(before, &map.device()), map], 3),
            false => map,
        }
    });
    Tensor::cat(widened.collect(), 0)
}
