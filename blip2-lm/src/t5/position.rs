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
        let table = self.relative_attention_bias.val();
        let [buckets, heads] = table.dims();
        let first = keys.saturating_sub(queries);
        let mut places = Vec::with_capacity(queries * keys);
        for query in first..keys {
            places.extend((0..keys).map(|key| {
                let distance = key as i64 - query as i64;
                bucket(distance, self.bidirectional, buckets, self.max_distance) as i64
            }));
        }
        let places = TensorData::new(places, [queries * keys]);
        let places = Tensor::<1, Int>::from_data(places, &table.device());
        table
            .select(0, places)
            .reshape([1, queries, keys, heads])
            .permute([0, 3, 1, 2])
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

    /// Values by `T5Attention._relative_position_bucket` of `transformers` 5.23.
    #[test]
    fn buckets_equal_the_reference() {
        let distances = [
            -200, -129, -128, -64, -33, -16, -8, -7, -1, 0, 1, 7, 8, 15, 100, 300,
        ];
        let of = |bidirectional, buckets, max| {
            distances.map(|distance| bucket(distance, bidirectional, buckets, max))
        };
        assert_eq!(
            of(true, 32, 128),
            [15, 15, 15, 14, 12, 10, 8, 7, 1, 0, 17, 23, 24, 25, 31, 31]
        );
        assert_eq!(
            of(false, 32, 128),
            [31, 31, 31, 26, 21, 16, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            of(true, 8, 20),
            [3, 3, 3, 3, 3, 3, 3, 3, 1, 0, 5, 7, 7, 7, 7, 7]
        );
    }
}
