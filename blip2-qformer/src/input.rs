//! What the Q-Former reads, and whether it goes together.

use blip2_kernels::{Keep, MASKED, padding_bias};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use crate::{error::QFormerError, layer::Context};

/// What the Q-Former reads: queries, text, or both.
///
/// Tensors may be of any float format.
///
/// Two questions about one picture, for a Q-Former that reads text:
///
/// ```
/// # use blip2_qformer::burn::tensor::{Device, Tensor};
/// # use blip2_qformer::{Blip2QFormerConfig, QFormer, QueryTokens, RandomWeights, Weights};
/// use blip2_qformer::{Keep, QFormerInput};
///
/// # let config = Blip2QFormerConfig::default().with_hidden_size(24).with_num_hidden_layers(2)
/// #     .with_num_attention_heads(2).with_intermediate_size(48).with_encoder_hidden_size(32)
/// #     .with_use_qformer_text_input(true);
/// # let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// # let weights = Weights::new(&source, &device);
/// # let queries = QueryTokens::load(8, config.hidden_size, &weights);
/// # let qformer = QFormer::load(&config, &weights.at("qformer"))?;
/// # let image = Tensor::<3>::zeros([1, 17, 32], &device);
/// # let questions = Tensor::<3>::zeros([2, 5, 24], &device);
/// let input = QFormerInput::new(queries.expand(2))
///     .text(questions) // [2, 5, 24]
///     .images(image, &[0, 0]) // [1, 17, 32], whose keys and values are computed once
///     .keep(Keep::ATTENTIONS);
/// let output = qformer.forward(input)?;
/// assert_eq!(output.last_hidden_state.dims(), [2, 8 + 5, 24]);
/// let looks: Vec<_> = output.cross_attentions.iter().flatten().map(|map| map.dims()).collect();
/// assert_eq!(looks[0], [2, 2, 8, 17]); // where each query looks in the picture
/// # Ok::<(), blip2_qformer::QFormerError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct QFormerInput {
    /// The queries, `[batch, queries, hidden]`.
    pub query_embeds: Option<Tensor<3>>,
    /// Embedded text, `[batch, text, hidden]`.
    pub text_embeds: Option<Tensor<3>>,
    /// True where a query or text position counts, `[batch, queries + text]`; all do by default.
    /// Where none in a row does, all count evenly, as in the reference.
    pub attention_mask: Option<Tensor<2, Bool>>,
    /// The encoded picture, `[batch, keys, encoder_hidden]`. Only queries attend to it.
    pub encoder_hidden_states: Option<Tensor<3>>,
    /// Where several rows attend to one picture: for each row, which of the encoded pictures,
    /// `[pictures, keys, encoder_hidden]`, it attends to. Each its own by default.
    pub pictures: Option<Vec<usize>>,
    /// True where a position of the encoded picture counts, `[batch, keys]`; all do by default.
    pub encoder_attention_mask: Option<Tensor<2, Bool>>,
    /// The text is being written: the queries see one another only, and each position of the text
    /// sees the queries and the text up to itself.
    pub writes: bool,
    /// What to keep of every layer.
    pub keep: Keep,
}

impl QFormerInput {
    /// Queries, `[batch, queries, hidden]`.
    pub fn new(query_embeds: Tensor<3>) -> Self {
        Self {
            query_embeds: Some(query_embeds),
            ..Self::default()
        }
    }

    /// Embedded text alone, `[batch, text, hidden]`: a plain text encoder, which needs no picture.
    pub fn text_only(text_embeds: Tensor<3>) -> Self {
        Self::default().text(text_embeds)
    }

    /// Lets the queries cross-attend to an encoded picture, `[batch, keys, encoder_hidden]`.
    #[must_use]
    pub fn image(mut self, encoder_hidden_states: Tensor<3>) -> Self {
        self.encoder_hidden_states = Some(encoder_hidden_states);
        self
    }

    /// Lets several rows attend to one picture: row `i` to the picture `pictures[i]` of
    /// `[pictures, keys, encoder_hidden]`. What a picture shows them is computed once.
    #[must_use]
    pub fn images(mut self, encoder_hidden_states: Tensor<3>, pictures: &[usize]) -> Self {
        self.pictures = Some(pictures.to_vec());
        self.image(encoder_hidden_states)
    }

    /// Puts embedded text, `[batch, text, hidden]`, after the queries.
    #[must_use]
    pub fn text(mut self, text_embeds: Tensor<3>) -> Self {
        self.text_embeds = Some(text_embeds);
        self
    }

    /// Hides padding: true where a query or text position counts, `[batch, queries + text]`.
    #[must_use]
    pub fn mask(mut self, attention_mask: Tensor<2, Bool>) -> Self {
        self.attention_mask = Some(attention_mask);
        self
    }

    /// Hides padding of the encoded picture: true where a position counts, `[batch, keys]`.
    #[must_use]
    pub fn image_mask(mut self, encoder_attention_mask: Tensor<2, Bool>) -> Self {
        self.encoder_attention_mask = Some(encoder_attention_mask);
        self
    }

    /// Writes the text instead of reading it (Li et al., 2023, figure 2, the multimodal causal
    /// mask): the queries see one another only, and each position of the text sees the queries and
    /// the text up to itself. Otherwise all see all.
    #[must_use]
    pub fn writing(mut self) -> Self {
        self.writes = true;
        self
    }

    /// Keeps hidden states or attention maps of every layer.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// The embeddings of queries and text, `[batch, queries + text, hidden]`, and what the layers
    /// need besides.
    pub(crate) fn checked(
        self,
        hidden: usize,
        encoder_hidden: usize,
    ) -> Result<(Tensor<3>, Context), QFormerError> {
        let (query, text) = (self.query_embeds, self.text_embeds);
        let first = query.as_ref().or(text.as_ref());
        let [batch, ..] = first.ok_or(QFormerError::NoInput)?.dims();
        let queries = query.as_ref().map_or(0, |query| query.dims()[1]);

        let mut embeds = Vec::new();
        for (name, part) in [("query_embeds", query), ("text_embeds", text)] {
            if let Some(part) = part {
                embeds.push(checked(name, part, batch, hidden)?);
            }
        }
        let embeds = Tensor::cat(embeds, 1);
        let [_, seq, _] = embeds.dims();

        let image = match self.encoder_hidden_states {
            Some(image) => {
                let name = "encoder_hidden_states";
                let held = match &self.pictures {
                    Some(pictures) => {
                        let [held, ..] = image.dims();
                        check_pictures(pictures, batch, held)?;
                        held
                    }
                    None => batch,
                };
                Some(checked(name, image, held, encoder_hidden)?)
            }
            None => None,
        };
        let image_bias = match self.encoder_attention_mask {
            Some(mask) => {
                let [_, keys, _] = image.as_ref().ok_or(QFormerError::NoImage)?.dims();
                Some(bias("encoder_attention_mask", mask, [batch, keys])?)
            }
            None => None,
        };
        let bias = match self.attention_mask {
            Some(mask) => Some(bias("attention_mask", mask, [batch, seq])?),
            None => None,
        };
        let bias = match (self.writes, bias) {
            (false, bias) => bias,
            (true, padding) => {
                let written = writing_bias(queries, seq, &embeds.device());
                Some(match padding {
                    Some(padding) => (written + padding).clamp_min(MASKED),
                    None => written,
                })
            }
        };
        let context = Context {
            queries,
            bias,
            image,
            pictures: self.pictures,
            image_bias,
        };
        Ok((embeds, context))
    }
}

/// The tensor in `f32`, if it is `[batch, seq, width]` for some `seq`.
fn checked(
    name: &'static str,
    tensor: Tensor<3>,
    batch: usize,
    width: usize,
) -> Result<Tensor<3>, QFormerError> {
    let found @ [_, seq, _] = tensor.dims();
    if found != [batch, seq, width] || found.contains(&0) {
        return Err(QFormerError::Shape {
            tensor: name,
            found: found.to_vec(),
            expected: format!("[{batch}, seq, {width}], without zeros,"),
        });
    }
    Ok(tensor.cast(DType::F32))
}

/// Refuses rows that attend to no picture, or to one that is not there.
fn check_pictures(pictures: &[usize], batch: usize, held: usize) -> Result<(), QFormerError> {
    match pictures.len() == batch && pictures.iter().all(|&picture| picture < held) {
        true => Ok(()),
        false => Err(QFormerError::Pictures {
            rows: batch,
            pictures: pictures.to_vec(),
            held,
        }),
    }
}

fn bias(
    name: &'static str,
    mask: Tensor<2, Bool>,
    expected: [usize; 2],
) -> Result<Tensor<4>, QFormerError> {
    let found = mask.dims();
    if found != expected {
        return Err(QFormerError::Shape {
            tensor: name,
            found: found.to_vec(),
            expected: format!("{expected:?}"),
        });
    }
    Ok(padding_bias(mask))
}

/// The bias of a text that is being written after queries, `[1, 1, seq, seq]`.
fn writing_bias(queries: usize, seq: usize, device: &Device) -> Tensor<4> {
    let sees = |row: usize, column: usize| column < queries || (row >= queries && column <= row);
    let bias = (0..seq)
        .flat_map(|row| (0..seq).map(move |column| if sees(row, column) { 0.0 } else { MASKED }));
    let data = TensorData::new(bias.collect::<Vec<f32>>(), [1, 1, seq, seq]);
    Tensor::from_data(data, device)
}
