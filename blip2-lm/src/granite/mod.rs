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
