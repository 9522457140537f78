//! What BLIP-1's text model returns.

use blip2_kernels::Kept;
use burn::tensor::Tensor;

/// What a forward of BLIP-1's text model returns that may keep its attention maps.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BlipTextOutput {
    /// What comes of every position: `[batch, seq, hidden]` of an encoder, the logits
    /// `[batch, seq, vocab]` of a decoder.
    pub output: Tensor<3>,
    /// What each layer reads, then the last one's output, each `[batch, seq, hidden]`. Empty unless
    /// asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's self-attention map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
    /// Each layer's cross-attention map, `[batch, heads, seq, source]`. Empty unless asked for, and
    /// without a source.
    pub cross_attentions: Vec<Tensor<4>>,
}

impl BlipTextOutput {
    pub(super) fn of(output: Tensor<3>, kept: Kept) -> Self {
        Self {
            output,
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
            cross_attentions: kept.cross_attentions.into_iter().flatten().collect(),
        }
    }
}
