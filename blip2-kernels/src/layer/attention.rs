//! What stands around attention: its heads.

use burn::tensor::Tensor;

/// Splits the last axis into heads: `[batch, seq, heads · head_dim]` to
/// `[batch, heads, seq, head_dim]`.
///
/// ```
/// use blip2_kernels::{merge_heads, split_heads};
/// use burn::tensor::{Device, Tensor};
///
/// let x = Tensor::<3>::ones([2, 5, 24], &Device::flex());
/// let heads = split_heads(x.clone(), 3);
/// assert_eq!(heads.dims(), [2, 3, 5, 8]);
/// assert_eq!(merge_heads(heads).into_data(), x.into_data());
/// ```
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mask::{MASKED, causal_bias, padding_bias},
        seam::attention::DotProductAttention,
    };
    use burn::tensor::{Bool, Device, Distribution, Tolerance};

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
        let ours = DotProductAttention::new(q.clone(), k.clone(), v.clone(), 0.3)
            .with_bias(bias.clone())
            .with_map(true)
            .forward();
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
    fn rows_attend_to_their_sources() {
        let device = Device::flex();
        let q = random([4, 3, 5, 8], &device);
        let (k, v) = (random([3, 3, 6, 8], &device), random([3, 3, 6, 8], &device));
        let sources = [2, 0, 2, 2];
        let all = |x: &Tensor<4>| {
            let rows = sources.map(|source| x.clone().narrow(0, source, 1));
            Tensor::cat(rows.to_vec(), 0)
        };
        let expected = DotProductAttention::new(q.clone(), all(&k), all(&v), 0.3)
            .with_map(true)
            .forward();
        for keep_map in [false, true] {
            for [q, k, v] in [
                [q.clone(), k.clone(), v.clone()],
                [q.clone(), k.clone(), v.clone()].map(|x| x.autodiff().require_grad()),
            ] {
                let found = DotProductAttention::to_sources(q, k, v, &sources, 0.3)
                    .with_map(keep_map)
                    .forward();
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

    /// A kept map has the gradient that it has in `map · v`, and what it was made of that which it has
    /// where no map is kept.
    #[test]
    fn kept_maps_have_gradients() {
        let device = Device::flex();
        let [q, k, v] = [[2, 3, 4, 8], [2, 3, 6, 8], [2, 3, 6, 8]].map(|x| random(x, &device));
        let along = random([2, 3, 4, 8], &device);
        let gradients = |keep: bool| {
            let recorded = q.clone().autodiff().require_grad();
            let attended = DotProductAttention::new(recorded.clone(), k.clone(), v.clone(), 0.3)
                .with_map(keep)
                .forward();
            let score = (attended.output * along.clone()).sum();
            let gradients = score.backward();
            let of_map = attended.map.map(|map| map.grad(&gradients).unwrap());
            (recorded.grad(&gradients).unwrap(), of_map)
        };
        let ((of_q, of_map), (expected, none)) = (gradients(true), gradients(false));
        assert!(none.is_none());
        let near = |a: Tensor<4>, b: Tensor<4>| {
            let tolerance = Tolerance::absolute(1e-5);
            a.into_data()
                .assert_approx_eq::<f32>(&b.into_data(), tolerance);
        };
        near(of_q, expected);
        near(
            of_map.unwrap(),
            along.clone().matmul(v.clone().swap_dims(2, 3)),
        );
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
        let map = DotProductAttention::new(
            random([2, 1, 1, 4], &device),
            random([2, 1, 3, 4], &device),
            random([2, 1, 3, 4], &device),
            0.5,
        )
        .with_bias(bias)
        .with_map(true)
        .forward()
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
