//! The image encoder and the Q-Former.

use blip2_io::config::{Blip2Config, Blip2QFormerConfig, Blip2VisionConfig};

use super::{
    doubles, floats,
    products::{Products, ROWS_AT_ONCE},
};

/// The image encoder.
pub(in crate::memory) fn vision(
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

/// Embedding `rows` patches, by a `kernel` of this number of inputs and outputs.
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
pub(in crate::memory) fn qformer(
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
