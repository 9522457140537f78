//! Granite (`GraniteForCausalLM`): LLaMA's layers, with four numbers that multiply its parts.

use blip2_io::config::GraniteConfig;

use crate::{
    decoder::{Described, Description, Scales},
    error::LmError,
};

impl Described for GraniteConfig {
    fn describe(&self) -> Result<Description, LmError> {
        self.validate()?;
        Ok(Description {
            scales: Scales {
                embedding: self.embedding_multiplier,
                attention: self.attention_multiplier,
                residual: self.residual_multiplier,
                logits_divisor: self.logits_scaling,
            },
            ..self.to_llama().describe()?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_the_configurations_multipliers() {
        let config = GraniteConfig::default()
            .with_embedding_multiplier(12.0)
            .with_attention_multiplier(0.0078125)
            .with_residual_multiplier(0.22)
            .with_logits_scaling(8.0)
            .with_num_key_value_heads(8);
        let description = config.describe().unwrap();
        let scales = Scales {
            embedding: 12.0,
            attention: 0.0078125,
            residual: 0.22,
            logits_divisor: 8.0,
        };
        assert_eq!(description.scales, scales);
        assert_eq!(description.num_key_value_heads, 8);
        assert!(config.with_logits_scaling(0.0).describe().is_err());
    }
}
