//! What the stages of a Granite Speech take beside the weights.

use blip2_io::config::{ConformerConfig, GraniteSpeechConfig};

use super::{
    Workload,
    activations::{Products, Text, floats, of_text},
    pieces::{self, Piece},
};

/// The samples of a frame of the encoder: two mel features, 10 ms apart, at 16,000 a second.
const SAMPLES: usize = 320;
/// The frequencies of a spectrum, of which mel features are made.
const SPECTRUM: usize = 257;

/// Making mel features of a sound: its samples, as they are and resampled, and two spectra for each frame.
pub(super) fn preprocess(work: &Workload) -> u64 {
    let frames = work.sound_frames;
    2 * floats(&[frames, SAMPLES]) + 2 * floats(&[frames, SPECTRUM])
}

/// The encoder, which takes one sound at a time: the largest of its modules, and the frames themselves.
pub(super) fn encoder(config: &ConformerConfig, work: &Workload, products: Products) -> u64 {
    let frames = work.sound_frames;
    let width = config.hidden_dim;
    let (inner, block) = (config.inner_size(), config.context_size.min(frames));
    let feed_forward = products.mlp(frames, width, config.feedforward_size());
    // Queries, keys and values, and what is attended to; of each block the biases of relative positions,
    // before and after they are laid out, and the scores.
    let blocks = frames.div_ceil(block.max(1));
    let maps = floats(&[blocks.min(BLOCKS), config.num_heads, block, block]);
    let attention = 2 * floats(&[frames, width])
        + 5 * floats(&[frames, inner])
        + 2 * maps
        + products.scores(blocks.min(BLOCKS), config.num_heads, block, block);
    // Both halves of the gate and their product, and the convolution before and after its activation.
    let convolution = 2 * floats(&[frames, width]) + 5 * floats(&[frames, config.conv_size()]);
    let layer = feed_forward.max(attention).max(convolution);
    floats(&[frames, config.input_dim]) + layer + products.widened_for(frames)
}

/// The blocks of frames that attend at a time.
const BLOCKS: usize = 16;

/// The projector, which takes one sound at a time, beside the vectors of those before it.
pub(super) fn projector(config: &GraniteSpeechConfig, work: &Workload, products: Products) -> u64 {
    let qformer = &config.projector_config;
    let windows = work.sound_frames.div_ceil(config.window_size.max(1));
    let (keys, queries) = (config.window_size, config.queries_per_window());
    let frames = floats(&[windows, keys, config.encoder_config.hidden_dim]);
    // The frames, as they come and in windows, and keys and values, as they come and to be multiplied.
    let keys_values = 4 * floats(&[windows, keys, qformer.hidden_size]);
    let states = 4 * floats(&[windows, queries, qformer.hidden_size])
        + 2 * floats(&[windows, queries, qformer.intermediate_size]);
    let scores = products.scores(windows, qformer.num_attention_heads, queries, keys);
    let vectors = [windows, queries, config.text_config.hidden_size()];
    let heard = floats(&[work.batch]).saturating_mul(floats(&vectors) / 4);
    2 * frames + keys_values + states + scores + heard
}

/// The language model, with the vectors of a sound among the tokens of its prompt.
pub(super) fn text(config: &GraniteSpeechConfig, work: &Workload, products: Products) -> Text {
    let places = config.num_placeholders(work.sound_frames);
    of_text(&config.text_config, places, work, products)
}

/// The largest tensor that is made of `work`.
pub(super) fn largest_piece(config: &GraniteSpeechConfig, work: &Workload) -> Option<Piece> {
    let encoder = &config.encoder_config;
    let inner = encoder
        .feedforward_size()
        .max(2 * encoder.conv_size())
        .max(2 * encoder.inner_size());
    let heard = (
        "the inside of the encoder of sound",
        floats(&[work.sound_frames, inner]),
    );
    let places = config.num_placeholders(work.sound_frames);
    pieces::of_text(&config.text_config, work, places, heard)
}
