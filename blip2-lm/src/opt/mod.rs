//! OPT (Zhang et al., 2022): learned positions, layer norm, a plain MLP.

use blip2_io::config::OptConfig;

use crate::{
    decoder::{Described, Description, LayerNames, Names, NormKind, NormPlace, Positions, Scales},
    error::LmError,
};

/// Positions are looked up this far into their table: a relic of the padding id that the first
/// implementation kept rows for.
const POSITION_OFFSET: usize = 2;

/// OPT's configuration has no key for the norms' epsilon.
const LAYER_NORM_EPS: f64 = 1e-5;

const NAMES: Names = Names {
    model: "model.decoder",
    final_norm: "final_layer_norm",
    layer: LayerNames {
        attention_norm: "self_attn_layer_norm",
        attention_output: "out_proj",
        mlp_norm: "final_layer_norm",
        mlp_up: "fc1",
        mlp_gate: None,
        mlp_down: "fc2",
    },
};

impl Described for OptConfig {
    fn describe(&self) -> Result<Description, LmError> {
        self.validate()?;
        let (hidden_size, heads) = (self.hidden_size, self.num_attention_heads);
        let head_dim = hidden_size / heads.max(1);
        Ok(Description {
            vocab_size: self.vocab_size,
            pad_token_id: self.pad_token_id,
            embedding_dim: self.word_embed_proj_dim,
            hidden_size,
            intermediate_size: self.ffn_dim,
            num_layers: self.num_hidden_layers,
            num_heads: heads,
            num_key_value_heads: heads,
            head_dim,
            context: Some(self.max_position_embeddings),
            positions: Positions::Learned {
                count: self.max_position_embeddings,
                offset: POSITION_OFFSET,
            },
            forward_counts_padding: false,
            norm: NormKind::Layer {
                eps: LAYER_NORM_EPS,
                affine: self.layer_norm_elementwise_affine,
            },
            norm_place: match self.do_layer_norm_before {
                true => NormPlace::Before,
                false => NormPlace::After,
            },
            // Post-norm layers end in a norm already.
            final_norm: self.do_layer_norm_before && !self.remove_final_layer_norm,
            activation: self.activation_function,
            attention_bias: self.enable_bias,
            mlp_bias: self.enable_bias,
            tied_head: self.tie_word_embeddings,
            scales: Scales::usual(head_dim),
            names: NAMES,
        })
    }
}
