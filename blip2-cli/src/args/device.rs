//! What a model computes on, and in which number formats.

use blip2_core::{Precision, PrecisionPlan};
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct DeviceArgs {
    /// The device to compute on: flex or ndarray (CPU), wgpu, vulkan, metal, webgpu, cuda or rocm
    /// (GPU).
    #[arg(long, default_value = "flex", value_name = "NAME")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PrecisionArgs {
    /// The number format of the weights in memory: as-stored (the default), f32, bf16, f16, int8, or
    /// int4 (the language model's; the encoder's is then int8).
    #[arg(long, value_name = "FORMAT")]
    precision: Option<Precision>,
    /// The format of the weights of the encoder, of pictures or of sound, if it differs.
    #[arg(long, value_name = "FORMAT")]
    vision_precision: Option<Precision>,
    /// The format of the language model's weights, if it differs.
    #[arg(long, value_name = "FORMAT")]
    lm_precision: Option<Precision>,
}

impl PrecisionArgs {
    /// What was given, by the options' names.
    pub(crate) fn options(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("precision", self.precision),
            ("vision-precision", self.vision_precision),
            ("lm-precision", self.lm_precision),
        ]
        .map(|(name, precision)| (name, precision.map(|precision| precision.to_string())))
    }

    /// The plan, where what is left out is `default`.
    pub(crate) fn plan(&self, default: impl Into<PrecisionPlan>) -> PrecisionPlan {
        let both = self.precision.map_or_else(|| default.into(), Into::into);
        both.with_vision(self.vision_precision.unwrap_or(both.vision))
            .with_language_model(self.lm_precision.unwrap_or(both.language_model))
    }
}
