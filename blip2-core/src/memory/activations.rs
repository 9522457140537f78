//! What each stage takes beside the weights, at its peak.
//!
//! These are counts of the tensors that are alive together. Where matrices are packed, the kernels
//! never write scores down, apply activations in place, round a product's input once, and have what is
//! inside an MLP for some rows at a time. A GPU's kernels write no scores down either, have each
//! product whole, and write keys and values into room that was made for all positions. Burn's
//! own operations write a new tensor each, copy heads that were split to multiply them, and have
//! scores twice while they are scaled or normalised. Processors were checked against the peak of the
//! resident memory of each stage alone, over batches, picture sizes, prompt lengths and beams, and a
//! GPU against what its allocator had given out whenever a kernel was launched.

use blip2_io::config::{
    Blip2Config, Blip2QFormerConfig, Blip2VisionConfig, LlamaConfig, OptConfig, RopeType, T5Config,
    TextConfig,
};

use super::Workload;

/// More than any machine has, and so little that sums of such numbers do not overflow.
const TOO_MUCH: u64 = 1 << 56;

/// The rows that kernels take through an MLP at a time, and that are summed in 64 bits at a time.
const ROWS_AT_ONCE: usize = 1024;

/// The most rows that a GPU multiplies with a matrix as it is held, whatever it has for more.
const ROWS_AS_HELD: usize = 32;

/// The bytes of a tensor of `f32`.
pub(super) fn floats(dims: &[usize]) -> u64 {
    dims.iter()
        .fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64))
        .min(TOO_MUCH)
}

/// The bytes of a tensor of `f64`, which layers that are summed exactly compute in.
fn doubles(dims: &[usize]) -> u64 {
    2 * floats(dims)
}

/// The bytes of the keys and values of this number of layers.
pub(super) fn caches(keys: u64, layers: usize) -> u64 {
    keys.saturating_mul(2 * layers as u64).min(TOO_MUCH)
}

/// The keys of a layer, in bytes.
pub(super) struct Keys {
    /// While prompts are read.
    pub(super) prefill: u64,
    /// At the last step.
    pub(super) decode: u64,
    /// What exists twice while rows change places.
    pub(super) moved: u64,
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A processor's kernels, on packed matrices.
    Processor,
    /// A GPU's kernels.
    Gpu {
        /// Whether it multiplies many rows in `f16`.
        halves: bool,
    },
    /// Burn's own operations.
    Burn,
}

/// How products are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    pub(super) by: By,
    /// Whether there are floats of 64 bits.
    pub(super) doubles: bool,
    /// What the largest narrow matrix takes while it is widened for a product, where no kernel
    /// multiplies it as it is held.
    pub(super) widened: u64,
    /// The threads that share the work out.
    pub(super) threads: usize,
    /// How many rows of pictures go through the image encoder's layers at a time, where not all do.
    pub(super) at_once: Option<usize>,
}

impl Products {
    /// Attention's scores, which exist twice while they are scaled or normalised.
    pub(super) fn scores(self, batch: usize, heads: usize, queries: usize, keys: usize) -> u64 {
        match self.by {
            By::Burn => 2 * floats(&[batch, heads, queries, keys]),
            _ => 0,
        }
    }

    /// Attention of pictures to themselves, with the residual stream, queries, keys and values as one
    /// product, and what is made of them.
    fn of_pictures(self, batch: usize, heads: usize, seq: usize, width: usize) -> u64 {
        let hidden = floats(&[batch, seq, width]);
        match self.by {
            By::Processor => {
                // Each thread lays out a head's keys and values for itself, in columns by the 32.
                let depth = (width / heads.max(1)).next_multiple_of(32);
                let at_once = self.threads.min(batch.saturating_mul(heads));
                6 * hidden + floats(&[at_once, 2, seq, depth])
            }
            By::Gpu { .. } => 5 * hidden + self.narrowed(&[batch, seq, width]),
            By::Burn => 7 * hidden + self.scores(batch, heads, seq, seq),
        }
    }

    /// A product's input as `f16`, where it is multiplied so.
    fn narrowed(self, dims: &[usize]) -> u64 {
        match self.by {
            By::Gpu { halves: true } => floats(dims) / 2,
            _ => 0,
        }
    }

    /// What is widened for a product of so many rows.
    pub(super) fn widened_for(self, rows: usize) -> u64 {
        match self.by {
            By::Gpu { .. } if rows <= ROWS_AS_HELD => 0,
            _ => self.widened,
        }
    }

    /// The keys of a layer, `width` floats for each position: of `batch` prompts of `prompt`
    /// positions, which `rows` rows continue by `later`.
    pub(super) fn keys(
        self,
        [batch, rows]: [usize; 2],
        [prompt, later]: [usize; 2],
        width: usize,
    ) -> Keys {
        let whole = |rows| floats(&[rows, prompt.saturating_add(later), width]);
        if self.by == By::Processor {
            // Rows share their prompt, and none is moved; room for later positions comes with them.
            let prompts = floats(&[batch, prompt, width]);
            Keys {
                prefill: prompts,
                decode: prompts + floats(&[rows, later, width]),
                moved: 0,
            }
        } else {
            let moved = match self.by {
                // One layer's keys and values at a time: a prompt's rows become those of its beams, and what is left of
                // a batch, once that is a quarter of it, goes to buffers of its own.
                By::Gpu { .. } if rows > batch => (2 * whole(batch)).max(whole(rows) / 2),
                By::Gpu { .. } => whole(rows) / 2,
                _ => whole(rows),
            };
            Keys {
                prefill: whole(batch),
                decode: whole(rows),
                moved,
            }
        }
    }

    /// An MLP over `rows` rows, `inner` wide inside, with the residual stream.
    pub(super) fn mlp(self, rows: usize, hidden: usize, inner: usize) -> u64 {
        let (states, inside) = (floats(&[rows, hidden]), floats(&[rows, inner]));
        match self.by {
            By::Processor => {
                // Input and result of both products of a block of rows, each input as the kernels
                // have it.
                let block = rows.min(ROWS_AT_ONCE);
                3 * states + floats(&[block, hidden]) + 2 * floats(&[block, inner])
            }
            // The input is gone before there is an output.
            By::Gpu { .. } => 2 * states + inside + self.narrowed(&[rows, inner]),
            By::Burn => 2 * states + 2 * inside,
        }
    }

    /// As [`mlp`](Self::mlp), of one whose inside is multiplied by a gate; `kept` insides are there
    /// together where not a GPU's kernels compute.
    fn gated(self, rows: usize, [hidden, inner]: [usize; 2], kept: u64) -> u64 {
        let (states, inside) = (floats(&[rows, hidden]), floats(&[rows, inner]));
        match self.by {
            // Both lie in one piece of memory until the MLP is over.
            By::Gpu { .. } => 2 * states + 2 * inside + self.narrowed(&[rows, hidden.max(inner)]),
            _ => 2 * states + kept * inside,
        }
    }

    /// Decoding beside the caches: what is moved while rows change places, and a position of each row.
    pub(super) fn step(
        self,
        rows: usize,
        moved: u64,
        [hidden, inner]: [usize; 2],
        vocab: usize,
    ) -> u64 {
        let logits = self.logits(rows, vocab);
        let widened = self.widened_for(rows);
        match self.by {
            By::Gpu { .. } => {
                let states = 2 * floats(&[rows, hidden]);
                let layer = states + 2 * floats(&[rows, inner]) + widened;
                moved.max(layer).max(states + logits)
            }
            // Its activations are too small to count beside these.
            _ => moved.max(widened) + logits,
        }
    }

    /// The logits of a step: on the device, on the host, and processed, as far as they are in the
    /// memory that is counted.
    pub(super) fn logits(self, rows: usize, vocab: usize) -> u64 {
        let logits = floats(&[rows, vocab]);
        match self.by {
            By::Gpu { .. } => logits,
            _ => 3 * logits,
        }
    }

    /// Whether a GPU's kernels compute.
    pub(super) fn by_gpu(self) -> bool {
        matches!(self.by, By::Gpu { .. })
    }
}

/// Making pixel values of pictures: those of all, twice while they are concatenated, and a copy of
/// the picture that is being resized.
pub(super) fn preprocess(batch: usize, picture_pixels: usize, [height, width]: [usize; 2]) -> u64 {
    2 * floats(&[batch, 3, height, width]) + floats(&[picture_pixels])
}

/// The image encoder.
pub(super) fn vision(
    config: &Blip2VisionConfig,
    batch: usize,
    [height, width]: [usize; 2],
    products: Products,
) -> u64 {
    let patches = (height / config.patch_size) * (width / config.patch_size);
    let seq = patches + 1;
    let kernel = 3 * config.patch_size * config.patch_size;
    let embeddings = embeddings(
        batch.saturating_mul(patches),
        [kernel, config.hidden_size],
        products,
    );
    let heads = config.num_attention_heads;
    let at_once = products.at_once.map(|rows| rows.div_ceil(seq).max(1));
    let pictures = at_once.map_or(batch, |pictures| pictures.min(batch));
    // What goes in of all pictures, and what comes out.
    let all = match pictures < batch {
        true => 2 * floats(&[batch, seq, config.hidden_size]),
        false => 0,
    };
    let attention = products.of_pictures(pictures, heads, seq, config.hidden_size);
    let rows = pictures.saturating_mul(seq);
    let mlp = products.mlp(rows, config.hidden_size, config.intermediate_size);
    let layer = all + attention.max(mlp) + products.widened_for(rows);
    // Positions of another size than the model's own are made once and kept.
    let positions = match [height, width] == [config.image_size; 2] {
        true => 0,
        false => floats(&[seq, config.hidden_size]),
    };
    positions + embeddings.max(layer)
}

/// Embedding `rows` patches, by a `kernel` of so many numbers for each output.
fn embeddings(rows: usize, [kernel, hidden]: [usize; 2], products: Products) -> u64 {
    let piece = rows.min(ROWS_AT_ONCE);
    let (cut, embedded) = (floats(&[rows, kernel]), floats(&[rows, hidden]));
    // Pictures and their patches, those and their embeddings, and these before and after the class
    // token is set before them.
    let plain = (2 * cut).max(cut + embedded).max(2 * embedded);
    // Of a piece both widened, and the kernel, which without a GPU's kernels is copied to be
    // transposed.
    let widened = doubles(&[piece, kernel]) + doubles(&[piece, hidden]);
    match (products.doubles, products.by_gpu()) {
        (false, _) => plain,
        (true, false) => cut + 2 * embedded + widened + 2 * doubles(&[kernel, hidden]),
        (true, true) => {
            let before = if rows > piece { embedded } else { 0 };
            plain.max(cut + before + widened + doubles(&[kernel, hidden]))
        }
    }
}

/// The Q-Former and the projection into the language model.
pub(super) fn qformer(
    config: &Blip2Config,
    batch: usize,
    [height, width]: [usize; 2],
    products: Products,
) -> u64 {
    let vision = &config.vision_config;
    let keys = (height / vision.patch_size) * (width / vision.patch_size) + 1;
    let Blip2QFormerConfig {
        hidden_size,
        num_attention_heads,
        ..
    } = config.qformer_config;
    // The image encoder's output, which every cross-attention reads, stays until the last of them.
    let image = floats(&[batch, keys, vision.hidden_size]);
    // As they come; where no GPU's kernels compute, also copied to be multiplied.
    let copies = if products.by_gpu() { 1 } else { 2 };
    let keys_values = 2 * copies * floats(&[batch, keys, hidden_size]);
    let queries = config.num_query_tokens;
    // A prompt that it reads has at most as many tokens as there are positions.
    let own = match config.model_type.reads_instructions() {
        true => queries + config.qformer_config.max_position_embeddings,
        false => 0,
    };
    // The queries' own states, which are few beside all that a process holds.
    let states = match products.by_gpu() {
        true => 3 * floats(&[batch, queries, hidden_size]),
        false => 0,
    };
    let crossed = keys_values + states + products.scores(batch, num_attention_heads, queries, keys);
    let attention = crossed.max(
        4 * floats(&[batch, own, hidden_size])
            + products.scores(batch, num_attention_heads, own, own),
    );
    let width = config.text_config.hidden_size();
    let given = batch.saturating_mul(queries);
    match (products.doubles, products.by_gpu()) {
        (false, _) => image + attention,
        (true, false) => image + attention.max(2 * doubles(&[hidden_size, width])),
        // Pictures are gone by then.
        (true, true) => {
            let both = doubles(&[given, hidden_size]) + doubles(&[given, width]);
            let projection = doubles(&[hidden_size, width]) + both;
            (image + attention).max(projection + floats(&[given, hidden_size]))
        }
    }
}

/// What a language model takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text {
    /// Reading the prompts, the caches included.
    pub(super) prefill: u64,
    /// The later steps, the caches included.
    pub(super) decode: u64,
    /// The caches at their largest.
    pub(super) caches: u64,
}

/// The language model.
pub(super) fn text(config: &Blip2Config, work: &Workload, products: Products) -> Text {
    let placeholders = config.num_placeholders();
    let seq = placeholders.saturating_add(work.prompt_tokens);
    let text = match &config.text_config {
        TextConfig::Opt(text) => opt(text, work, seq, products),
        TextConfig::T5(text) => t5(text, work, seq, products),
        TextConfig::Llama(text) => llama(text, work, seq, products),
        _ => Text::default(),
    };
    // Whoever asks keeps what the pictures gave.
    let features = match products.by_gpu() {
        true => floats(&[work.batch, placeholders, config.text_config.hidden_size()]),
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
