//! What a decoder-only model returns.

use burn::tensor::Tensor;

/// What a [`forward`](super::DecoderLm::forward) returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DecoderOutput {
    /// The logits of the token after each position, `[batch, seq, vocab]`.
    pub logits: Tensor<3>,
    /// What the first layer reads, then each layer's output, each `[batch, seq, hidden]`; the last
    /// of them is what the head reads, `[batch, seq, embedding_dim]`: after the final norm and the
    /// projection, where there are any. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's attention map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
}
