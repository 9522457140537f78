//! The Q-Former as a whole.

use std::sync::Arc;

use blip2_io::config::Blip2QFormerConfig;
use blip2_kernels::{Kept, LayerNorm, Precision, Weights, layers_in_pool, recompute};
use burn::{module::Module, tensor::Tensor};

use crate::{
    error::QFormerError,
    input::QFormerInput,
    layer::{Context, Layer},
};

/// The Q-Former (`Blip2QFormerModel`).
///
/// ```
/// use blip2_qformer::burn::tensor::{Device, Tensor};
/// use blip2_qformer::{
///     CheckpointFolder, CheckpointWeights, QFormer, QFormerInput, QueryTokens, Weights,
/// };
///
/// let (folder, device) = (CheckpointFolder::open("../blip2-cli/demo")?, Device::flex());
/// let (config, checkpoint) = (folder.config()?, folder.checkpoint()?);
/// let source = CheckpointWeights::new(&checkpoint);
/// let weights = Weights::new(&source, &device);
/// let qformer = QFormer::load(&config.qformer_config, &weights.at("qformer"))?;
/// let width = config.qformer_config.hidden_size;
/// let queries = QueryTokens::load(config.num_query_tokens, width, &weights);
///
/// let image_embeds = Tensor::<3>::zeros([2, 65, 96], &device); // of a vision tower
/// let input = QFormerInput::new(queries.expand(2)).image(image_embeds);
/// assert_eq!(qformer.forward(input)?.last_hidden_state.dims(), [2, queries.count(), width]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct QFormer {
    layernorm: LayerNorm,
    layers: Vec<Layer>,
    hidden_size: usize,
    encoder_hidden_size: usize,
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
    /// Builds the Q-Former from the weights below the cursor (`layernorm`, `encoder.layer`), which
    /// in a BLIP-2 checkpoint is `qformer`. Matrices are held in `f32` whatever precision the
    /// cursor has.
    ///
    /// # Errors
    ///
    /// [`QFormerError::Config`] for a configuration that makes no sense. What the source of weights
    /// lacks is no error here: the source keeps that account.
    pub fn load(config: &Blip2QFormerConfig, weights: &Weights<'_>) -> Result<Self, QFormerError> {
        Self::with_norm(config, weights, weights)
    }

    /// As [`load`](Self::load), from a checkpoint of InstructBLIP, which keeps the norm of the
    /// input at `embeddings.layernorm`, beside the tables of
    /// [`TextEmbeddings`](crate::TextEmbeddings).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_instructed(
        config: &Blip2QFormerConfig,
        weights: &Weights<'_>,
    ) -> Result<Self, QFormerError> {
        Self::with_norm(config, weights, &weights.at("embeddings"))
    }

    fn with_norm(
        config: &Blip2QFormerConfig,
        weights: &Weights<'_>,
        norm: &Weights<'_>,
    ) -> Result<Self, QFormerError> {
        config.validate()?;
        let weights = weights.with_precision(Precision::F32);
        let layers = weights.at("encoder").at("layer");
        Ok(Self {
            layernorm: norm.layer_norm("layernorm", config.hidden_size, config.layer_norm_eps),
            layers: (0..config.num_hidden_layers)
                .map(|n| Layer::load(config, n, &layers.at(&n.to_string())))
                .collect(),
            hidden_size: config.hidden_size,
            encoder_hidden_size: config.encoder_hidden_size,
        })
    }

    /// Runs queries, and text after them, through all layers.
    ///
    /// # Shapes
    ///
    /// See [`QFormerInput`] and [`QFormerOutput`].
    ///
    /// # Errors
    ///
    /// [`QFormerError`] for no input at all, for shapes that do not go together, for queries
    /// without a picture, and for text if the layers have no branch for it.
    pub fn forward(&self, input: QFormerInput) -> Result<QFormerOutput, QFormerError> {
        let kept = Kept::new(input.keep);
        let (embeds, context) = input.checked(self.hidden_size, self.encoder_hidden_size)?;
        let embeds = match &context.image {
            Some(image) => kept.beside(embeds, image),
            None => embeds,
        };
        let [batch, seq, width] = embeds.dims();
        for layer in &self.layers {
            layer.check(&context, seq)?;
        }
        let rows = batch * (seq + context.image_len());
        let device = embeds.device();
        Ok(layers_in_pool(
            self,
            &device,
            self.layers.len(),
            [width, rows],
            || self.embedded(embeds, context, kept),
        ))
    }

    /// Runs what was embedded through all layers.
    fn embedded(&self, embeds: Tensor<3>, context: Context, mut kept: Kept) -> QFormerOutput {
        let mut hidden = self.layernorm.forward(embeds);
        // Recomputed layers give gradients to their input and parameters alone, and none to the picture.
        let image = context.image.as_ref();
        let recomputes = kept.is_idle() && !image.is_some_and(recompute::is_tracked);
        let context = Arc::new(context);
        for layer in &self.layers {
            if recomputes {
                let context = context.clone();
                hidden = recompute::layer(layer, hidden, move |layer, hidden| {
                    layer.forward(hidden, &context, &mut Kept::default())
                });
                continue;
            }
            hidden = layer.forward(hidden, &context, &mut kept);
        }
        kept.hidden(&hidden);
        QFormerOutput {
            last_hidden_state: hidden,
            hidden_states: kept.hidden_states,
            attentions: kept.attentions,
            cross_attentions: kept.cross_attentions,
        }
    }
}
