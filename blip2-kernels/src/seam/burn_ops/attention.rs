//! Attention by Burn's operations, which keeps its map.

use burn::tensor::{Int, Tensor, TensorData, activation};

use crate::seam::attention::{Attended, DotProductAttention, Operands};

/// As [`DotProductAttention::forward`].
pub(crate) fn attention(described: DotProductAttention<'_>) -> Attended {
    let [q, k, v] = match described.operands {
        Operands::Nothing { q } => {
            let output = q.zeros_like();
            return Attended { output, map: None };
        }
        operands => apart(operands),
    };
    let ([_, heads, _, _], [_, _, keys, _]) = (q.dims(), k.dims());
    let (k, v) = (repeated(k, heads), repeated(v, heads));
    let scores = q.matmul(k.swap_dims(2, 3));
    let scores = match described.scale {
        1.0 => scores,
        scale => scores * scale,
    };
    let scores = match described.bias {
        // Of a cache whose places are counted elsewhere, a bias is of those to come, too.
        Some(bias) if bias.dims()[3] > keys => scores + bias.narrow(3, 0, keys),
        Some(bias) => scores + bias,
        None => scores,
    };
    let map = activation::softmax(scores, 3);
    let (map, kept) = match described.keeps_map {
        true => kept(map),
        false => (map, None),
    };
    Attended {
        output: map.matmul(v),
        map: kept,
    }
}

/// A map as it is multiplied, and as it is kept: where gradients are recorded, as a leaf of the graph.
///
/// Burn drops the gradients of all that is no leaf. So the values are multiplied by the sum of a leaf
/// that holds the map and of the map less itself: of nothing at all, but recorded. The leaf gets the
/// map's whole gradient, and so does what the map was made of.
fn kept(map: Tensor<4>) -> (Tensor<4>, Option<Tensor<4>>) {
    if !map.is_autodiff() {
        return (map.clone(), Some(map));
    }
    let leaf = map.clone().detach().require_grad();
    let nothing = map.clone() - map.detach();
    (leaf.clone() + nothing, Some(leaf))
}

/// Queries, keys and values, with a row of keys for each row of queries.
fn apart(operands: Operands<'_>) -> [Tensor<4>; 3] {
    match operands {
        Operands::Apart { q, k, v } => [q, k, v],
        Operands::Sources { q, k, v, sources } => {
            let places: Vec<i64> = sources.iter().map(|&source| source as i64).collect();
            let places = TensorData::new(places, [sources.len()]);
            let places = Tensor::<1, Int>::from_data(places, &k.device());
            let (k, v) = (k.select(0, places.clone()), v.select(0, places));
            [q, k, v]
        }
        Operands::Joint(qkv) => {
            let heads = qkv.dims()[1] / 3;
            [0, 1, 2].map(|part| qkv.clone().narrow(1, part * heads, heads))
        }
        #[cfg(feature = "flex")]
        Operands::Shared { q, cache } => {
            let (k, v) = cache.tensors();
            let (k, v) = (k.to_device(&q.device()), v.to_device(&q.device()));
            [q, k, v]
        }
        #[cfg(feature = "gpu")]
        Operands::OnDevice { q, cache } => {
            let (k, v) = cache.tensors();
            let (k, v) = (k.to_device(&q.device()), v.to_device(&q.device()));
            [q, k, v]
        }
        // Keys and values of no position.
        Operands::Nothing { q } => [q.clone(), q.clone(), q],
    }
}

/// Each head repeated for its whole group: `[batch, groups, seq, head_dim]` to
/// `[batch, heads, seq, head_dim]`.
fn repeated(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, groups, seq, head_dim] = x.dims();
    if groups == heads {
        return x;
    }
    x.reshape([batch, groups, 1, seq, head_dim])
        .expand([batch, groups, heads / groups, seq, head_dim])
        .reshape([batch, heads, seq, head_dim])
}
