//! BERT's layer (Devlin et al., 2019), with cross-attention where a model has it: the Q-Former's and
//! that of BLIP-1's text model.
//!
//! BERT is post-norm: each of its blocks is `LayerNorm(x + f(x))`, with a norm *after* the residual
//! sum. A layer is two or three such blocks: self-attention, cross-attention to something encoded,
//! and the feed-forward network.

use burn::{module::Module, tensor::Tensor};

use crate::{
    kernel::activation::Activation,
    layer::{
        attention::{merge_heads, split_heads},
        cache::KvCache,
        keep::Keep,
        linear::Linear,
        mlp::mlp,
        norm::LayerNorm,
    },
    seam::attention::DotProductAttention,
    weights::{bias::Bias, cursor::Weights},
};

/// The numbers that decide a layer's shape, and how a checkpoint names its parts.
#[derive(Debug, Clone)]
pub struct BertConfig<'a> {
    /// The width of hidden states.
    pub hidden_size: usize,
    /// The number of attention heads.
    pub num_attention_heads: usize,
    /// The width inside the feed-forward network.
    pub intermediate_size: usize,
    /// The feed-forward network's activation.
    pub hidden_act: Activation,
    /// The epsilon of the norms.
    pub layer_norm_eps: f64,
    /// The width of what cross-attention reads; `None` of a layer without cross-attention.
    pub encoder_hidden_size: Option<usize>,
    /// What queries, keys and values are below in an attention block: BERT says `self`, the
    /// Q-Former `attention`.
    pub projections: &'a str,
}

/// A post-norm attention block: the projections, the residual and the norm.
#[derive(Module, Debug)]
pub struct BertAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    layer_norm: LayerNorm,
    num_heads: usize,
}

/// What a block of cross-attention reads.
#[derive(Debug)]
pub struct BertSource<'a> {
    /// The encoded sources, `[batch, keys, encoder_hidden]`, or fewer with `rows`.
    pub states: &'a Tensor<3>,
    /// Where several rows read one source: for each row, which of `states` it reads, so that keys
    /// and values are computed once for each source.
    pub rows: Option<&'a [usize]>,
    /// Hides padding of the sources, `[batch, 1, 1, keys]`.
    pub bias: Option<Tensor<4>>,
    /// Of a decode: the keys and values of the sources. The first step fills it, and later ones
    /// read it alone.
    pub cache: Option<&'a mut KvCache>,
}

impl<'a> BertSource<'a> {
    /// All of one source for each row.
    pub fn new(states: &'a Tensor<3>) -> Self {
        Self {
            states,
            rows: None,
            bias: None,
            cache: None,
        }
    }
}

/// A block's output, `[batch, seq, hidden]`, with its attention map, `[batch, heads, seq, keys]`, if
/// that was asked for.
pub type BertAttended = (Tensor<3>, Option<Tensor<4>>);

impl BertAttention {
    /// Builds the block below the cursor; keys and values are made of states of width `source_dim`.
    pub fn load(config: &BertConfig<'_>, source_dim: usize, weights: &Weights<'_>) -> Self {
        let hidden = config.hidden_size;
        let (projections, output) = (weights.at(config.projections), weights.at("output"));
        Self {
            query: projections.linear("query", hidden, hidden, Bias::With),
            key: projections.linear("key", source_dim, hidden, Bias::With),
            value: projections.linear("value", source_dim, hidden, Bias::With),
            dense: output.linear("dense", hidden, hidden, Bias::With),
            layer_norm: output.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            num_heads: config.num_attention_heads,
        }
    }

    /// Self-attention, over the positions of a cache too if there is one.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, new, hidden]`
    /// - bias: `[batch or 1, 1, new or 1, keys]`
    pub fn attend_self(
        &self,
        x: Tensor<3>,
        bias: Option<Tensor<4>>,
        cache: Option<&mut KvCache>,
        keep: Keep,
    ) -> BertAttended {
        let (k, v) = self.keys_values(x.clone());
        let (q, scale) = self.queries(x.clone());
        let attention = match cache {
            Some(cache) => {
                cache.append(k, v);
                cache.attention(q, scale)
            }
            None => DotProductAttention::new(q, k, v, scale),
        };
        let attended = attention
            .with_bias(bias)
            .with_map(keep.attentions)
            .forward();
        (self.finish(attended.output, x), attended.map)
    }

    /// Cross-attention to what was encoded.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, new, hidden]`
    pub fn attend_source(&self, x: Tensor<3>, source: BertSource<'_>, keep: Keep) -> BertAttended {
        let (q, scale) = self.queries(x.clone());
        let keys_values = || self.keys_values(source.states.clone());
        let attention = match (source.cache, source.rows) {
            (Some(cache), _) => {
                if cache.is_empty() {
                    let (k, v) = keys_values();
                    cache.append(k, v);
                }
                cache.attention(q, scale)
            }
            (None, Some(rows)) => {
                let (k, v) = keys_values();
                DotProductAttention::to_sources(q, k, v, rows, scale)
            }
            (None, None) => {
                let (k, v) = keys_values();
                DotProductAttention::new(q, k, v, scale)
            }
        };
        let attention = attention.with_bias(source.bias).with_map(keep.attentions);
        let attended = attention.forward();
        (self.finish(attended.output, x), attended.map)
    }

    fn queries(&self, x: Tensor<3>) -> (Tensor<4>, f64) {
        let q = split_heads(self.query.forward(x), self.num_heads);
        let [_, _, _, head_dim] = q.dims();
        (q, (head_dim as f64).powf(-0.5))
    }

    fn keys_values(&self, source: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        let [k, v] = Linear::forward_together([&self.key, &self.value], source);
        let split = |projected| split_heads(projected, self.num_heads);
        (split(k), split(v))
    }

    fn finish(&self, attended: Tensor<4>, residual: Tensor<3>) -> Tensor<3> {
        let output = self.dense.forward_onto(merge_heads(attended), residual);
        self.layer_norm.forward(output)
    }
}

/// The post-norm feed-forward network.
#[derive(Module, Debug)]
pub struct BertFeedForward {
    intermediate: Linear,
    output: Linear,
    layer_norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl BertFeedForward {
    /// Builds the network from `intermediate` and `output` below the cursor, by whatever names the
    /// checkpoint has for them.
    pub fn load(
        config: &BertConfig<'_>,
        [intermediate, output]: [&str; 2],
        weights: &Weights<'_>,
    ) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (intermediate, output) = (weights.at(intermediate), weights.at(output));
        Self {
            intermediate: intermediate.linear("dense", hidden, inner, Bias::With),
            output: output.linear("dense", inner, hidden, Bias::With),
            layer_norm: output.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            activation: config.hidden_act,
        }
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, seq, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let layers = [&self.intermediate, &self.output];
        let output = mlp(x.clone(), layers, self.activation, x);
        self.layer_norm.forward(output)
    }
}

/// A layer: self-attention, cross-attention if it has any, and the feed-forward network.
///
/// ```
/// use blip2_kernels::bert::{BertConfig, BertLayer, BertSource};
/// use blip2_kernels::{Activation, Keep, RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let config = BertConfig {
///     hidden_size: 32,
///     num_attention_heads: 4,
///     intermediate_size: 64,
///     hidden_act: Activation::Gelu,
///     layer_norm_eps: 1e-12,
///     encoder_hidden_size: Some(48), // the width of what it looks at
///     projections: "self",
/// };
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let weights = Weights::new(&source, &device).at("encoder.layer.0");
/// let layer = BertLayer::load(&config, ["intermediate", "output"], &weights);
///
/// let (x, image) = (Tensor::ones([1, 5, 32], &device), Tensor::ones([1, 10, 48], &device));
/// let (attended, _) = layer.attend(x, None, None, Keep::NOTHING);
/// let (y, map) = layer.transform(attended, Some(BertSource::new(&image)), Keep::ATTENTIONS);
/// assert_eq!(y.dims(), [1, 5, 32]);
/// assert_eq!(map.map(|map| map.dims()), Some([1, 4, 5, 10])); // where it looked
/// ```
#[derive(Module, Debug)]
pub struct BertLayer {
    attention: BertAttention,
    crossattention: Option<BertAttention>,
    feed_forward: BertFeedForward,
}

impl BertLayer {
    /// Builds the layer from `attention`, `crossattention` if it has one, and the two parts of the
    /// feed-forward network, of the given names, below the cursor.
    pub fn load(config: &BertConfig<'_>, feed_forward: [&str; 2], weights: &Weights<'_>) -> Self {
        let cross = |encoder| BertAttention::load(config, encoder, &weights.at("crossattention"));
        Self {
            attention: BertAttention::load(config, config.hidden_size, &weights.at("attention")),
            crossattention: config.encoder_hidden_size.map(cross),
            feed_forward: BertFeedForward::load(config, feed_forward, weights),
        }
    }

    /// Whether the layer reads a source.
    pub fn has_cross_attention(&self) -> bool {
        self.crossattention.is_some()
    }

    /// The first half: self-attention, as [`BertAttention::attend_self`].
    pub fn attend(
        &self,
        x: Tensor<3>,
        bias: Option<Tensor<4>>,
        cache: Option<&mut KvCache>,
        keep: Keep,
    ) -> BertAttended {
        self.attention.attend_self(x, bias, cache, keep)
    }

    /// The second half: cross-attention, if the layer has it and there is a source, then the
    /// feed-forward network. The map is cross-attention's.
    ///
    /// # Shapes
    ///
    /// - attended and output: `[batch, new, hidden]`
    pub fn transform(
        &self,
        attended: Tensor<3>,
        source: Option<BertSource<'_>>,
        keep: Keep,
    ) -> BertAttended {
        let (attended, map) = match (&self.crossattention, source) {
            (Some(cross), Some(source)) => cross.attend_source(attended, source, keep),
            _ => (attended, None),
        };
        (self.feed_forward.forward(attended), map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mask::causal_bias, weights::random::RandomWeights};
    use burn::tensor::{Device, Distribution, Tolerance};

    fn config() -> BertConfig<'static> {
        BertConfig {
            hidden_size: 16,
            num_attention_heads: 2,
            intermediate_size: 32,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            encoder_hidden_size: Some(12),
            projections: "self",
        }
    }

    fn layer(cross: bool) -> BertLayer {
        let source = RandomWeights::new(1, 0.3);
        let device = Device::flex();
        let weights = Weights::new(&source, &device);
        let mut config = config();
        config.encoder_hidden_size = config.encoder_hidden_size.filter(|_| cross);
        BertLayer::load(&config, ["intermediate", "output"], &weights)
    }

    fn random(shape: [usize; 3]) -> Tensor<3> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn assert_near(a: Tensor<3>, b: Tensor<3>) {
        let tolerance = Tolerance::absolute(1e-5);
        a.into_data()
            .assert_approx_eq::<f32>(&b.into_data(), tolerance);
    }

    /// A decode's caches, of its own positions and of the source, change no number.
    #[test]
    fn positions_one_by_one_are_positions_together() {
        let (layer, device) = (layer(true), Device::flex());
        let (x, states) = (random([2, 4, 16]), random([2, 5, 12]));
        let (together, map) =
            layer.attend(x.clone(), Some(causal_bias(4, 4, &device)), None, Keep::ALL);
        assert_eq!(map.map(|map| map.dims()), Some([2, 2, 4, 4]));
        let (together, map) = layer.transform(together, Some(BertSource::new(&states)), Keep::ALL);
        assert_eq!(map.map(|map| map.dims()), Some([2, 2, 4, 5]));

        let (mut own, mut encoded) = (KvCache::new(2, 4), KvCache::new(2, 5));
        let steps = (0..4).map(|n| {
            let (attended, _) = layer.attend(
                x.clone().narrow(1, n, 1),
                None,
                Some(&mut own),
                Keep::NOTHING,
            );
            let source = BertSource {
                cache: Some(&mut encoded),
                ..BertSource::new(&states)
            };
            layer.transform(attended, Some(source), Keep::NOTHING).0
        });
        assert_near(Tensor::cat(steps.collect(), 1), together);
    }

    #[test]
    fn rows_may_share_a_source() {
        let (layer, x, states) = (layer(true), random([3, 2, 16]), random([2, 5, 12]));
        let shared = BertSource {
            rows: Some(&[1, 0, 1]),
            ..BertSource::new(&states)
        };
        let (shared, _) = layer.transform(x.clone(), Some(shared), Keep::NOTHING);
        let [first, second] = [0, 1].map(|row| states.clone().narrow(0, row, 1));
        let apart = Tensor::cat(vec![second.clone(), first, second], 0);
        let (apart, _) = layer.transform(x, Some(BertSource::new(&apart)), Keep::NOTHING);
        assert_near(shared, apart);
    }

    #[test]
    fn a_layer_without_cross_attention_reads_no_source() {
        let (layer, x, states) = (layer(false), random([1, 2, 16]), random([1, 5, 12]));
        assert!(!layer.has_cross_attention());
        let (without, _) = layer.transform(x.clone(), None, Keep::ALL);
        let (with, map) = layer.transform(x, Some(BertSource::new(&states)), Keep::ALL);
        assert!(map.is_none());
        assert_near(with, without);
    }
}
