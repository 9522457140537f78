//! What the stages of a BLIP-1 take beside the weights.

use blip2_io::config::{BlipConfig, BlipTextConfig, ModelKind};

use super::{
    Workload,
    activations::{Products, Text, caches, floats},
    explained::Stack,
};

/// How a question, or a text that is compared, is framed: by a first token and a last.
const FRAME: usize = 2;

/// The positions of an encoded picture.
fn positions(config: &BlipConfig, [height, width]: [usize; 2]) -> usize {
    let patch = config.vision_config.patch_size.max(1);
    (height / patch) * (width / patch) + 1
}

/// What reads texts, and what writes them. `kind` says which of both a model has.
pub(super) fn text(
    config: &BlipConfig,
    kind: ModelKind,
    work: &Workload,
    size: [usize; 2],
    products: Products,
) -> Text {
    let seen = positions(config, size);
    let bert = &config.text_config;
    let image = floats(&[work.batch, seen, config.vision_config.hidden_size]);
    let tokens = work.prompt_tokens.saturating_add(FRAME);
    let read = || reading(bert, work.batch, tokens, seen, products);
    let mut text = match kind {
        // A caption goes on from its beginning, and looks at the picture.
        ModelKind::BlipCaption => {
            let begun = work.prompt_tokens.saturating_add(1);
            writing(bert, work, [begun, seen], products)
        }
        // An answer begins anew, and looks at what the question became.
        ModelKind::BlipAnswer => {
            let question = floats(&[work.batch, tokens, bert.hidden_size]);
            let written = writing(bert, work, [1, tokens], products);
            Text {
                prefill: read().max(question + written.prefill),
                decode: question + written.decode,
                ..written
            }
        }
        _ => Text {
            prefill: read(),
            ..Text::default()
        },
    };
    text.prefill = text.prefill.saturating_add(image);
    text.decode = text.decode.saturating_add(image);
    text
}

/// One layer of a BERT over `seq` positions that look at `seen` others: its own attention, then that to the
/// others, whose keys and values are made for it, then the MLP.
fn reading(
    bert: &BlipTextConfig,
    batch: usize,
    seq: usize,
    seen: usize,
    products: Products,
) -> u64 {
    let (hidden, heads) = (bert.hidden_size, bert.num_attention_heads);
    let states = floats(&[batch, seq, hidden]);
    let own = 5 * states + products.scores(batch, heads, seq, seq);
    let keys_values = 2 * floats(&[batch, seen, hidden]);
    let crossed = 3 * states + keys_values + products.scores(batch, heads, seq, seen);
    let mlp = products.mlp(batch.saturating_mul(seq), hidden, bert.intermediate_size);
    own.max(crossed).max(mlp) + products.widened_for(batch.saturating_mul(seq))
}

/// A decoder: its beginning of `begun` positions, and later steps, all of which look at `seen` others.
fn writing(
    bert: &BlipTextConfig,
    work: &Workload,
    [begun, seen]: [usize; 2],
    products: Products,
) -> Text {
    let Workload {
        batch,
        new_tokens,
        beams,
        ..
    } = *work;
    let rows = batch.saturating_mul(beams);
    let later = new_tokens.saturating_sub(1);
    let len = begun.saturating_add(later);
    let len = len.min(bert.max_position_embeddings.max(begun));
    let own = products.keys([batch, rows], [begun, len - begun], bert.hidden_size);
    let source = products.keys([batch, rows], [seen, 0], bert.hidden_size);
    let held = |keys: u64| caches(keys, bert.num_hidden_layers);
    let layer = reading(bert, batch, begun, seen, products);
    Text {
        prefill: held(own.prefill + source.prefill)
            + layer
            + products.logits(batch, bert.vocab_size),
        decode: held(own.decode + source.decode)
            + products.step(
                rows,
                own.moved.max(source.moved),
                [bert.hidden_size, bert.intermediate_size],
                bert.vocab_size,
            ),
        caches: held(own.decode + source.decode),
    }
}

/// What an explanation by gradients keeps of all stages: `largest` is the widest matrix, unpacked.
pub(super) fn explained(
    config: &BlipConfig,
    kind: ModelKind,
    work: &Workload,
    size: [usize; 2],
    largest: u64,
) -> u64 {
    let seen = positions(config, size);
    let vision = &config.vision_config;
    let image = Stack {
        layers: vision.num_hidden_layers,
        rows: seen,
        keys: seen,
        heads: vision.num_attention_heads,
        hidden: vision.hidden_size,
        inner: vision.intermediate_size,
    };
    let tokens = work.prompt_tokens.saturating_add(FRAME);
    let bert = |rows, seen| texts(&config.text_config, rows, seen);
    let mut kept = vec![image];
    match kind {
        ModelKind::BlipAnswer => {
            kept.extend(bert(tokens, seen));
            kept.extend(bert(work.new_tokens.max(1), tokens));
        }
        _ => kept.extend(bert(tokens, seen)),
    }
    let kept = kept.iter().map(Stack::bytes);
    kept.fold(largest, u64::saturating_add)
}

/// A BERT over `rows` positions, which look at themselves and at `seen` others.
fn texts(bert: &BlipTextConfig, rows: usize, seen: usize) -> [Stack; 2] {
    let own = Stack {
        layers: bert.num_hidden_layers,
        rows,
        keys: rows,
        heads: bert.num_attention_heads,
        hidden: bert.hidden_size,
        inner: bert.intermediate_size,
    };
    // Of cross-attention the keys and values are the others'.
    let cross = Stack {
        rows: seen,
        keys: rows,
        hidden: bert.hidden_size.div_ceil(2),
        inner: 0,
        ..own
    };
    [own, cross]
}
