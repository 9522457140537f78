//! LLaMA (Touvron et al., 2023) and what has its architecture, such as Vicuna: rotary positions,
//! root-mean-square norm, a gated MLP.

use blip2_io::config::LlamaConfig;

use crate::{
    decoder::{Described, Description, LayerNames, Names, NormKind, NormPlace, Positions, Scales},
    error::LmError,
};

const NAMES: Names = Names {
    model: "model",
    final_norm: "norm",
    layer: LayerNames {
        attention_norm: "input_layernorm",
        attention_output: "o_proj",
        mlp_norm: "post_attention_layernorm",
        mlp_up: "mlp.up_proj",
        mlp_gate: Some("mlp.gate_proj"),
        mlp_down: "mlp.down_proj",
    },
};

impl Described for LlamaConfig {
    fn describe(&self) -> Result<Description, LmError> {
        self.validate()?;
        Ok(Description {
            vocab_size: self.vocab_size,
            pad_token_id: self.pad_token_id,
            embedding_dim: self.hidden_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_layers: self.num_hidden_layers,
            num_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            context: self.context(),
            positions: Positions::Rotary {
                rope: Box::new(self.rope_parameters.clone()),
                longest: self.max_position_embeddings,
            },
            forward_counts_padding: true,
            norm: NormKind::Rms {
                eps: self.rms_norm_eps,
            },
            norm_place: NormPlace::Before,
            final_norm: true,
            activation: self.hidden_act,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            tied_head: self.tie_word_embeddings,
            scales: Scales::usual(self.head_dim),
            names: NAMES,
        })
    }
}
