//! T5 as a whole.

use blip2_io::config::T5Config;
use blip2_kernels::{Bias, Embedding, Keep, Kept, Linear, Weights};
use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

use super::{
    output::{T5Encoded, T5Output},
    stack::{Decoder, Encoder, LayerState},
    state::T5State,
};
use crate::{
    batch::{check_embeds, check_mask, ids_tensor, padding_bias},
    error::LmError,
    session::Session,
};

/// T5 with its output head (`T5ForConditionalGeneration`).
///
/// ```
/// use blip2_lm::burn::tensor::Device;
/// use blip2_lm::{Keep, RandomWeights, T5Config, Weights, t5::T5ForConditionalGeneration};
///
/// let config = T5Config::default()
///     .with_vocab_size(100)
///     .with_d_model(32)
///     .with_d_kv(8)
///     .with_d_ff(64)
///     .with_num_layers(2)
///     .with_num_decoder_layers(2)
///     .with_num_heads(4);
/// let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// let model = T5ForConditionalGeneration::load(&config, &Weights::new(&source, &device))?;
///
/// let embeds = model.embed(&[vec![17, 42, 8, 1]])?;
/// let encoded = model.encode(embeds, &[vec![true; 4]], Keep::NOTHING)?; // once …
/// for answer in [vec![0, 7, 8], vec![0, 9]] {
///     let logits = model.decode(&encoded, &[answer.clone()])?; // … for every answer
///     assert_eq!(logits.dims(), [1, answer.len(), 100]);
/// }
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
#[derive(Module, Debug)]
pub struct T5ForConditionalGeneration {
    shared: Embedding,
    /// What the decoder's tokens are looked up in, where that is not the table of the prompts'.
    decoder_tokens: Option<Embedding>,
    encoder: Encoder,
    decoder: Decoder,
    /// Where the head is not the table of token embeddings.
    lm_head: Option<Linear>,
    /// What the decoder's output is multiplied by before the head.
    output_scale: f64,
}

impl T5ForConditionalGeneration {
    /// Builds the model from the weights below the cursor (`shared`, `encoder`, `decoder`,
    /// `lm_head`).
    ///
    /// The head is a matrix of its own if the checkpoint holds one, whatever the configuration
    /// says about tying; Flan-T5's does, T5 1.0's does not. So is the decoder's table of tokens, where its
    /// numbers are others than those of the prompts.
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
        let differs =
            |name: &str| weights.differ(&format!("{name}.weight"), &format!("{table}.weight"));
        let own_head =
            table != "lm_head" && (weights.contains("lm_head.weight") || differs("lm_head"));
        let own_tokens = table != "lm_head" && differs("decoder.embed_tokens");
        Ok(Self {
            shared: if own_head {
                weights.embedding(table, vocab, model)
            } else {
                weights.tied_embedding(table, vocab, model)
            },
            decoder_tokens: own_tokens
                .then(|| weights.embedding("decoder.embed_tokens", vocab, model)),
            encoder: Encoder::load(config, &weights.at("encoder")),
            decoder: Decoder::load(config, &weights.at("decoder")),
            lm_head: own_head.then(|| weights.head("lm_head", model, vocab, Bias::Without)),
            output_scale: if config.scale_decoder_outputs {
                (model as f64).powf(-0.5)
            } else {
                1.0
            },
        })
    }

    /// The layers that read prompts.
    pub(crate) fn encoder_layers(&self) -> usize {
        self.encoder.num_layers()
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
        ids_tensor(ids, self.vocab_size(), &device).map(|ids| self.shared.forward(ids))
    }

    /// Reads embedded prompts and scores given answers to them: both halves in one call.
    ///
    /// # Shapes
    ///
    /// As [`encode`](Self::encode) and [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode) and [`decode`](Self::decode).
    pub fn forward(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        decoder_input_ids: &[Vec<u32>],
        keep: Keep,
    ) -> Result<T5Output, LmError> {
        let encoder = self.encode(inputs_embeds, attention_mask, keep)?;
        let mut kept = Kept::new(keep);
        Ok(T5Output {
            logits: self.score(&encoder, decoder_input_ids, &mut kept)?,
            encoder,
            decoder_hidden_states: kept.hidden_states,
            decoder_attentions: kept.attentions,
            cross_attentions: kept.cross_attentions.into_iter().flatten().collect(),
        })
    }

    /// Reads embedded prompts.
    ///
    /// # Shapes
    ///
    /// - inputs_embeds: `[batch, seq, d_model]`
    /// - attention_mask: `[batch][seq]`, true where a position counts; padding may stand anywhere
    ///
    /// # Errors
    ///
    /// [`LmError`] for shapes that do not go together and rows that are only padding.
    pub fn encode(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        keep: Keep,
    ) -> Result<T5Encoded, LmError> {
        self.check(&inputs_embeds, attention_mask)?;
        let padding = padding_bias(attention_mask, &inputs_embeds.device());
        let mut kept = Kept::new(keep);
        let last_hidden_state = self
            .encoder
            .forward(inputs_embeds, padding.clone(), &mut kept);
        Ok(T5Encoded {
            last_hidden_state,
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
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
        self.score(encoded, decoder_input_ids, &mut Kept::default())
    }

    fn score(
        &self,
        encoded: &T5Encoded,
        decoder_input_ids: &[Vec<u32>],
        kept: &mut Kept,
    ) -> Result<Tensor<3>, LmError> {
        let source = &encoded.last_hidden_state;
        let [rows, ..] = source.dims();
        if decoder_input_ids.len() != rows {
            return Err(LmError::Shape {
                input: "decoder_input_ids",
                found: vec![decoder_input_ids.len()],
                expected: format!("[{rows}], one row for each prompt,"),
            });
        }
        let ids = ids_tensor(decoder_input_ids, self.vocab_size(), &source.device())?;
        let embeds = kept.beside(self.embed_written(ids), source);
        let mut states = self.decoder.start(source, None);
        Ok(self.advance(embeds, &mut states, encoded.padding.clone(), kept))
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
    /// As [`encode`](Self::encode), and if the vocabulary does not have the start token.
    pub fn start(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        decoder_start: u32,
        max_new_tokens: usize,
    ) -> Result<Session<&Self>, LmError> {
        let state = self.begin(inputs_embeds, attention_mask, decoder_start, max_new_tokens)?;
        Ok(Session::new(self, state))
    }

    /// The state of a decode that [`start`](Self::start) starts.
    pub(crate) fn begin(
        &self,
        inputs_embeds: Tensor<3>,
        attention_mask: &[Vec<bool>],
        decoder_start: u32,
        max_new_tokens: usize,
    ) -> Result<T5State, LmError> {
        self.check(&inputs_embeds, attention_mask)?;
        let vocab = self.vocab_size();
        if decoder_start as usize >= vocab {
            let id = decoder_start;
            return Err(LmError::StartToken { id, vocab });
        }
        let mask = attention_mask.to_vec();
        let (start, tokens) = (decoder_start, max_new_tokens);
        Ok(T5State::new(inputs_embeds, mask, start, tokens))
    }

    fn check(&self, embeds: &Tensor<3>, mask: &[Vec<bool>]) -> Result<(), LmError> {
        check_mask(
            mask,
            check_embeds("inputs_embeds", embeds, self.embedding_dim())?,
        )
    }

    /// The decoder's states before the first token of a decode.
    pub(super) fn states(&self, encoded: &T5Encoded, capacity: usize) -> Vec<LayerState> {
        let source = &encoded.last_hidden_state;
        self.decoder.start(source, Some(capacity))
    }

    /// What the decoder reads of tokens that were checked, `[rows, seq, d_model]`.
    pub(super) fn embed_written(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let own = self.decoder_tokens.as_ref();
        own.unwrap_or(&self.shared).forward(ids)
    }

    /// Runs new embedded tokens; their logits, `[batch, new, vocab]`.
    pub(super) fn advance(
        &self,
        embeds: Tensor<3>,
        states: &mut [LayerState],
        source_padding: Option<Tensor<4>>,
        kept: &mut Kept,
    ) -> Tensor<3> {
        let hidden = self.decoder.forward(embeds, states, source_padding, kept);
        self.logits(hidden)
    }

    /// What a step reads: embedded tokens, one of each row, and what their positions add to scores where
    /// caches have room for `capacity`, `[heads, 1, capacity]`.
    pub(super) fn reads(
        &self,
        embeds: Tensor<3>,
        states: &[LayerState],
        capacity: usize,
    ) -> Vec<Tensor<3>> {
        let bias = self.decoder.step_bias(states, capacity);
        vec![embeds, bias.squeeze_dim(0)]
    }

    /// As [`advance`](Self::advance), from what a step [reads](Self::reads).
    pub(super) fn step(
        &self,
        read: Vec<Tensor<3>>,
        states: &mut [LayerState],
        source_padding: Option<Tensor<4>>,
    ) -> Option<Tensor<3>> {
        let [embeds, bias] = read.try_into().ok()?;
        let (bias, kept) = (bias.unsqueeze_dim(0), &mut Kept::default());
        let decoder = &self.decoder;
        let hidden = decoder.with_bias(embeds, bias, states, source_padding, kept);
        Some(self.logits(hidden))
    }

    /// The logits of what the decoder's last layer gives.
    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let hidden = if self.output_scale == 1.0 {
            hidden
        } else {
            hidden * self.output_scale
        };
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.shared.logits(hidden),
        }
    }
}
