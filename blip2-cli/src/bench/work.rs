//! How much there is to do: the multiplications and additions of each stage, and the weights that
//! a step of decoding reads.
//!
//! Only matrix products count, as is usual: two operations for each weight and position, and two
//! for each pair of positions and width in scores and weighted sums.

use blip2_core::{
    Blip2Config, TextConfig,
    config::{Blip2QFormerConfig, Blip2VisionConfig},
    memory::MemoryPlan,
};

/// The operations of each stage, for one picture and its prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Operations {
    pub(super) vision: f64,
    pub(super) qformer: f64,
    /// Of OPT, reading the prompt; of T5, the encoder.
    pub(super) prompt: f64,
}

/// A layer's operations over `positions`, whose matrices hold `weights` numbers in all.
fn layer(positions: usize, weights: usize, keys: usize, width: usize) -> f64 {
    let (positions, width) = (positions as f64, width as f64);
    2.0 * positions * weights as f64 + 4.0 * positions * keys as f64 * width
}

impl Operations {
    pub(super) fn new(config: &Blip2Config, image_size: usize, prompt_tokens: usize) -> Self {
        let vision = &config.vision_config;
        let patches = (image_size / vision.patch_size).pow(2);
        let frames = config.model_type.num_frames() as f64;
        Self {
            vision: frames * of_vision(vision, patches),
            qformer: frames * of_qformer(config, patches + 1),
            prompt: of_prompt(
                &config.text_config,
                config.num_placeholders() + prompt_tokens,
            ),
        }
    }
}

fn of_vision(config: &Blip2VisionConfig, patches: usize) -> f64 {
    let (width, seq) = (config.hidden_size, patches + 1);
    let embedding = layer(patches, 3 * config.patch_size.pow(2) * width, 0, 0);
    let weights = 4 * width * width + 2 * width * config.intermediate_size;
    embedding + config.num_hidden_layers as f64 * layer(seq, weights, seq, width)
}

fn of_qformer(config: &Blip2Config, patches: usize) -> f64 {
    let text_width = config.text_config.hidden_size();
    let queries = config.num_query_tokens;
    let config: &Blip2QFormerConfig = &config.qformer_config;
    let width = config.hidden_size;
    let layers = (0..config.num_hidden_layers).map(|n| {
        let weights = 4 * width * width + 2 * width * config.intermediate_size;
        let own = layer(queries, weights, queries, width);
        if config.has_cross_attention(n) {
            let keys_values = layer(patches, 2 * width * config.encoder_hidden_size, 0, 0);
            own + layer(queries, 2 * width * width, patches, width) + keys_values
        } else {
            own
        }
    });
    layers.sum::<f64>() + layer(queries, width * text_width, 0, 0)
}

fn of_prompt(config: &TextConfig, seq: usize) -> f64 {
    match config {
        TextConfig::Opt(config) => {
            let width = config.hidden_size;
            let weights = 4 * width * width + 2 * width * config.ffn_dim;
            // The head reads the last position alone.
            config.num_hidden_layers as f64 * layer(seq, weights, seq, width)
                + layer(1, width * config.vocab_size, 0, 0)
        }
        TextConfig::T5(config) => {
            let inner = config.num_heads * config.d_kv;
            let matrices = if config.is_gated_act { 3 } else { 2 };
            let weights = config.d_model * (4 * inner + matrices * config.d_ff);
            config.num_layers as f64 * layer(seq, weights, seq, inner)
        }
        TextConfig::Llama(config) => {
            let queries = config.num_attention_heads * config.head_dim;
            let keys = config.num_key_value_heads * config.head_dim;
            let width = 2 * (queries + keys) + 3 * config.intermediate_size;
            let weights = config.hidden_size * width;
            config.num_hidden_layers as f64 * layer(seq, weights, seq, queries)
                + layer(1, config.hidden_size * config.vocab_size, 0, 0)
        }
        TextConfig::Granite(config) => of_prompt(&TextConfig::Llama(config.to_llama()), seq),
        _ => 0.0,
    }
}

/// The bytes of weights that a step of decoding reads: the decoder's layers and the head. T5's keys
/// and values of the source are computed before the first step.
pub(super) fn decoder_bytes(config: &TextConfig, plan: &MemoryPlan) -> u64 {
    let own_head = plan.weights_named(|name| name == "language_model.lm_head.weight") > 0;
    plan.weights_named(|name| {
        let Some(name) = name.strip_prefix("language_model.") else {
            return false;
        };
        let table = [
            "shared.",
            "model.decoder.embed_tokens.",
            "model.embed_tokens.",
        ];
        if table.iter().any(|table| name.starts_with(table)) {
            return !own_head;
        }
        match config {
            TextConfig::T5(_) => {
                let of_source = ["EncDecAttention.k.", "EncDecAttention.v."];
                !name.starts_with("encoder.") && !of_source.iter().any(|part| name.contains(part))
            }
            _ => !name.contains("embed_positions."),
        }
    })
}

#[cfg(test)]
mod tests {
    use blip2_core::{Precision, Preset};

    use super::*;

    #[test]
    fn a_vit_g_takes_half_a_teraflop() {
        let opt = Operations::new(&Preset::Blip2Opt2_7b.config(), 224, 40);
        assert!((opt.vision / 1e12 - 0.52).abs() < 0.02, "{opt:?}");
        // 2.5 billion weights of layers, twice for each of 72 positions.
        assert!(
            (opt.prompt / 1e9 - 2.0 * 72.0 * 2.53).abs() < 4.0,
            "{opt:?}"
        );
        let t5 = Operations::new(&Preset::Blip2FlanT5Xl.config(), 224, 40);
        assert_eq!(opt.vision, t5.vision);
        assert!((t5.prompt / 1e9 - 2.0 * 72.0 * 1.15).abs() < 10.0, "{t5:?}");
        assert!(opt.qformer < opt.prompt);
    }

    #[test]
    fn a_step_reads_the_decoder_and_the_head_once() {
        for (preset, gigabytes) in [(Preset::Blip2Opt2_7b, 5.3), (Preset::Blip2FlanT5Xl, 2.9)] {
            let config = preset.config();
            let plan = MemoryPlan::new(&config, Precision::Bf16).unwrap();
            let bytes = decoder_bytes(&config.text_config, &plan) as f64 / 1e9;
            assert!((bytes - gigabytes).abs() < 0.1, "{preset}: {bytes}");
        }
    }
}
