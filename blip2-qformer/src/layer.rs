//! A layer of the Q-Former.

use blip2_kernels::{Activation, LayerNorm, Linear, Weights, mlp};
use burn::{module::Module, tensor::Tensor};

use crate::{Blip2QFormerConfig, QFormerError, attention::Attention};

/// A layer: self-attention over queries and text together, cross-attention of the queries to the
/// picture in every n-th layer, then an MLP, of which queries and text have each their own
/// (`Blip2QFormerLayer`).
#[derive(Module, Debug)]
pub(crate) struct Layer {
    attention: Attention,
    crossattention: Option<Attention>,
    query_mlp: FeedForward,
    text_mlp: Option<FeedForward>,
}

/// What all layers of a pass share.
pub(crate) struct Context {
    /// How many positions, at the beginning, are queries.
    pub(crate) queries: usize,
    /// Hides padding of queries and text, `[batch, 1, 1, seq]`.
    pub(crate) bias: Option<Tensor<4>>,
    /// The encoded pictures, `[pictures, keys, encoder_hidden]`.
    pub(crate) image: Option<Tensor<3>>,
    /// Which of them each row looks at; each its own if nothing is said.
    pub(crate) pictures: Option<Vec<usize>>,
    /// Hides padding of the encoded picture, `[batch, 1, 1, keys]`.
    pub(crate) image_bias: Option<Tensor<4>>,
    /// Whether attention maps are kept.
    pub(crate) keep_maps: bool,
}

/// A layer's attention maps.
#[derive(Default)]
pub(crate) struct Maps {
    pub(crate) own: Option<Tensor<4>>,
    pub(crate) cross: Option<Tensor<4>>,
}

impl Layer {
    pub(crate) fn load(config: &Blip2QFormerConfig, index: usize, weights: &Weights<'_>) -> Self {
        let (hidden, encoder) = (config.hidden_size, config.encoder_hidden_size);
        Self {
            attention: Attention::load(config, hidden, &weights.at("attention")),
            crossattention: config
                .has_cross_attention(index)
                .then(|| Attention::load(config, encoder, &weights.at("crossattention"))),
            query_mlp: FeedForward::load(config, "intermediate_query", "output_query", weights),
            text_mlp: config
                .use_qformer_text_input
                .then(|| FeedForward::load(config, "intermediate", "output", weights)),
        }
    }

    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, queries + text, hidden]`
    pub(crate) fn forward(
        &self,
        hidden_states: Tensor<3>,
        context: &Context,
    ) -> Result<(Tensor<3>, Maps), QFormerError> {
        let (bias, keep) = (context.bias.clone(), context.keep_maps);
        let (attended, own) =
            self.attention
                .forward(hidden_states.clone(), hidden_states, None, bias, keep);
        let [_, seq, _] = attended.dims();
        let text = (seq > context.queries)
            .then(|| {
                attended
                    .clone()
                    .narrow(1, context.queries, seq - context.queries)
            })
            .map(|text| match &self.text_mlp {
                Some(mlp) => Ok(mlp.forward(text)),
                None => Err(QFormerError::NoTextBranch),
            })
            .transpose()?;
        let mut maps = Maps { own, cross: None };
        if context.queries == 0 {
            return Ok((text.unwrap_or(attended), maps));
        }
        let mut queries = if text.is_some() {
            attended.narrow(1, 0, context.queries)
        } else {
            attended
        };
        if let Some(crossattention) = &self.crossattention {
            let image = context.image.clone().ok_or(QFormerError::NoImage)?;
            let bias = context.image_bias.clone();
            let pictures = context.pictures.as_deref();
            (queries, maps.cross) = crossattention.forward(queries, image, pictures, bias, keep);
        }
        let queries = self.query_mlp.forward(queries);
        let output = match text {
            Some(text) => Tensor::cat(vec![queries, text], 1),
            None => queries,
        };
        Ok((output, maps))
    }
}

/// BERT's MLP with its residual and norm (`Blip2QFormerIntermediate` and `Blip2QFormerOutput`).
#[derive(Module, Debug)]
struct FeedForward {
    intermediate: Linear,
    output: Linear,
    layer_norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    fn load(
        config: &Blip2QFormerConfig,
        intermediate: &str,
        output: &str,
        weights: &Weights<'_>,
    ) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let output = weights.at(output);
        Self {
            intermediate: weights
                .at(intermediate)
                .linear("dense", hidden, inner, true),
            output: output.linear("dense", inner, hidden, true),
            layer_norm: output.layer_norm("LayerNorm", hidden, config.layer_norm_eps),
            activation: config.hidden_act,
        }
    }

    fn forward(&self, hidden_states: Tensor<3>) -> Tensor<3> {
        let layers = [&self.intermediate, &self.output];
        let output = mlp(
            hidden_states.clone(),
            layers,
            self.activation,
            hidden_states,
        );
        self.layer_norm.forward(output)
    }
}
