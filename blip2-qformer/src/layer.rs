//! A layer of the Q-Former.

use blip2_io::config::Blip2QFormerConfig;
use blip2_kernels::{
    Kept, Weights,
    bert::{BertConfig, BertFeedForward, BertLayer, BertSource},
};
use burn::{module::Module, tensor::Tensor};

use crate::error::QFormerError;

/// A layer: self-attention over queries and text together, cross-attention of the queries to the
/// picture in every n-th layer, then a feed-forward network, of which queries and text have each
/// their own (`Blip2QFormerLayer`).
#[derive(Module, Debug)]
pub(crate) struct Layer {
    /// The queries' whole way; its self-attention is the text's too.
    queries: BertLayer,
    text: Option<BertFeedForward>,
}

/// What all layers of a pass share.
pub(crate) struct Context {
    /// How many positions, at the beginning, are queries.
    pub(crate) queries: usize,
    /// Hides padding of queries and text, `[batch, 1, 1, seq]`.
    pub(crate) bias: Option<Tensor<4>>,
    /// The encoded pictures, `[pictures, keys, encoder_hidden]`.
    pub(crate) image: Option<Tensor<3>>,
    /// Which of them each row attends to; each its own if nothing is said.
    pub(crate) pictures: Option<Vec<usize>>,
    /// Hides padding of the encoded picture, `[batch, 1, 1, keys]`.
    pub(crate) image_bias: Option<Tensor<4>>,
}

impl Context {
    /// How many positions a row's picture has.
    pub(crate) fn image_len(&self) -> usize {
        self.image.as_ref().map_or(0, |image| image.dims()[1])
    }

    /// What cross-attention reads.
    fn source(&self) -> Option<BertSource<'_>> {
        Some(BertSource {
            rows: self.pictures.as_deref(),
            bias: self.image_bias.clone(),
            ..BertSource::new(self.image.as_ref()?)
        })
    }
}

impl Layer {
    pub(crate) fn load(config: &Blip2QFormerConfig, index: usize, weights: &Weights<'_>) -> Self {
        let bert = BertConfig {
            hidden_size: config.hidden_size,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            hidden_act: config.hidden_act,
            layer_norm_eps: config.layer_norm_eps,
            encoder_hidden_size: config
                .has_cross_attention(index)
                .then_some(config.encoder_hidden_size),
            projections: "attention",
        };
        let names = ["intermediate_query", "output_query"];
        let text = || BertFeedForward::load(&bert, ["intermediate", "output"], weights);
        Self {
            queries: BertLayer::load(&bert, names, weights),
            text: config.use_qformer_text_input.then(text),
        }
    }

    /// Refuses queries without a picture, where the layer looks at one, and text if it has no branch for it.
    pub(crate) fn check(&self, context: &Context, seq: usize) -> Result<(), QFormerError> {
        if seq > context.queries && self.text.is_none() {
            return Err(QFormerError::NoTextBranch);
        }
        let looks = context.queries > 0 && self.queries.has_cross_attention();
        match looks && context.image.is_none() {
            true => Err(QFormerError::NoImage),
            false => Ok(()),
        }
    }

    /// Runs on what was [checked](Self::check).
    ///
    /// # Shapes
    ///
    /// - hidden_states and output: `[batch, queries + text, hidden]`
    pub(crate) fn forward(
        &self,
        hidden_states: Tensor<3>,
        context: &Context,
        kept: &mut Kept,
    ) -> Tensor<3> {
        kept.hidden(&hidden_states);
        let (bias, keep) = (context.bias.clone(), kept.keep());
        let (attended, map) = self.queries.attend(hidden_states, bias, None, keep);
        kept.attention(map);
        let ([_, seq, _], queries) = (attended.dims(), context.queries);
        // The text's second half of the layer.
        let text = match &self.text {
            Some(feed_forward) if seq > queries => {
                let text = attended.clone().narrow(1, queries, seq - queries);
                Some(feed_forward.forward(text))
            }
            _ => None,
        };
        // Only queries see the picture: without any, the layer is a plain BERT's.
        if queries == 0 {
            kept.cross_attention(None);
            return text.unwrap_or(attended);
        }
        let attended = match text {
            Some(_) => attended.narrow(1, 0, queries),
            None => attended,
        };
        let source = match self.queries.has_cross_attention() {
            true => context.source(),
            false => None,
        };
        let (queries, map) = self.queries.transform(attended, source, keep);
        kept.cross_attention(map);
        match text {
            Some(text) => Tensor::cat(vec![queries, text], 1),
            None => queries,
        }
    }
}
