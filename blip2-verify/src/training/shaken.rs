//! What rounding may do to a gradient, found by shaking what it begins with.
//!
//! A loss can be such that numbers which differ in their last bits give gradients that differ in their
//! third digit: of the reference's own captioner, gradients in 32 bits are 1.8e-3 of their scale from those
//! in 64. Goldens of 32 bits are then no closer to the truth than that, and two right implementations are no
//! closer to each other.

use blip2_train::objective::Batch;
use burn::tensor::{Tensor, TensorData};

/// How far each pixel is moved at most, in parts of itself: 16 units in the last place of 32 bits. So
/// moved, the gradients of the reference in 64 bits are as far from themselves as its gradients in 32
/// bits are (0.4 to 1.2 times, over BLIP-1's captioner and answerer).
const SHARE: f64 = 1.0 / (1 << 19) as f64;

/// The batch with its pixels moved by a little, by chance but each time alike.
pub(super) fn shaken(batch: &Batch) -> Batch {
    let pixels = batch.pixel_values.clone();
    let shape = pixels.dims();
    let moves: Vec<f32> = (0..shape.iter().product::<usize>() as u64)
        .map(|place| (1.0 + SHARE * chance(place)) as f32)
        .collect();
    let moves = Tensor::from_data(TensorData::new(moves, shape), &pixels.device());
    Batch {
        pixel_values: pixels * moves,
        ..batch.clone()
    }
}

/// A number from -1 to 1 (the finalizer of SplitMix64; Steele, Lea and Flood, 2014).
fn chance(place: u64) -> f64 {
    let mut bits = place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
