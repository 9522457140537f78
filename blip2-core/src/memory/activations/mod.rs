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

mod pictures;
mod products;
mod texts;

#[cfg(feature = "speech")]
pub(in crate::memory) use texts::of_text;
pub(in crate::memory) use {
    pictures::{qformer, vision},
    products::{By, Products},
    texts::{Text, text},
};

/// More than any machine has, and so little that sums of such numbers do not overflow.
const TOO_MUCH: u64 = 1 << 56;

/// The bytes of a tensor of `f32`.
pub(in crate::memory) fn floats(dims: &[usize]) -> u64 {
    dims.iter()
        .fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64))
        .min(TOO_MUCH)
}

/// The bytes of a tensor of `f64`, which layers that are summed exactly compute in.
fn doubles(dims: &[usize]) -> u64 {
    2 * floats(dims)
}

/// The bytes of the keys and values of this number of layers.
pub(in crate::memory) fn caches(keys: u64, layers: usize) -> u64 {
    keys.saturating_mul(2 * layers as u64).min(TOO_MUCH)
}

/// Making pixel values of pictures: those of all, twice while they are concatenated, and a copy of
/// the picture that is being resized.
pub(in crate::memory) fn preprocess(
    batch: usize,
    picture_pixels: usize,
    [height, width]: [usize; 2],
) -> u64 {
    2 * floats(&[batch, 3, height, width]) + floats(&[picture_pixels])
}
