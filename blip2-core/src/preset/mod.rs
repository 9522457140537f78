//! The published models' sizes, for measuring without a download, and what stands in for their files.

mod byte_tokenizer;

use std::{fmt, str::FromStr};

use blip2_io::config::{Blip2Config, Blip2VisionConfig, OptConfig, T5Config, TextConfig};
use blip2_kernels::Activation;

pub(crate) use byte_tokenizer::folder;

/// The configuration of a published checkpoint, by the name that it has on the hub.
///
/// It goes with random weights: [`Blip2Pipeline::builder_random`](crate::Blip2Pipeline::builder_random).
///
/// ```
/// use blip2_core::Preset;
///
/// let preset: Preset = "blip2-flan-t5-xl".parse()?;
/// assert_eq!(preset.config().text_config.hidden_size(), 2048);
/// assert!("blip2-flan-t5-xs".parse::<Preset>().is_err());
/// # Ok::<(), blip2_core::UnknownPreset>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// `blip2-opt-2.7b`: 3.7 billion parameters.
    Blip2Opt2_7b,
    /// `blip2-opt-2.7b-coco`: the same for pictures of 364×364.
    Blip2Opt2_7bCoco,
    /// `blip2-opt-6.7b`: 7.8 billion parameters.
    Blip2Opt6_7b,
    /// `blip2-opt-6.7b-coco`: the same for pictures of 364×364.
    Blip2Opt6_7bCoco,
    /// `blip2-flan-t5-xl`: 3.9 billion parameters.
    Blip2FlanT5Xl,
    /// `blip2-flan-t5-xl-coco`: the same for pictures of 364×364.
    Blip2FlanT5XlCoco,
    /// `blip2-flan-t5-xxl`: 12.2 billion parameters.
    Blip2FlanT5Xxl,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 7] = [
        Self::Blip2Opt2_7b,
        Self::Blip2Opt2_7bCoco,
        Self::Blip2Opt6_7b,
        Self::Blip2Opt6_7bCoco,
        Self::Blip2FlanT5Xl,
        Self::Blip2FlanT5XlCoco,
        Self::Blip2FlanT5Xxl,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blip2Opt2_7b => "blip2-opt-2.7b",
            Self::Blip2Opt2_7bCoco => "blip2-opt-2.7b-coco",
            Self::Blip2Opt6_7b => "blip2-opt-6.7b",
            Self::Blip2Opt6_7bCoco => "blip2-opt-6.7b-coco",
            Self::Blip2FlanT5Xl => "blip2-flan-t5-xl",
            Self::Blip2FlanT5XlCoco => "blip2-flan-t5-xl-coco",
            Self::Blip2FlanT5Xxl => "blip2-flan-t5-xxl",
        }
    }

    /// The configuration: of the hub's `config.json`, what decides the model's size and cost.
    pub fn config(self) -> Blip2Config {
        let (text_config, image_token) = match self {
            Self::Blip2Opt2_7b | Self::Blip2Opt2_7bCoco => (opt(2560), 50265),
            Self::Blip2Opt6_7b | Self::Blip2Opt6_7bCoco => (opt(4096), 50265),
            Self::Blip2FlanT5Xl | Self::Blip2FlanT5XlCoco => (flan_t5(2048, 32), 32100),
            Self::Blip2FlanT5Xxl => (flan_t5(4096, 64), 32100),
        };
        let image_size = match self {
            Self::Blip2Opt2_7bCoco | Self::Blip2Opt6_7bCoco | Self::Blip2FlanT5XlCoco => 364,
            _ => 224,
        };
        Blip2Config::default()
            .with_vision_config(Blip2VisionConfig::default().with_image_size(image_size))
            .with_text_config(text_config)
            .with_image_token_index(Some(image_token))
            .with_architectures(vec!["Blip2ForConditionalGeneration".into()])
    }
}

/// OPT of 32 layers (Zhang et al., 2022, table 1), with BLIP-2's end token, the line break, and
/// room for its image placeholder.
fn opt(hidden_size: usize) -> TextConfig {
    TextConfig::Opt(
        OptConfig::default()
            .with_vocab_size(50304)
            .with_hidden_size(hidden_size)
            .with_num_hidden_layers(32)
            .with_num_attention_heads(32)
            .with_ffn_dim(4 * hidden_size)
            .with_word_embed_proj_dim(hidden_size)
            .with_eos_token_id(vec![50118]),
    )
}

/// Flan-T5 of 24 layers a side (Chung et al., 2022), with the exact GELU that BLIP-2 gives it.
fn flan_t5(d_model: usize, num_heads: usize) -> TextConfig {
    TextConfig::T5(
        T5Config::default()
            .with_d_model(d_model)
            .with_d_ff(d_model / 2 * 5)
            .with_num_layers(24)
            .with_num_decoder_layers(24)
            .with_num_heads(num_heads)
            .with_dense_act_fn(Activation::Gelu)
            .with_is_gated_act(true)
            .with_bos_token_id(Some(1))
            .with_scale_decoder_outputs(false),
    )
}

impl From<Preset> for Blip2Config {
    fn from(preset: Preset) -> Self {
        preset.config()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no [`Preset`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no preset `{name}`; use one of {}", Preset::ALL.map(Preset::name).join(", "))]
pub struct UnknownPreset {
    name: String,
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| UnknownPreset {
                name: name.to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use blip2_io::checkpoint::{PlannedTensor, WeightPlan};
    use blip2_kernels::{Precision, Weights};
    use burn::tensor::Device;

    use super::*;
    use crate::model::Blip2ForConditionalGeneration;

    /// The parameters of `transformers` 5.23's model of the same configuration. It counts
    /// Flan-T5's output head as tied, where the published checkpoints hold one of their own.
    #[test]
    fn presets_have_the_parameters_of_the_reference() {
        let expected = [
            3_744_761_856,
            3_745_353_216,
            7_752_869_376,
            7_753_460_736,
            3_876_648_448 + 32128 * 2048,
            3_877_239_808 + 32128 * 2048,
            12_098_000_384 + 32128 * 4096,
        ];
        for (preset, parameters) in Preset::ALL.into_iter().zip(expected) {
            assert_eq!(preset.name().parse(), Ok(preset));
            let config = preset.config();
            config.validate().unwrap();
            let (plan, device) = (WeightPlan::without_checkpoint(), Device::flex());
            let weights = Weights::new(&plan, &device);
            let precision = Precision::F32.into();
            Blip2ForConditionalGeneration::build(&config, &weights, precision).unwrap();
            let tensors = plan.tensors();
            let counted: u64 = tensors.iter().map(PlannedTensor::parameters).sum();
            assert_eq!(counted, parameters, "{preset}");
        }
    }
}
