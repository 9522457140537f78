//! Rotary position embeddings (Su et al., 2021), and the ways to stretch them to longer texts that
//! `transformers` knows (`modeling_rope_utils.py`).

use std::f32::consts::TAU;

use blip2_io::config::{RopeParameters, RopeType};
use burn::tensor::{Device, Tensor, TensorData};

use crate::causal::Positions;

/// The frequencies by which the pairs of a head's numbers are rotated: position `p` rotates pair `i`
/// by the angle `p · frequency[i]`, so that the product of a query and a key depends on the distance
/// of their positions alone.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    head_dim: usize,
    /// For a text within the original context.
    frequencies: Vec<f32>,
    beyond: Beyond,
    /// What cosines and sines are multiplied by.
    scale: f32,
}

/// What becomes of the frequencies where a text is longer than the original context.
#[derive(Debug, Clone)]
enum Beyond {
    /// They stay.
    Same,
    /// Other frequencies (`longrope`).
    Long { context: usize, long: Vec<f32> },
    /// A base that grows with the text (`dynamic`).
    Dynamic {
        context: usize,
        base: f64,
        factor: f64,
    },
}

/// The cosines and sines of the angles of positions, each `[batch, seq, head_dim]`.
#[derive(Debug, Clone)]
pub(super) struct CosSin {
    pub(super) cos: Tensor<3>,
    pub(super) sin: Tensor<3>,
}

impl Rotary {
    /// The frequencies of heads of width `head_dim`, for texts of up to `context` positions. The
    /// parameters were checked.
    pub(super) fn new(rope: &RopeParameters, head_dim: usize, context: usize) -> Self {
        let base = rope.rope_theta.unwrap_or(1e4);
        let plain = frequencies(base, head_dim);
        let original = rope.original_max_position_embeddings.unwrap_or(context);
        let stretch = context as f64 / original as f64;
        let factor = rope.factor.unwrap_or(1.0);
        let divided = |by: f64| plain.iter().map(|f| f / by as f32).collect::<Vec<_>>();
        let (mut beyond, mut scale) = (Beyond::Same, 1.0);
        let frequencies = match rope.rope_type {
            RopeType::Linear => divided(factor),
            RopeType::Dynamic => {
                beyond = Beyond::Dynamic {
                    context,
                    base,
                    factor,
                };
                plain
            }
            RopeType::Yarn => {
                let factor = rope.factor.unwrap_or(stretch);
                scale = yarn_scale(rope, factor);
                yarn(rope, &plain, base, factor, original as f64)
            }
            RopeType::LongRope => {
                let factor = rope.factor.unwrap_or(stretch);
                let usual = || long_scale(factor, original as f64);
                scale = rope.attention_factor.unwrap_or_else(usual) as f32;
                let factors = |list: &Option<Vec<f64>>| {
                    let list = list.as_deref().unwrap_or_default();
                    let pairs = plain.iter().zip(list);
                    pairs.map(|(f, &by)| f / by as f32).collect::<Vec<_>>()
                };
                beyond = Beyond::Long {
                    context: original,
                    long: factors(&rope.long_factor),
                };
                factors(&rope.short_factor)
            }
            RopeType::Llama3 => llama3(rope, &plain, factor as f32, original as f32),
            RopeType::Proportional => {
                let share = rope.partial_rotary_factor.unwrap_or(1.0);
                let rotated = (share * head_dim as f64 / 2.0) as usize;
                let mut all = divided(factor);
                // A pair of frequency 0 is never rotated: it compares contents alone.
                all.iter_mut().skip(rotated).for_each(|f| *f = 0.0);
                all
            }
            _ => plain,
        };
        Self {
            head_dim,
            frequencies,
            beyond,
            scale,
        }
    }

    /// The cosines and sines of a batch. Where frequencies depend on the length of a text, each row's
    /// follow its own length, so that the other rows of a batch change nothing.
    pub(super) fn cos_sin(&self, positions: &Positions, device: &Device) -> CosSin {
        let seq = positions.first().map_or(0, Vec::len);
        let size = positions.len() * seq * self.head_dim;
        let (mut cos, mut sin) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for row in positions {
            let length = row.iter().flatten().max().map_or(0, |last| last + 1);
            let frequencies = self.frequencies_of(length);
            for position in row {
                let position = position.unwrap_or(0) as f32;
                let angles = || frequencies.iter().map(|f| position * f);
                // A pair is number `i` and number `i + head_dim / 2`, the layout of the published
                // weights: both halves of a head have the same angles.
                for angle in angles().chain(angles()) {
                    cos.push(angle.cos() * self.scale);
                    sin.push(angle.sin() * self.scale);
                }
            }
        }
        let shape = [positions.len(), seq, self.head_dim];
        CosSin {
            cos: Tensor::from_data(TensorData::new(cos, shape), device),
            sin: Tensor::from_data(TensorData::new(sin, shape), device),
        }
    }

    /// The frequencies for a text of `length` tokens. In a decode, keys that are in the cache stay
    /// as they were rotated when the text was shorter; the reference has them so, too.
    fn frequencies_of(&self, length: usize) -> std::borrow::Cow<'_, [f32]> {
        match &self.beyond {
            Beyond::Long { context, long } if length > *context => long.into(),
            Beyond::Dynamic {
                context,
                base,
                factor,
            } if length > *context => {
                let dim = self.head_dim as f64;
                let growth = factor * length as f64 / *context as f64 - (factor - 1.0);
                frequencies(base * growth.powf(dim / (dim - 2.0)), self.head_dim).into()
            }
            _ => self.frequencies.as_slice().into(),
        }
    }
}

impl CosSin {
    /// Rotates queries or keys, `[batch, heads, seq, head_dim]`: the pair `(a, b)` becomes
    /// `(a cos − b sin, b cos + a sin)`.
    pub(super) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, dim] = x.dims();
        let (first, second) = (
            x.clone().narrow(3, 0, dim / 2),
            x.clone().narrow(3, dim / 2, dim / 2),
        );
        let rotated_half = Tensor::cat(vec![second.neg(), first], 3);
        let each_head = |angles: &Tensor<3>| angles.clone().unsqueeze_dim::<4>(1);
        x * each_head(&self.cos) + rotated_half * each_head(&self.sin)
    }
}

/// `base ** (−2i / dim)`.
fn frequencies(base: f64, dim: usize) -> Vec<f32> {
    let exponent = |i: usize| (2 * i) as f32 / dim as f32;
    (0..dim / 2)
        .map(|i| 1.0 / (base as f32).powf(exponent(i)))
        .collect()
}

/// LLaMA 3.1's scaling: pairs that rotate many times within the original context tell near positions
/// apart and stay; those whose wavelength is longer than the context never closed a circle in
/// training, so that longer texts would give them angles that the model never saw, and are divided;
/// between the two is a ramp.
fn llama3(rope: &RopeParameters, plain: &[f32], factor: f32, context: f32) -> Vec<f32> {
    let low = rope.low_freq_factor.unwrap_or(1.0) as f32;
    let high = rope.high_freq_factor.unwrap_or(4.0) as f32;
    let scaled = |&frequency: &f32| {
        let wavelength = TAU / frequency;
        if wavelength < context / high {
            frequency
        } else if wavelength > context / low {
            frequency / factor
        } else {
            let smooth = (context / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        }
    };
    plain.iter().map(scaled).collect()
}

/// YaRN (Peng et al., 2023, section 3.2): as [`llama3`] with a ramp that is straight in the number of
/// the pair, between the pairs that make `beta_fast` and `beta_slow` rotations in the original
/// context.
fn yarn(rope: &RopeParameters, plain: &[f32], base: f64, factor: f64, context: f64) -> Vec<f32> {
    let dim = 2.0 * plain.len() as f64;
    // The number of the pair that makes `rotations` within the original context.
    let pair = |rotations: f64| {
        dim * (context / (rotations * std::f64::consts::TAU)).ln() / (2.0 * base.ln())
    };
    let (mut low, mut high) = (
        pair(rope.beta_fast.unwrap_or(32.0)),
        pair(rope.beta_slow.unwrap_or(1.0)),
    );
    if rope.truncate.unwrap_or(true) {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        high += 0.001;
    }
    let ramp = |i: usize| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
    let mixed = |(i, frequency): (usize, &f32)| {
        let interpolated = frequency / factor as f32;
        interpolated * ramp(i) + frequency * (1.0 - ramp(i))
    };
    plain.iter().enumerate().map(mixed).collect()
}

/// YaRN's temperature (section 3.4): longer texts spread attention over more keys, and larger scores
/// undo that. It multiplies cosines and sines, which is the same for queries and keys alike.
fn yarn_scale(rope: &RopeParameters, factor: f64) -> f32 {
    let by = |mscale: f64| {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * mscale * factor.ln() + 1.0
        }
    };
    let usual = || match (rope.mscale, rope.mscale_all_dim) {
        (Some(own), Some(all)) if own != 0.0 && all != 0.0 => by(own) / by(all),
        _ => by(1.0),
    };
    rope.attention_factor.unwrap_or_else(usual) as f32
}

/// LongRoPE's temperature, for the reason of [`yarn_scale`].
fn long_scale(factor: f64, context: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / context.ln()).sqrt()
    }
}
