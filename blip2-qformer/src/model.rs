//! The Q-Former as a whole.

use blip2_kernels::{LayerNorm, Precision, Weights, padding_bias};
use burn::{
    module::Module,
    tensor::{Bool, Tensor},
};

use crate::{
    Blip2QFormerConfig, QFormerError,
    layer::{Context, Layer},
};

/// The Q-Former (`Blip2QFormerModel`).
#[derive(Module, Debug)]
pub struct QFormer {
    layernorm: LayerNorm,
    layers: Vec<Layer>,
    hidden_size: usize,
    encoder_hidden_size: usize,
}

/// What the Q-Former reads. Only the queries are needed by every Q-Former.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QFormerInput {
    /// The queries, `[batch, queries, hidden]`.
    pub query_embeds: Tensor<3>,
    /// Embedded text, `[batch, text, hidden]`.
    pub text_embeds: Option<Tensor<3>>,
    /// True where a query or text position counts, `[batch, queries + text]`; all do by default.
    pub attention_mask: Option<Tensor<2, Bool>>,
    /// The encoded picture, `[batch, keys, encoder_hidden]`.
    pub encoder_hidden_states: Option<Tensor<3>>,
    /// True where a position of the encoded picture counts, `[batch, keys]`; all do by default.
    pub encoder_attention_mask: Option<Tensor<2, Bool>>,
    /// Keep the hidden states of every layer.
    pub output_hidden_states: bool,
    /// Keep the attention maps of every layer.
    pub output_attentions: bool,
}

impl QFormerInput {
    /// Queries alone.
    pub fn new(query_embeds: Tensor<3>) -> Self {
        Self {
            query_embeds,
            text_embeds: None,
            attention_mask: None,
            encoder_hidden_states: None,
            encoder_attention_mask: None,
            output_hidden_states: false,
            output_attentions: false,
        }
    }

    /// Lets the queries cross-attend to an encoded picture, `[batch, keys, encoder_hidden]`.
    #[must_use]
    pub fn image(mut self, encoder_hidden_states: Tensor<3>) -> Self {
        self.encoder_hidden_states = Some(encoder_hidden_states);
        self
    }

    /// Puts embedded text, `[batch, text, hidden]`, behind the queries.
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

    /// Keeps hidden states and attention maps of every layer.
    #[must_use]
    pub fn keep_all(mut self) -> Self {
        self.output_hidden_states = true;
        self.output_attentions = true;
        self
    }
}

/// What a [`forward`](QFormer::forward) returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QFormerOutput {
    /// The output of the last layer, `[batch, queries + text, hidden]`, queries first.
    pub last_hidden_state: Tensor<3>,
    /// The normed input, then each layer's output, each `[batch, queries + text, hidden]`. Empty
    /// unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
    /// Each layer's self-attention map, `[batch, heads, seq, seq]`. Empty unless asked for.
    pub attentions: Vec<Tensor<4>>,
    /// For each layer its cross-attention map, `[batch, heads, queries, keys]`; `None` for layers
    /// that have none. Empty unless asked for.
    pub cross_attentions: Vec<Option<Tensor<4>>>,
}

impl QFormer {
    /// Builds the Q-Former from the weights below the cursor (`layernorm`, `encoder.layer`).
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &Blip2QFormerConfig, weights: &Weights<'_>) -> Result<Self, QFormerError> {
        config.validate()?;
        let weights = weights.with_precision(Precision::F32);
        let layers = weights.at("encoder").at("layer");
        Ok(Self {
            layernorm: weights.layer_norm("layernorm", config.hidden_size, config.layer_norm_eps),
            layers: (0..config.num_hidden_layers)
                .map(|n| Layer::load(config, n, &layers.at(&n.to_string())))
                .collect(),
            hidden_size: config.hidden_size,
            encoder_hidden_size: config.encoder_hidden_size,
        })
    }

    /// Runs queries, and text behind them, through all layers.
    ///
    /// # Errors
    ///
    /// [`QFormerError`] for shapes that do not go together, for layers with cross-attention if
    /// there is no picture, and for text if the layers have no branch for it.
    pub fn forward(&self, input: QFormerInput) -> Result<QFormerOutput, QFormerError> {
        let [batch, queries, _] = input.query_embeds.dims();
        let embeds = match &input.text_embeds {
            Some(text) => {
                let [_, length, _] = text.dims();
                check("text_embeds", text, [batch, length, self.hidden_size])?;
                Tensor::cat(vec![input.query_embeds.clone(), text.clone()], 1)
            }
            None => input.query_embeds.clone(),
        };
        let [_, seq, _] = embeds.dims();
        check("query_embeds", &embeds, [batch, seq, self.hidden_size])?;
        let mut keys = 0;
        if let Some(image) = &input.encoder_hidden_states {
            [_, keys, _] = image.dims();
            check(
                "encoder_hidden_states",
                image,
                [batch, keys, self.encoder_hidden_size],
            )?;
        }
        let context = Context {
            queries,
            bias: bias("attention_mask", input.attention_mask, [batch, seq])?,
            image_bias: bias(
                "encoder_attention_mask",
                input.encoder_attention_mask,
                [batch, keys],
            )?,
            image: input.encoder_hidden_states,
            keep_maps: input.output_attentions,
        };

        let mut hidden = self.layernorm.forward(embeds);
        let mut hidden_states = Vec::new();
        let (mut attentions, mut cross_attentions) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            if input.output_hidden_states {
                hidden_states.push(hidden.clone());
            }
            let (output, maps) = layer.forward(hidden, &context)?;
            hidden = output;
            if let Some(own) = maps.own {
                attentions.push(own);
                cross_attentions.push(maps.cross);
            }
        }
        if input.output_hidden_states {
            hidden_states.push(hidden.clone());
        }
        Ok(QFormerOutput {
            last_hidden_state: hidden,
            hidden_states,
            attentions,
            cross_attentions,
        })
    }
}

fn check(
    tensor: &'static str,
    found: &Tensor<3>,
    expected: [usize; 3],
) -> Result<(), QFormerError> {
    let found = found.dims();
    if found != expected || found.contains(&0) {
        let expected = format!("[batch, seq, hidden] = {expected:?}, none of them zero,");
        return Err(QFormerError::Shape {
            tensor,
            found: found.to_vec(),
            expected,
        });
    }
    Ok(())
}

fn bias(
    tensor: &'static str,
    mask: Option<Tensor<2, Bool>>,
    expected: [usize; 2],
) -> Result<Option<Tensor<4>>, QFormerError> {
    let Some(mask) = mask else { return Ok(None) };
    if mask.dims() != expected {
        let found = mask.dims().to_vec();
        return Err(QFormerError::Shape {
            tensor,
            found,
            expected: format!("{expected:?}"),
        });
    }
    Ok(Some(padding_bias(mask)))
}
