//! T5 as a whole.

use blip2_io::config::T5Config;
use blip2_kernels::{Embedding, Linear, Weights};
use burn::{module::Module, tensor::Tensor};

use super::{
    T5Session,
    stack::{Decoder, Encoder, LayerState},
};
use crate::{
    LmError,
    batch::{check_embeds, check_mask, ids_tensor, padding_bias},
};

/// T5 with its output head (`T5ForConditionalGeneration`).
#[derive(Module, Debug)]
pub struct T5ForConditionalGeneration {
    shared: Embedding,
    encoder: Encoder,
    decoder: Decoder,
    /// Where the head is not the table of token embeddings.
    lm_head: Option<Linear>,
    /// What the decoder's output is multiplied by before the head.
    output_scale: f64,
}

/// What the encoder returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct T5Encoded {
    /// The encoder's output, `[batch, seq, d_model]`.
    pub last_hidden_state: Tensor<3>,
    /// The input, then each layer's output, the last of them after the final norm. Empty unless
    /// asked for.
    pub hidden_states: Vec<Tensor<3>>,
    padding: Option<Tensor<4>>,
}

impl T5ForConditionalGeneration {
    /// Builds the model from the weights below the cursor (`shared`, `encoder`, `decoder`,
    /// `lm_head`).
    ///
    /// The head is a matrix of its own if the checkpoint holds one, whatever the configuration
    /// says about tying; Flan-T5's does, T5 1.0's does not.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &T5Config, weights: &Weights<'_>) -> Result<Self, LmError> {
        config.validate()?;
        let (vocab, model) = (config.vocab_size, config.d_model);
        // One table under four names; a file holds at least one of them.
        let names = [
            "shared",
            "encoder.embed_tokens",
            "decoder.embed_tokens",
            "lm_head",
        ];
        let holds = |name: &&str| weights.contains(&format!("{name}.weight"));
        let table = names.into_iter().find(holds).unwrap_or("shared");
        let own_head = table != "lm_head" && weights.contains("lm_head.weight");
        Ok(Self {
            shared: weights.embedding(table, vocab, model),
            encoder: Encoder::load(config, &weights.at("encoder")),
            decoder: Decoder::load(config, &weights.at("decoder")),
            lm_head: own_head.then(|| weights.linear("lm_head", model, vocab, false)),
            output_scale: if config.scale_decoder_outputs {
                (model as f64).powf(-0.5)
            } else {
                1.0
            },
        })
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.shared.rows()
    }

    /// The width of a token's embedding.
    pub fn embedding_dim(&self) -> usize {
        self.shared.dim()
    }

    /// The embeddings of tokens, `[batch, seq, d_model]`.
    ///
    /// # Errors
    ///
    /// For an empty batch, ragged rows, and ids that the vocabulary does not have.
    pub fn embed(&self, ids: &[Vec<u32>]) -> Result<Tensor<3>, LmError> {
        let device = self.shared.device();
        Ok(self
            .shared
            .forward(ids_tensor(ids, self.vocab_size(), &device)?))
    }

    /// Reads embedded prompts.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, d_model]`
    /// - attention_mask: `[batch][seq]`, true where a position counts
    ///
    /// # Errors
    ///
    /// [`LmError`] for shapes that do not go together and rows that are only padding.
    pub fn encode(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        output_hidden_states: bool,
    ) -> Result<T5Encoded, LmError> {
        let shape = check_embeds("inputs_embeds", &inputs_embeds, self.embedding_dim())?;
        check_mask(attention_mask, shape)?;
        let padding = padding_bias(attention_mask, &inputs_embeds.device());
        let mut hidden_states = Vec::new();
        let keep = output_hidden_states.then_some(&mut hidden_states);
        let last_hidden_state = self.encoder.forward(inputs_embeds, padding.clone(), keep);
        if output_hidden_states {
            hidden_states.push(last_hidden_state.clone());
        }
        Ok(T5Encoded {
            last_hidden_state,
            hidden_states,
            padding,
        })
    }

    /// The logits after every token of given answers, for scoring them.
    ///
    /// # Shapes
    ///
    /// - decoder_input_ids: `[batch][seq]`, the start token first
    /// - output: `[batch, seq, vocab]`
    ///
    /// # Errors
    ///
    /// [`LmError`] for ragged rows, another number of rows than was encoded, and ids that the
    /// vocabulary does not have.
    pub fn decode(
        &self,
        encoded: &T5Encoded,
        decoder_input_ids: &[Vec<u32>],
    ) -> Result<Tensor<3>, LmError> {
        let [rows, ..] = encoded.last_hidden_state.dims();
        if decoder_input_ids.len() != rows {
            return Err(LmError::Shape {
                input: "decoder_input_ids",
                found: vec![decoder_input_ids.len()],
                expected: format!("[{rows}]"),
            });
        }
        let embeds = self.embed(decoder_input_ids)?;
        let mut states = self.states(encoded, embeds.dims()[1]);
        Ok(self.advance(embeds, &mut states, encoded.padding.clone()))
    }

    /// A decode of up to `max_new_tokens` tokens about embedded prompts. The encoder runs in the
    /// session's prefill.
    ///
    /// `decoder_start` is the token that every answer starts from.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, d_model]`
    /// - attention_mask: `[batch][seq]`, true where a position counts
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn start(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        decoder_start: u32,
        max_new_tokens: usize,
    ) -> Result<T5Session<'_>, LmError> {
        let shape = check_embeds("inputs_embeds", &inputs_embeds, self.embedding_dim())?;
        check_mask(attention_mask, shape)?;
        let mask = attention_mask.to_vec();
        Ok(T5Session::new(
            self,
            inputs_embeds,
            mask,
            decoder_start,
            max_new_tokens,
        ))
    }

    pub(super) fn states(&self, encoded: &T5Encoded, capacity: usize) -> Vec<LayerState> {
        let source = &encoded.last_hidden_state;
        self.decoder.start(source, capacity, &source.device())
    }

    /// Runs new embedded tokens; their logits, `[batch, new, vocab]`.
    pub(super) fn advance(
        &self,
        embeds: Tensor<3>,
        states: &mut [LayerState],
        source_padding: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let hidden = self.decoder.forward(embeds, states, source_padding);
        let hidden = if self.output_scale == 1.0 {
            hidden
        } else {
            hidden * self.output_scale
        };
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.shared.attend(hidden),
        }
    }
}

impl T5Encoded {
    pub(super) fn into_padding(self) -> Option<Tensor<4>> {
        self.padding
    }
}
