//! What an explanation by gradients keeps: of every layer what its backward pass needs, and the maps.

use blip2_io::config::{Blip2Config, TextConfig};

use super::Workload;

/// A stack of layers, each of which attends to `keys` positions, its own or others.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    pub(super) layers: usize,
    pub(super) rows: usize,
    pub(super) keys: usize,
    pub(super) heads: usize,
    pub(super) hidden: usize,
    /// The width inside the MLP, all of its branches together.
    pub(super) inner: usize,
}

impl Stack {
    /// The bytes of a pass. Of a layer: the inputs of both norms and of all four products, queries,
    /// keys and values as they come and as they are multiplied, an MLP before and after its activation;
    /// and of a map the exponentials, the softmax, what is multiplied, its gradient, and one on its way.
    pub(super) fn bytes(&self) -> u64 {
        let states = self.rows.saturating_mul(11 * self.hidden + 2 * self.inner);
        let maps = (5 * self.heads)
            .saturating_mul(self.rows)
            .saturating_mul(self.keys);
        let each = states.saturating_add(maps) as u64;
        each.saturating_mul(4 * self.layers as u64)
    }
}

/// All stages together, which a graph has at once: `largest` is the widest matrix, unpacked.
pub(super) fn explained(
    config: &Blip2Config,
    work: &Workload,
    [height, width]: [usize; 2],
    largest: u64,
) -> u64 {
    let vision = &config.vision_config;
    let frames = config.model_type.num_frames();
    let patch = vision.patch_size.max(1);
    let seq = (height / patch) * (width / patch) + 1;
    let qformer = &config.qformer_config;
    let read = match config.model_type.reads_instructions() {
        true => work.prompt_tokens,
        false => 0,
    };
    let queries = config.num_query_tokens + read;
    let stacks = [
        Stack {
            layers: vision.num_hidden_layers,
            rows: frames * seq,
            keys: seq,
            heads: vision.num_attention_heads,
            hidden: vision.hidden_size,
            inner: vision.intermediate_size,
        },
        Stack {
            layers: qformer.num_hidden_layers,
            rows: frames * queries,
            keys: queries,
            heads: qformer.num_attention_heads,
            hidden: qformer.hidden_size,
            inner: qformer.intermediate_size,
        },
        // Cross-attention: the keys and values are the patches'.
        Stack {
            layers: qformer.num_hidden_layers / qformer.cross_attention_frequency.max(1),
            rows: frames * seq,
            keys: queries,
            heads: qformer.num_attention_heads,
            hidden: qformer.hidden_size.div_ceil(2),
            inner: 0,
        },
        text(
            config,
            config.num_placeholders().saturating_add(work.prompt_tokens),
        ),
    ];
    let kept = stacks.iter().map(Stack::bytes);
    kept.fold(largest, u64::saturating_add)
}

fn text(config: &Blip2Config, rows: usize) -> Stack {
    let stack = |layers, heads, hidden, inner| Stack {
        layers,
        rows,
        keys: rows,
        heads,
        hidden,
        inner,
    };
    match &config.text_config {
        TextConfig::Opt(text) => stack(
            text.num_hidden_layers,
            text.num_attention_heads,
            text.hidden_size,
            text.ffn_dim,
        ),
        TextConfig::Llama(text) => stack(
            text.num_hidden_layers,
            text.num_attention_heads,
            text.hidden_size,
            2 * text.intermediate_size,
        ),
        TextConfig::Granite(text) => stack(
            text.num_hidden_layers,
            text.num_attention_heads,
            text.hidden_size,
            2 * text.intermediate_size,
        ),
        // The decoder has few positions, and the encoder's to look at.
        TextConfig::T5(text) => stack(
            text.num_layers + text.num_decoder_layers,
            text.num_heads,
            text.d_model,
            2 * text.d_ff,
        ),
        _ => stack(0, 0, 0, 0),
    }
}
