//! Relative positions: a learned bias for each head and bucket of distances.

use blip2_io::config::T5Config;
use blip2_kernels::{Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, TensorData},
};

/// The bias that a stack's first layer learns and all its layers add to their scores
/// (`T5Attention.compute_bias`).
#[derive(Module, Debug)]
pub(super) struct RelativePositions {
    relative_attention_bias: Param<Tensor<2>>,
    bidirectional: bool,
    max_distance: usize,
}

impl RelativePositions {
    /// From the weights of the first layer's attention.
    pub(super) fn load(config: &T5Config, bidirectional: bool, weights: &Weights<'_>) -> Self {
        let shape = [config.relative_attention_num_buckets, config.num_heads];
        let table = weights.at("relative_attention_bias");
        Self {
            relative_attention_bias: table.param("weight", shape, Role::Dense),
            bidirectional,
            max_distance: config.relative_attention_max_distance,
        }
    }

    /// The bias for `queries` positions that are the last of `keys`.
    ///
    /// # Shapes
    ///
    /// - output: `[1, heads, queries, keys]`
    pub(super) fn bias(&self, queries: usize, keys: usize) -> Tensor<4> {
        self.bias_from(keys.saturating_sub(queries), queries, keys)
    }

    /// The bias for `queries` positions from `first` on, all of them among `keys`.
    ///
    /// # Shapes
    ///
    /// - output: `[1, heads, queries, keys]`
    pub(super) fn bias_from(&self, first: usize, queries: usize, keys: usize) -> Tensor<4> {
        let table = self.relative_attention_bias.val();
        let [buckets, heads] = table.dims();
        // The buckets of all distances there are, from the first key as the last query sees it to
        // the last key as the first query does.
        let last = first + queries - 1;
        let distances = -(last as i64)..(keys - first) as i64;
        let buckets: Vec<i64> = distances
            .map(|distance| bucket(distance, self.bidirectional, buckets, self.max_distance) as i64)
            .collect();
        let mut places: Vec<i64> = Vec::with_capacity(queries * keys);
        for query in first..=last {
            places.extend(buckets.iter().skip(last - query).take(keys));
        }
        let places = TensorData::new(places, [queries * keys]);
        let places = Tensor::<1, Int>::from_data(places, &table.device());
        // Heads first, so that adding the bias reads memory in order.
        table
            .transpose()
            .select(1, places)
            .reshape([1, heads, queries, keys])
    }
}

/// The bucket of the distance from a query to a key: one for each small distance, then
/// logarithmically wider ones up to `max_distance`; half of them for each direction, or all for
/// the past (`T5Attention._relative_position_bucket`).
fn bucket(distance: i64, bidirectional: bool, buckets: usize, max_distance: usize) -> usize {
    let (buckets, base, distance) = if bidirectional {
        let half = buckets / 2;
        (
            half,
            if distance > 0 { half } else { 0 },
            distance.unsigned_abs() as usize,
        )
    } else {
        (buckets, 0, (-distance).max(0) as usize)
    };
    let exact = buckets / 2;
    if distance < exact {
        return base + distance;
    }
    // In 32 bits, like the reference: a boundary that falls elsewhere is another bucket.
    let position = (distance as f32 / exact as f32).ln();
    let range = (max_distance as f64 / exact as f64).ln() as f32;
    let wide = exact + (position / range * (buckets - exact) as f32) as usize;
    base + wide.min(buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Setting {
        bidirectional: bool,
        buckets: usize,
        max_distance: usize,
        until: i64,
        /// The distances at which a bucket begins, and that bucket.
        begins: Vec<(i64, usize)>,
    }

    /// Every distance: `fixtures/lm/make_model_goldens.py`.
    #[test]
    fn buckets_equal_the_reference() {
        let settings: Vec<Setting> =
            serde_json::from_str(&blip2_testing::text("lm/t5_position.json")).unwrap();
        assert_eq!(settings.len(), 9);
        for setting in settings {
            let mut begins = setting.begins.iter().peekable();
            let mut expected = usize::MAX;
            for distance in -setting.until..=setting.until {
                if let Some((_, bucket)) = begins.next_if(|(begin, _)| *begin == distance) {
                    expected = *bucket;
                }
                let found = bucket(
                    distance,
                    setting.bidirectional,
                    setting.buckets,
                    setting.max_distance,
                );
                let Setting {
                    buckets,
                    max_distance,
                    ..
                } = setting;
                assert_eq!(found, expected, "{distance} of {buckets} to {max_distance}");
            }
            assert!(begins.peek().is_none());
        }
    }
}
