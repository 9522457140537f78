//! What T5 returns.

use burn::tensor::Tensor;

/// What the encoder returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct T5Encoded {
    /// The encoder's output, `[batch, seq, d_model]`.
    pub last_hidden_state: Tensor<3>,
    /// The input, then each layer's output, each `[batch, seq, d_model]`, the last of them after
    /// the final norm. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's attention map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
    /// What hides the padding from the decoder, `[batch, 1, 1, seq]`, where there is any.
    pub(super) padding: Option<Tensor<4>>,
}

/// What a [`forward`](super::T5ForConditionalGeneration::forward) returns.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{Keep, RandomWeights, T5Config, Weights, t5::T5ForConditionalGeneration};
/// # let config = T5Config::default().with_vocab_size(100).with_d_model(32).with_d_kv(8)
/// #     .with_d_ff(64).with_num_layers(2).with_num_decoder_layers(2).with_num_heads(4);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = T5ForConditionalGeneration::load(&config, &Weights::new(&source, &device))?;
/// let embeds = model.embed(&[vec![17, 42, 8, 1]])?;
/// let output = model.forward(embeds, &[vec![true; 4]], &[vec![0, 7]], Keep::ATTENTIONS)?;
/// // For each layer, where each of the two tokens looks in the prompt.
/// let maps: Vec<[usize; 4]> = output.cross_attentions.iter().map(|map| map.dims()).collect();
/// assert_eq!(maps, [[1, 4, 2, 4]; 2]);
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct T5Output {
    /// The logits after each token, `[batch, seq, vocab]`.
    pub logits: Tensor<3>,
    /// What the encoder returned.
    pub encoder: T5Encoded,
    /// The embedded tokens, then each decoder layer's output, each `[batch, seq, d_model]`, the
    /// last of them after the final norm. Empty unless asked for.
    pub decoder_hidden_states: Vec<Tensor<3>>,
    /// Each decoder layer's self-attention map, `[batch, heads, seq, seq]`. Empty unless asked
    /// for.
    pub decoder_attentions: Vec<Tensor<4>>,
    /// Each decoder layer's cross-attention map, `[batch, heads, seq, source]`. Empty unless asked
    /// for.
    pub cross_attentions: Vec<Tensor<4>>,
}
