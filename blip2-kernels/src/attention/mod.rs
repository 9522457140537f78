//! Scaled dot-product attention, and the reshaping around it.

#[cfg(feature = "flex")]
mod exact;
#[cfg(feature = "flex")]
mod kernel;
#[cfg(feature = "flex")]
mod rows;

#[cfg(feature = "flex")]
pub(crate) use rows::KeyRows;

use burn::tensor::{Bool, Int, Tensor, TensorData, activation};

/// What is added to the score of a position that must not be attended to.
///
/// Finite, so that a row in which everything is masked (a padding position) gives an even
/// distribution rather than NaN, which would spread through the values of later layers; and so
/// far below any score that its weight is exactly zero beside an unmasked one.
pub const MASKED: f32 = -1e30;

/// What [`attention`] returns.
#[derive(Debug, Clone)]
pub struct Attended {
    /// The weighted values, `[batch, heads, queries, head_dim]`.
    pub output: Tensor<4>,
    /// The attention map, `[batch, heads, queries, keys]`, if it was asked for.
    pub map: Option<Tensor<4>>,
}

/// `softmax(q · kᵀ · scale + bias) · v` (Vaswani et al., 2017, section 3.2.1).
///
/// `scale` multiplies the scores, which is one rounding less than multiplying the queries. `bias`
/// carries masks and relative positions; it is added to the scaled scores.
///
/// # Shapes
///
/// - q: `[batch, heads, queries, head_dim]`
/// - k, v: `[batch, groups, keys, head_dim]`, where a head of keys serves `heads / groups` heads of
///   queries that follow each other: as many groups as heads but in grouped-query attention
///   (Ainslie et al., 2023)
/// - bias: `[batch or 1, heads or 1, queries or 1, keys]`
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
    keep_map: bool,
) -> Attended {
    attend(q, k, v, scale, bias, keep_map, false)
}

/// As [`attention`], with the operands of both products rounded to brain floats where that is
/// faster: for layers whose [matrices round theirs too](crate::Linear::rounds_activations).
pub fn rounded_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
    keep_map: bool,
) -> Attended {
    attend(q, k, v, scale, bias, keep_map, true)
}

/// As [`attention`], where several rows of queries look at the same keys and values: row `i` at row
/// `sources[i]`.
///
/// # Shapes
///
/// - q: `[batch, heads, queries, head_dim]`, with a source for each row
/// - k, v: `[sources, groups, keys, head_dim]`
/// - bias: `[batch or 1, heads or 1, queries or 1, keys]`
///
/// # Panics
///
/// If there is no source for each row of queries, or no keys for a source.
pub fn attention_to_sources(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    sources: &[usize],
    scale: f64,
    bias: Option<Tensor<4>>,
    keep_map: bool,
) -> Attended {
    let ([rows, ..], [held, ..]) = (q.dims(), k.dims());
    assert!(
        sources.len() == rows && sources.iter().all(|&source| source < held),
        "{rows} rows of queries look at {sources:?} of {held}"
    );
    #[cfg(feature = "flex")]
    if !keep_map && let (Some(k), Some(v)) = (crate::flex::rows(&k), crate::flex::rows(&v)) {
        let of = |rows| rows::Sources {
            rows: view(rows),
            sources,
        };
        if let Some(output) = attend_rows(&q, [&of(&k), &of(&v)], scale, bias.as_ref(), false) {
            return Attended { output, map: None };
        }
    }
    #[cfg(feature = "autodiff")]
    if !keep_map
        && let Some(output) =
            crate::recorded::attention(&q, &k, &v, Some(sources), scale, bias.as_ref())
    {
        return Attended { output, map: None };
    }
    let places: Vec<i64> = sources.iter().map(|&source| source as i64).collect();
    let places = TensorData::new(places, [sources.len()]);
    let places = Tensor::<1, Int>::from_data(places, &k.device());
    let (k, v) = (k.select(0, places.clone()), v.select(0, places));
    attend(q, k, v, scale, bias, keep_map, false)
}

/// As [`attention`], of queries, keys and values whose heads follow one another, as a layer gives
/// them that computes all three at once. With `rounded` as [`rounded_attention`].
///
/// # Shapes
///
/// - qkv: `[batch, 3 · heads, seq, head_dim]`
pub fn joint_attention(qkv: Tensor<4>, scale: f64, keep_map: bool, rounded: bool) -> Attended {
    #[cfg(feature = "autodiff")]
    if !keep_map && let Some(output) = crate::recorded::joint_attention(&qkv, scale) {
        return Attended { output, map: None };
    }
    let heads = qkv.dims()[1] / 3;
    let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().narrow(1, part * heads, heads));
    attend(q, k, v, scale, None, keep_map, rounded)
}

fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    scale: f64,
    bias: Option<Tensor<4>>,
    keep_map: bool,
    rounded: bool,
) -> Attended {
    #[cfg(feature = "flex")]
    if !keep_map && let Some(output) = fused(&q, &k, &v, scale, bias.as_ref(), rounded) {
        return Attended { output, map: None };
    }
    #[cfg(feature = "autodiff")]
    if !keep_map
        && let Some(output) = crate::recorded::attention(&q, &k, &v, None, scale, bias.as_ref())
    {
        return Attended { output, map: None };
    }
    let _ = rounded;
    let [_, heads, _, _] = q.dims();
    let (k, v) = (repeated(k, heads), repeated(v, heads));
    let scores = q.matmul(k.swap_dims(2, 3));
    let scores = if scale == 1.0 { scores } else { scores * scale };
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    let map = activation::softmax(scores, 3);
    let kept = keep_map.then(|| map.clone());
    Attended {
        output: map.matmul(v),
        map: kept,
    }
}

/// Attention by the kernel, where there is one for the tensors.
#[cfg(feature = "flex")]
fn fused(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    scale: f64,
    bias: Option<&Tensor<4>>,
    rounded: bool,
) -> Option<Tensor<4>> {
    let (k, v) = (crate::flex::rows(k)?, crate::flex::rows(v)?);
    attend_rows(q, [&view(&k), &view(&v)], scale, bias, rounded)
}

/// Attention to keys and values wherever they lie; `None` for queries or a bias that the kernel
/// does not take.
#[cfg(feature = "flex")]
pub(crate) fn attend_rows(
    q: &Tensor<4>,
    keys_values: [&dyn KeyRows; 2],
    scale: f64,
    bias: Option<&Tensor<4>>,
    rounded: bool,
) -> Option<Tensor<4>> {
    use crate::{flex, isa::Isa};

    let q = flex::rows(q)?;
    let ([batch, heads, queries, _], keys) = (q.dims, keys_values[0].dims()[2]);
    let bias = match bias {
        // A bias that is the same for all keys is not worth a kernel's attention.
        Some(bias) if bias.dims()[3] == keys => Some(flex::rows(bias)?),
        Some(_) => return None,
        None => None,
    };
    let width = keys_values[1].dims()[3];
    let bias = bias
        .as_ref()
        .map(|bias| view(bias).broadcast([batch, heads, queries, keys]));
    let isa = Isa::active();
    let y = kernel::attend(isa, rounded, view(&q), keys_values, scale as f32, bias);
    Some(flex::lift(y, [batch, queries, heads, width]).swap_dims(1, 2))
}

#[cfg(feature = "flex")]
fn view(rows: &crate::flex::Rows) -> rows::View<'_> {
    rows::View {
        data: rows.data(),
        dims: rows.dims,
        strides: rows.strides,
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

/// Splits the last axis into heads: `[batch, seq, heads · head_dim]` to
/// `[batch, heads, seq, head_dim]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch, seq, heads, width / heads])
        .swap_dims(1, 2)
}

/// Joins the heads again: `[batch, heads, seq, head_dim]` to `[batch, seq, heads · head_dim]`.
pub fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, seq, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, seq, heads * head_dim])
}

/// The bias that hides padding: 0 where `attend` is true and [`MASKED`] elsewhere.
///
/// # Shapes
///
/// - attend: `[batch, keys]`
/// - output: `[batch, 1, 1, keys]`
pub fn padding_bias(attend: Tensor<2, Bool>) -> Tensor<4> {
    let [batch, keys] = attend.dims();
    let zeros = Tensor::<2>::zeros([batch, keys], &attend.device());
    zeros
        .mask_fill(attend.bool_not(), MASKED)
        .reshape([batch, 1, 1, keys])
}

/// The bias that hides the future from `queries` positions which are the last of `keys`: query
/// `i` sees keys up to `keys − queries + i`.
///
/// # Shapes
///
/// - output: `[1, 1, queries, keys]`
pub fn causal_bias(queries: usize, keys: usize, device: &burn::tensor::Device) -> Tensor<4> {
    let past = keys.saturating_sub(queries);
    let hidden = Tensor::<2, Bool>::tril_mask([queries, keys], past as i64, device);
    Tensor::<2>::zeros([queries, keys], device)
        .mask_fill(hidden, MASKED)
        .reshape([1, 1, queries, keys])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    #[test]
    fn heads_split_and_merge_back() {
        let device = Device::flex();
        let x = Tensor::<3>::random([2, 5, 12], Distribution::Default, &device);
        let split = split_heads(x.clone(), 3);
        assert_eq!(split.dims(), [2, 3, 5, 4]);
        merge_heads(split)
            .into_data()
            .assert_eq(&x.into_data(), true);
    }

    #[test]
    fn agrees_with_burns_own_attention() {
        let device = Device::flex();
        let (q, k) = (random([2, 3, 4, 8], &device), random([2, 3, 6, 8], &device));
        let v = random([2, 3, 6, 8], &device);
        let bias = random([2, 3, 4, 6], &device);
        let ours = attention(
            q.clone(),
            k.clone(),
            v.clone(),
            0.3,
            Some(bias.clone()),
            true,
        );
        let options = burn::tensor::ops::AttentionModuleOptions {
            scale: Some(0.3),
            ..Default::default()
        };
        let burns = burn::tensor::module::attention(q, k, v, None, Some(bias), options);
        ours.output
            .into_data()
            .assert_approx_eq::<f32>(&burns.into_data(), Tolerance::absolute(1e-5));
        let sums = ours
            .map
            .unwrap()
            .sum_dim(3)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }

    /// On the kernels' backend, where gradients are recorded, and by Burn's operations.
    #[test]
    fn rows_look_at_their_sources() {
        let device = Device::flex();
        let q = random([4, 3, 5, 8], &device);
        let (k, v) = (random([3, 3, 6, 8], &device), random([3, 3, 6, 8], &device));
        let sources = [2, 0, 2, 2];
        let all = |x: &Tensor<4>| {
            let rows = sources.map(|source| x.clone().narrow(0, source, 1));
            Tensor::cat(rows.to_vec(), 0)
        };
        let expected = attention(q.clone(), all(&k), all(&v), 0.3, None, true);
        for keep_map in [false, true] {
            for [q, k, v] in [
                [q.clone(), k.clone(), v.clone()],
                [q.clone(), k.clone(), v.clone()].map(|x| x.autodiff().require_grad()),
            ] {
                let found = attention_to_sources(q, k, v, &sources, 0.3, None, keep_map);
                let near = |a: Tensor<4>, b: Tensor<4>| {
                    let tolerance = Tolerance::absolute(1e-5);
                    a.into_data()
                        .assert_approx_eq::<f32>(&b.into_data(), tolerance);
                };
                near(found.output, expected.output.clone());
                if let (Some(map), Some(expected)) = (found.map, expected.map.clone()) {
                    near(map, expected);
                }
            }
        }
    }

    #[test]
    fn masks_hide_exactly() {
        let device = Device::flex();
        let causal = causal_bias(2, 4, &device)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(causal, [0.0, 0.0, 0.0, MASKED, 0.0, 0.0, 0.0, 0.0]);

        let attend = Tensor::<2, Bool>::from_data([[true, false, true], [false; 3]], &device);
        let bias = padding_bias(attend);
        assert_eq!(bias.dims(), [2, 1, 1, 3]);
        let map = attention(
            random([2, 1, 1, 4], &device),
            random([2, 1, 3, 4], &device),
            random([2, 1, 3, 4], &device),
            0.5,
            Some(bias),
            true,
        )
        .map
        .unwrap()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
        assert_eq!(map[1], 0.0);
        for weight in &map[3..] {
            assert!(
                (weight - 1.0 / 3.0).abs() < 1e-6,
                "a fully masked row is even: {map:?}"
            );
        }
    }
}
