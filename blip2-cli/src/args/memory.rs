//! How much memory may be taken.

use blip2_core::{Builder, Member};
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct MemoryArgs {
    /// The most memory that may be used; without it, what the machine has available. A model or a
    /// call that needs more is refused beforehand.
    #[arg(long, value_name = "GB", value_parser = gigabytes)]
    pub(crate) memory_limit: Option<f64>,
}

impl MemoryArgs {
    /// Limits what a model and its calls may take.
    pub(crate) fn limit<M: Member>(&self, builder: Builder<M>) -> Builder<M> {
        match self.memory_limit {
            // A number beyond the integers means no limit, one below zero nothing at all.
            Some(gigabytes) => builder.memory_limit((gigabytes * 1e9) as u64),
            None => builder,
        }
    }
}

/// An amount of memory.
fn gigabytes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.0 => Ok(amount),
        Ok(_) => Err("give a number of gigabytes, 0 or more".into()),
        Err(error) => Err(error.to_string()),
    }
}
