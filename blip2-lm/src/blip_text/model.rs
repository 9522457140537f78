//! The text model without an output head.

use blip2_io::config::BlipTextConfig;
use blip2_kernels::{
    Embedding, Keep, Kept, KvCache, LayerNorm, Precision, Weights,
    bert::{BertConfig, BertLayer, BertSource},
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};

use super::output::BlipTextOutput;
use crate::{
    batch::{check_mask, ids_tensor, padding_bias},
    causal::Positions,
    error::LmError,
};

/// BLIP-1's text model (`BlipTextModel` without its pooler): a text encoder that, given an encoded
/// picture, attends to it in every layer.
///
/// ```
/// use blip2_lm::burn::tensor::{Device, Tensor};
/// use blip2_lm::{BlipTextConfig, RandomWeights, Weights, blip_text::BlipTextModel};
///
/// let config = BlipTextConfig::default()
///     .with_vocab_size(100)
///     .with_hidden_size(32)
///     .with_encoder_hidden_size(48)
///     .with_intermediate_size(64)
///     .with_num_hidden_layers(2)
///     .with_num_attention_heads(4)
///     .with_bos_token_id(Some(99))
///     .with_sep_token_id(Some(3));
/// let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// let model = BlipTextModel::load(&config, &Weights::new(&source, &device))?;
///
/// let image = Tensor::<3>::zeros([1, 10, 48], &device); // as an image encoder gives it
/// let (ids, mask) = ([vec![2, 17, 42, 3]], [vec![true; 4]]);
/// assert_eq!(model.encode(&ids, &mask, Some(&image))?.dims(), [1, 4, 32]);
/// assert_eq!(model.encode(&ids, &mask, None)?.dims(), [1, 4, 32]); // a plain BERT
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
#[derive(Module, Debug)]
pub struct BlipTextModel {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    layer_norm: LayerNorm,
    layers: Vec<BertLayer>,
    encoder_hidden: usize,
    hidden: usize,
}

impl BlipTextModel {
    /// Builds the model from `embeddings` and `encoder` below the cursor. The tables of words and
    /// positions are held in `f32`.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &BlipTextConfig, weights: &Weights<'_>) -> Result<Self, LmError> {
        Self::load_with(config, weights, false)
    }

    /// `tied`: the table of words is an output head, too.
    pub(super) fn load_with(
        config: &BlipTextConfig,
        weights: &Weights<'_>,
        tied: bool,
    ) -> Result<Self, LmError> {
        config.validate()?;
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let tables = weights.at("embeddings");
        let exact = tables.with_precision(Precision::F32);
        let name = "word_embeddings";
        Ok(Self {
            word_embeddings: match tied {
                true => tables.tied_embedding(name, vocab, hidden),
                false => exact.embedding(name, vocab, hidden),
            }
            .with_padding(config.pad_token_id),
            position_embeddings: exact.embedding(
                "position_embeddings",
                config.max_position_embeddings,
                hidden,
            ),
            layer_norm: tables.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            layers: layers(config, &weights.at("encoder").at("layer")),
            encoder_hidden: config.encoder_hidden_size,
            hidden,
        })
    }

    /// The size of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.word_embeddings.rows()
    }

    /// The width of what the layers make of a token.
    pub fn hidden_size(&self) -> usize {
        self.hidden
    }

    /// How many tokens a text may have, special ones included.
    pub fn max_positions(&self) -> usize {
        self.position_embeddings.rows()
    }

    /// Encodes texts, each position seeing all others of its row, and all of the picture if there
    /// is one.
    ///
    /// # Shapes
    ///
    /// - ids and attention_mask: `[batch][seq]`
    /// - image_embeds: `[batch, patches + 1, encoder_hidden]`
    /// - output: `[batch, seq, hidden]`
    ///
    /// # Errors
    ///
    /// [`LmError`] for shapes that do not go together, ids that the vocabulary does not have, and
    /// texts with more tokens than positions.
    pub fn encode(
        &self,
        ids: &[Vec<u32>],
        attention_mask: &[Vec<bool>],
        image_embeds: Option<&Tensor<3>>,
    ) -> Result<Tensor<3>, LmError> {
        let output = self.encode_keeping(ids, attention_mask, image_embeds, Keep::NOTHING)?;
        Ok(output.output)
    }

    /// As [`encode`](Self::encode), keeping the attention maps of every layer if `keep` asks for them.
    ///
    /// ```
    /// # use blip2_lm::burn::tensor::{Device, Tensor};
    /// # use blip2_lm::{BlipTextConfig, Keep, RandomWeights, Weights, blip_text::BlipTextModel};
    /// # let config = BlipTextConfig::default().with_vocab_size(100).with_hidden_size(32)
    /// #     .with_encoder_hidden_size(48).with_intermediate_size(64).with_num_hidden_layers(2)
    /// #     .with_num_attention_heads(4).with_bos_token_id(Some(99)).with_sep_token_id(Some(3));
    /// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
    /// # let model = BlipTextModel::load(&config, &Weights::new(&source, &device))?;
    /// let image = Tensor::<3>::zeros([1, 10, 48], &device);
    /// let (ids, mask) = ([vec![2, 17, 42, 3]], [vec![true; 4]]);
    /// let read = model.encode_keeping(&ids, &mask, Some(&image), Keep::ATTENTIONS)?;
    /// assert_eq!(read.cross_attentions[1].dims(), [1, 4, 4, 10]); // where each word looks
    /// # Ok::<(), blip2_lm::LmError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_keeping(
        &self,
        ids: &[Vec<u32>],
        attention_mask: &[Vec<bool>],
        image_embeds: Option<&Tensor<3>>,
        keep: Keep,
    ) -> Result<BlipTextOutput, LmError> {
        let embeds = self.embed(ids, attention_mask)?;
        let device = embeds.device();
        if let Some(image) = image_embeds {
            self.check_source(image, ids.len())?;
        }
        let bias = padding_bias(attention_mask, &device);
        let positions = everywhere(ids);
        let mut kept = Kept::new(keep);
        let output = self.run(embeds, &positions, bias, image_embeds, &mut [], &mut kept);
        Ok(BlipTextOutput::of(output, kept))
    }

    /// The word embeddings of checked rows.
    pub(super) fn embed(&self, ids: &[Vec<u32>], mask: &[Vec<bool>]) -> Result<Tensor<3>, LmError> {
        let ids_tensor = ids_tensor(ids, self.vocab_size(), &self.word_embeddings.device())?;
        let shape @ [_, seq] = ids_tensor.dims();
        check_mask(mask, shape)?;
        let context = self.max_positions();
        if seq > context {
            return Err(LmError::ContextTooLong {
                row: 0,
                tokens: seq,
                context,
            });
        }
        Ok(self.embed_checked(ids_tensor))
    }

    pub(super) fn embed_checked(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.word_embeddings.forward(ids)
    }

    /// The logits of hidden states, by the table of words.
    pub(super) fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.word_embeddings.logits(hidden)
    }

    /// Refuses a source of another width, or for another number of rows.
    pub(super) fn check_source(&self, source: &Tensor<3>, rows: usize) -> Result<(), LmError> {
        let [batch, seq, width] = source.dims();
        if batch != rows || seq == 0 || width != self.encoder_hidden {
            return Err(LmError::Shape {
                input: "encoder_hidden_states",
                found: vec![batch, seq, width],
                expected: format!("[{rows}, source, {}]", self.encoder_hidden),
            });
        }
        Ok(())
    }

    /// Runs word embeddings through all layers. There are no caches, or two for each layer: its own
    /// and its source's, which the first step fills.
    ///
    /// Without a source there is no cross-attention; all of a source is seen. The reference drops
    /// the source's mask on its way to the attention (`BlipTextAttention.forward` takes none).
    pub(super) fn run(
        &self,
        words: Tensor<3>,
        positions: &Positions,
        bias: Option<Tensor<4>>,
        source: Option<&Tensor<3>>,
        caches: &mut [KvCache],
        kept: &mut Kept,
    ) -> Tensor<3> {
        let words = match source {
            Some(source) => kept.beside(words, source),
            None => words,
        };
        let places = places(positions, &words.device());
        let embeds = words + self.position_embeddings.forward(places);
        let mut hidden = self.layer_norm.forward(embeds);
        let mut caches = caches.chunks_exact_mut(2);
        for layer in &self.layers {
            let (own, encoded) = match caches.next() {
                Some([own, encoded]) => (Some(own), Some(encoded)),
                _ => (None, None),
            };
            let source = source.map(|states| BertSource {
                cache: encoded,
                ..BertSource::new(states)
            });
            kept.hidden(&hidden);
            let (attended, map) = layer.attend(hidden, bias.clone(), own, kept.keep());
            kept.attention(map);
            let (output, map) = layer.transform(attended, source, kept.keep());
            kept.cross_attention(map);
            hidden = output;
        }
        kept.hidden(&hidden);
        hidden
    }

    pub(super) fn num_layers(&self) -> usize {
        self.layers.len()
    }
}

fn layers(config: &BlipTextConfig, weights: &Weights<'_>) -> Vec<BertLayer> {
    let bert = BertConfig {
        hidden_size: config.hidden_size,
        num_attention_heads: config.num_attention_heads,
        intermediate_size: config.intermediate_size,
        hidden_act: config.hidden_act,
        layer_norm_eps: config.layer_norm_eps,
        encoder_hidden_size: Some(config.encoder_hidden_size),
        projections: "self",
    };
    let feed_forward = ["intermediate", "output"];
    let layer = |n: usize| BertLayer::load(&bert, feed_forward, &weights.at(&n.to_string()));
    (0..config.num_hidden_layers).map(layer).collect()
}

/// Where positions are in their table, `[batch, seq]`. Padding, which nothing sees, stands at the
/// first place, as in the reference.
fn places(positions: &Positions, device: &Device) -> Tensor<2, Int> {
    let shape = [positions.len(), positions.first().map_or(0, Vec::len)];
    let places = positions.iter().flatten();
    let places: Vec<i64> = places.map(|place| place.unwrap_or(0) as i64).collect();
    Tensor::from_data(TensorData::new(places, shape), device)
}

/// Positions that count padding, too, as the reference's do where it is told none.
pub(super) fn everywhere(ids: &[Vec<u32>]) -> Positions {
    ids.iter()
        .map(|row| (0..row.len()).map(Some).collect())
        .collect()
}
