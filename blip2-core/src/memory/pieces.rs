//! The largest tensors, each of which a GPU must hold in one buffer.

use blip2_io::config::{Blip2Config, BlipConfig, ModelKind, TextConfig};

use super::{Workload, activations::floats};

/// What a tensor is called, and its bytes.
pub(super) type Piece = (&'static str, u64);

const PICTURES: &str = "the image encoder's inside";
const TEXTS: &str = "the language model's inside";
const CACHE: &str = "the keys of a layer";
const LOGITS: &str = "the logits";

/// The widths of what writes text, and the most positions of a sequence.
struct Writes {
    inner: usize,
    keys: usize,
    vocab: usize,
    read: usize,
    positions: usize,
}

impl Writes {
    fn pieces(&self, work: &Workload) -> [Piece; 3] {
        let rows = work.batch.saturating_mul(work.beams);
        [
            (TEXTS, floats(&[work.batch, self.read, self.inner])),
            (CACHE, floats(&[rows, self.positions, self.keys])),
            (LOGITS, floats(&[rows, self.vocab])),
        ]
    }
}

/// Of pictures: queries, keys and values as one product, or what is inside an MLP.
fn of_pictures(pictures: usize, seq: usize, hidden: usize, inner: usize) -> Piece {
    let width = inner.max(3 * hidden);
    (PICTURES, floats(&[pictures, seq, width]))
}

fn positions([height, width]: [usize; 2], patch: usize) -> usize {
    (height / patch.max(1)) * (width / patch.max(1)) + 1
}

fn largest(pieces: impl IntoIterator<Item = Piece>) -> Option<Piece> {
    pieces.into_iter().max_by_key(|(_, bytes)| *bytes)
}

/// The largest that a BLIP-2 makes of `work` on pictures of this size.
pub(super) fn of_blip2(config: &Blip2Config, work: &Workload, size: [usize; 2]) -> Option<Piece> {
    let vision = &config.vision_config;
    let pictures = work.batch.saturating_mul(config.model_type.num_frames());
    let seen = of_pictures(
        pictures,
        positions(size, vision.patch_size),
        vision.hidden_size,
        vision.intermediate_size,
    );
    of_text(&config.text_config, work, config.num_placeholders(), seen)
}

/// The largest of `other` and of what a language model makes whose prompts hold this number of
/// placeholders.
pub(super) fn of_text(
    config: &TextConfig,
    work: &Workload,
    placeholders: usize,
    other: Piece,
) -> Option<Piece> {
    let read = placeholders.saturating_add(work.prompt_tokens);
    let Some(writes) = writes(config, work, read) else {
        return Some(other);
    };
    largest(writes.pieces(work).into_iter().chain([other]))
}

/// What a language model writes after `read` positions; `None` of one whose widths are not known.
fn writes(config: &TextConfig, work: &Workload, read: usize) -> Option<Writes> {
    let all = read.saturating_add(work.new_tokens);
    Some(match config {
        TextConfig::Opt(text) => Writes {
            inner: text.ffn_dim,
            keys: text.hidden_size,
            vocab: text.vocab_size,
            read,
            positions: all.min(text.max_position_embeddings.max(read)),
        },
        TextConfig::Llama(text) => Writes {
            inner: text.intermediate_size,
            keys: text.num_key_value_heads * text.head_dim,
            vocab: text.vocab_size,
            read,
            positions: all,
        },
        TextConfig::Granite(text) => {
            return writes(&TextConfig::Llama(text.to_llama()), work, read);
        }
        TextConfig::T5(text) => Writes {
            inner: text.d_ff,
            keys: text.num_heads * text.d_kv,
            vocab: text.vocab_size,
            read,
            positions: read.max(work.new_tokens),
        },
        _ => return None,
    })
}

/// The same of a BLIP-1.
pub(super) fn of_blip1(
    config: &BlipConfig,
    kind: ModelKind,
    work: &Workload,
    size: [usize; 2],
) -> Option<Piece> {
    let (vision, text) = (&config.vision_config, &config.text_config);
    let seen = positions(size, vision.patch_size);
    let pictures = of_pictures(
        work.batch,
        seen,
        vision.hidden_size,
        vision.intermediate_size,
    );
    let writes = Writes {
        inner: text.intermediate_size,
        keys: text.hidden_size,
        vocab: match kind {
            ModelKind::BlipAnswer | ModelKind::BlipCaption => text.vocab_size,
            _ => 0,
        },
        read: work.prompt_tokens,
        positions: seen.max(work.prompt_tokens.saturating_add(work.new_tokens)),
    };
    largest(writes.pieces(work).into_iter().chain([pictures]))
}
