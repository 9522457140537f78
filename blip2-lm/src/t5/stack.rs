//! The encoder's and the decoder's stacks of layers.

use blip2_io::config::T5Config;
use blip2_kernels::{Kept, KvCache, RmsNorm, Weights, causal_bias, recompute};
use burn::{module::Module, tensor::Tensor};

use super::{attention::Attention, feed_forward::FeedForward, position::RelativePositions};
use crate::steps::Caches;

/// The encoder (`T5Stack` without cross-attention).
#[derive(Module, Debug)]
pub(super) struct Encoder {
    positions: RelativePositions,
    layers: Vec<EncoderLayer>,
    final_layer_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct EncoderLayer {
    self_attention: Attention,
    feed_forward: FeedForward,
}

impl EncoderLayer {
    fn forward(&self, hidden_states: Tensor<3>, bias: Tensor<4>, kept: &mut Kept) -> Tensor<3> {
        let attention = &self.self_attention;
        let attended = attention.attend_self(hidden_states, bias, None, kept);
        self.feed_forward.forward(attended)
    }
}

/// The weights of part `part` of layer `layer`.
fn part<'a>(weights: &Weights<'a>, layer: usize, part: usize) -> Weights<'a> {
    weights.at(&format!("block.{layer}.layer.{part}"))
}

/// The positions of a stack, which its first layer's attention holds.
fn positions(config: &T5Config, bidirectional: bool, weights: &Weights<'_>) -> RelativePositions {
    RelativePositions::load(
        config,
        bidirectional,
        &part(weights, 0, 0).at("SelfAttention"),
    )
}

impl Encoder {
    pub(super) fn load(config: &T5Config, weights: &Weights<'_>) -> Self {
        let layer = |n| EncoderLayer {
            self_attention: Attention::load(config, "SelfAttention", &part(weights, n, 0)),
            feed_forward: FeedForward::load(config, &part(weights, n, 1)),
        };
        Self {
            positions: positions(config, true, weights),
            layers: (0..config.num_layers).map(layer).collect(),
            final_layer_norm: weights.rms_norm(
                "final_layer_norm",
                config.d_model,
                config.layer_norm_epsilon,
            ),
        }
    }

    pub(super) fn num_layers(&self) -> usize {
        self.layers.len()
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, seq, d_model]`
    /// - padding: `[batch, 1, 1, seq]`
    pub(super) fn forward(
        &self,
        mut hidden_states: Tensor<3>,
        padding: Option<Tensor<4>>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let [_, seq, _] = hidden_states.dims();
        let bias = self.positions.bias(seq, seq);
        let bias = match padding {
            Some(padding) => bias + padding,
            None => bias,
        };
        // Recomputed layers give gradients to their input and parameters alone. The positions' bias is
        // neither, and where it is trained it needs a gradient of every layer.
        let recomputes = kept.is_idle() && !recompute::is_tracked(&bias);
        for layer in &self.layers {
            let bias = bias.clone();
            if recomputes {
                hidden_states = recompute::layer(layer, hidden_states, move |layer, hidden| {
                    layer.forward(hidden, bias.clone(), &mut Kept::default())
                });
                continue;
            }
            kept.hidden(&hidden_states);
            hidden_states = layer.forward(hidden_states, bias, kept);
        }
        let normed = self.final_layer_norm.forward(hidden_states);
        kept.hidden(&normed);
        normed
    }
}

/// The decoder (`T5Stack` with cross-attention).
#[derive(Module, Debug)]
pub(super) struct Decoder {
    positions: RelativePositions,
    layers: Vec<DecoderLayer>,
    final_layer_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct DecoderLayer {
    self_attention: Attention,
    cross_attention: Attention,
    feed_forward: FeedForward,
}

/// What a decoder layer keeps: the keys and values of the source, computed once, and in a decode
/// those of the tokens so far.
#[derive(Debug, Clone)]
pub(super) struct LayerState {
    source: KvCache,
    past: Option<KvCache>,
}

impl Caches for [LayerState] {
    fn growing(&mut self) -> impl Iterator<Item = &mut KvCache> {
        self.iter_mut().filter_map(|state| state.past.as_mut())
    }
}

/// How many tokens the states hold.
fn past_len(states: &[LayerState]) -> usize {
    let past = states.first().and_then(|state| state.past.as_ref());
    past.map_or(0, KvCache::len)
}

impl LayerState {
    /// The keys and values of the source.
    pub(super) fn source_mut(&mut self) -> &mut KvCache {
        &mut self.source
    }

    /// Drops the last `count` tokens.
    pub(super) fn rewind(&mut self, count: usize) {
        if let Some(past) = &mut self.past {
            past.drop_last(count);
        }
    }

    /// Takes the sequences of another state of the same layer behind its own.
    pub(super) fn join(&mut self, other: Self) {
        self.source.join(other.source);
        if let (Some(past), Some(other)) = (&mut self.past, other.past) {
            past.join(other);
        }
    }

    /// The number of the source's positions, of the longest.
    pub(super) fn source_len(&self) -> usize {
        self.source.len()
    }
}

impl Decoder {
    pub(super) fn load(config: &T5Config, weights: &Weights<'_>) -> Self {
        let layer = |n| DecoderLayer {
            self_attention: Attention::load(config, "SelfAttention", &part(weights, n, 0)),
            cross_attention: Attention::load(config, "EncDecAttention", &part(weights, n, 1)),
            feed_forward: FeedForward::load(config, &part(weights, n, 2)),
        };
        Self {
            positions: positions(config, false, weights),
            layers: (0..config.num_decoder_layers).map(layer).collect(),
            final_layer_norm: weights.rms_norm(
                "final_layer_norm",
                config.d_model,
                config.layer_norm_epsilon,
            ),
        }
    }

    /// The layers' states before the first token, for an encoded source
    /// `[batch, source, d_model]`; with caches for `capacity` tokens, or without if the only step
    /// is a single one.
    pub(super) fn start(&self, source: &Tensor<3>, capacity: Option<usize>) -> Vec<LayerState> {
        let [rows, ..] = source.dims();
        let state = |layer: &DecoderLayer| {
            let (keys, values) = layer.cross_attention.keys_values(source.clone());
            LayerState {
                source: KvCache::of(keys, values),
                past: capacity.map(|capacity| KvCache::new(rows, capacity)),
            }
        };
        self.layers.iter().map(state).collect()
    }

    /// Runs new positions, which follow those in the states.
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, new, d_model]`
    /// - source_padding: `[batch, 1, 1, source]`
    pub(super) fn forward(
        &self,
        hidden_states: Tensor<3>,
        states: &mut [LayerState],
        source_padding: Option<Tensor<4>>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let [_, new, _] = hidden_states.dims();
        let mut bias = self.positions.bias(new, new + past_len(states));
        if new > 1 {
            let keys = new + past_len(states);
            bias = bias + causal_bias(new, keys, &hidden_states.device());
        }
        self.with_bias(hidden_states, bias, states, source_padding, kept)
    }

    /// What a next position of each row adds to its scores, where caches have room for `capacity`.
    ///
    /// # Shapes
    ///
    /// - output: `[1, heads, 1, capacity]`
    pub(super) fn step_bias(&self, states: &[LayerState], capacity: usize) -> Tensor<4> {
        self.positions.bias_from(past_len(states), 1, capacity)
    }

    /// As [`forward`](Self::forward), with what is added to scores for positions and to hide the future,
    /// `[1, heads, new, keys]`.
    pub(super) fn with_bias(
        &self,
        mut hidden_states: Tensor<3>,
        bias: Tensor<4>,
        states: &mut [LayerState],
        source_padding: Option<Tensor<4>>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        for (layer, state) in self.layers.iter().zip(states) {
            kept.hidden(&hidden_states);
            let past = state.past.as_mut();
            let attended =
                layer
                    .self_attention
                    .attend_self(hidden_states, bias.clone(), past, kept);
            let padding = source_padding.clone();
            let attended =
                layer
                    .cross_attention
                    .attend_source(attended, &state.source, padding, kept);
            hidden_states = layer.feed_forward.forward(attended);
        }
        let normed = self.final_layer_norm.forward(hidden_states);
        kept.hidden(&normed);
        normed
    }
}
