//! The language models.

use blip2_io::config::{Blip2Config, LlamaConfig, OptConfig, RopeType, T5Config, TextConfig};

use super::{caches, doubles, floats, products::Products};
use crate::memory::Workload;

/// What a language model takes.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::memory) struct Text {
    /// Reading the prompts, the caches included.
    pub(in crate::memory) prefill: u64,
    /// The later steps, the caches included.
    pub(in crate::memory) decode: u64,
    /// The caches at their largest.
    pub(in crate::memory) caches: u64,
}

/// The language model.
pub(in crate::memory) fn text(config: &Blip2Config, work: &Workload, products: Products) -> Text {
    let placeholders = config.num_placeholders();
    of_text(&config.text_config, placeholders, work, products)
}

/// A language model whose prompts hold this number of placeholders.
pub(in crate::memory) fn of_text(
    config: &TextConfig,
    placeholders: usize,
    work: &Workload,
    products: Products,
) -> Text {
    let seq = placeholders.saturating_add(work.prompt_tokens);
    let text = match config {
        TextConfig::Opt(text) => opt(text, work, seq, products),
        TextConfig::T5(text) => t5(text, work, seq, products),
        TextConfig::Llama(text) => llama(text, work, seq, products),
        TextConfig::Granite(text) => llama(&text.to_llama(), work, seq, products),
        _ => Text::default(),
    };
    // Whoever asks keeps what the pictures gave.
    let features = match products.by_gpu() {
        true => floats(&[work.batch, placeholders, config.hidden_size()]),
        false => 0,
    };
    Text {
        prefill: text.prefill.saturating_add(features),
        decode: text.decode.saturating_add(features),
        ..text
    }
}

/// What the layers of a decoder-only model take.
struct Decoder {
    layers: usize,
    heads: usize,
    /// The width of queries, all heads together.
    queries: usize,
    /// The width of keys, all heads together.
    keys: usize,
    hidden: usize,
    /// The width inside the MLP.
    inner: usize,
    gated: bool,
    vocab: usize,
    context: usize,
}

fn opt(config: &OptConfig, work: &Workload, seq: usize, products: Products) -> Text {
    let decoder = Decoder {
        layers: config.num_hidden_layers,
        heads: config.num_attention_heads,
        queries: config.hidden_size,
        keys: config.hidden_size,
        hidden: config.hidden_size,
        inner: config.ffn_dim,
        gated: false,
        vocab: config.vocab_size,
        context: config.max_position_embeddings,
    };
    decoder.text(work, seq, products)
}

fn llama(config: &LlamaConfig, work: &Workload, seq: usize, products: Products) -> Text {
    let decoder = Decoder {
        layers: config.num_hidden_layers,
        heads: config.num_attention_heads,
        queries: config.num_attention_heads * config.head_dim,
        keys: config.num_key_value_heads * config.head_dim,
        hidden: config.hidden_size,
        inner: config.intermediate_size,
        gated: true,
        vocab: config.vocab_size,
        context: match config.rope_parameters.rope_type {
            RopeType::Dynamic => usize::MAX,
            _ => config.max_position_embeddings,
        },
    };
    let mut text = decoder.text(work, seq, products);
    if products.by_gpu() {
        return text;
    }
    // Rotary positions make new queries and keys, and without kernels keys and values are repeated
    // for each head of a group.
    text.prefill = text
        .prefill
        .saturating_add(4 * floats(&[work.batch, seq, decoder.queries]));
    text
}

impl Decoder {
    /// Prompts and later steps.
    fn text(&self, work: &Workload, seq: usize, products: Products) -> Text {
        let config = self;
        let Workload {
            batch,
            new_tokens,
            beams,
            ..
        } = *work;
        // The last token is generated and not fed, so it has no place in the cache; and no place is
        // made beyond the context, where generation ends.
        let len = seq
            .saturating_add(new_tokens.saturating_sub(1))
            .min(config.context.max(seq));
        let rows = batch.saturating_mul(beams);
        let keys = products.keys([batch, rows], [seq, len - seq], config.keys);

        let hidden = floats(&[batch, seq, config.hidden]);
        let queries = floats(&[batch, seq, config.queries]);
        // The residual stream and its norm, and the queries; keys and values are counted with the
        // caches. A layer's tensors are freed before the next, so one layer counts, and of it
        // attention or MLP, whichever is larger.
        let attention = 2 * hidden + queries + products.scores(batch, config.heads, seq, seq);
        let read = batch.saturating_mul(seq);
        let mlp = match config.gated {
            // A gate, before and after its activation, and what it is multiplied with.
            true => products.gated(read, [config.hidden, config.inner], 3),
            false => products.mlp(read, config.hidden, config.inner),
        };
        let widened = products.widened_for(read);
        let logits = products.logits(batch, config.vocab);
        let beside = match products.by_gpu() {
            // Keys and values are there also before they are written, and what hides the future is of
            // each prompt where some are padded. Logits come when the layers' own tensors are gone.
            true => {
                let new = 2 * floats(&[batch, seq, config.keys]);
                let layer = mlp.max(attention - hidden + new) + widened;
                (floats(&[batch, seq, seq]) + layer).max(hidden + logits)
            }
            false => attention.max(mlp).max(widened) + logits,
        };
        Text {
            prefill: caches(keys.prefill, config.layers) + beside,
            decode: caches(keys.decode, config.layers)
                + products.step(
                    rows,
                    keys.moved,
                    [config.hidden, config.inner],
                    config.vocab,
                ),
            caches: caches(keys.decode, config.layers),
        }
    }
}

fn t5(config: &T5Config, work: &Workload, seq: usize, products: Products) -> Text {
    let Workload {
        batch,
        new_tokens,
        beams,
        ..
    } = *work;
    let rows = batch.saturating_mul(beams);
    let inner = config.num_heads * config.d_kv;
    let source = products.keys([batch, rows], [seq, 0], inner);
    let past = products.keys([batch, rows], [0, new_tokens], inner);
    let caches = |keys: u64| caches(keys, config.num_decoder_layers);

    let hidden = floats(&[batch, seq, config.d_model]);
    // Each pair's bias, and its place in the table: as it is given, and as it is looked up by. Where
    // prompts of several lengths are padded, each has a bias of its own.
    let padded = match batch {
        1 => 0,
        _ => floats(&[batch, config.num_heads, seq, seq]),
    };
    let places = floats(&[seq, seq]) + doubles(&[seq, seq]);
    let positions = floats(&[config.num_heads, seq, seq]) + places.max(padded);
    let heads = match products.by_gpu() {
        // Queries, keys and values, beside the residual stream and its norm.
        true => 2 * hidden + 3 * floats(&[batch, seq, inner]),
        false => 3 * hidden,
    };
    let attention = heads + products.scores(batch, config.num_heads, seq, seq);
    let read = batch.saturating_mul(seq);
    // Two projections where the MLP is gated, of which one becomes their product.
    let mlp = match config.is_gated_act {
        true => products.gated(read, [config.d_model, config.d_ff], 2),
        false => products.mlp(read, config.d_model, config.d_ff),
    };
    let widened = products.widened_for(read);
    let logits = products.logits(batch, config.vocab_size);
    let held = caches(source.decode + past.decode);
    // The encoder's activations are freed before the decoder's first step, but for its output, which
    // the keys and values of cross-attention are made of.
    let (encoder, decoder) = match products.by_gpu() {
        true => {
            let copied = 2 * source.prefill;
            let made = caches(source.prefill) + copied + widened;
            let first = caches(source.prefill + past.prefill) + logits;
            (
                positions + attention.max(mlp) + widened,
                hidden + made.max(first),
            )
        }
        false => (
            positions + attention.max(mlp).max(widened),
            hidden + caches(source.prefill + past.prefill) + widened + logits,
        ),
    };
    // Without a GPU's kernels the encoder's output is counted on, with what the allocator keeps of it.
    let kept = if products.by_gpu() { 0 } else { hidden };
    let moved = source.moved.max(past.moved);
    let widths = [config.d_model, config.d_ff];
    Text {
        prefill: encoder.max(decoder),
        decode: kept + held + products.step(rows, moved, widths, config.vocab_size),
        caches: held,
    }
}
