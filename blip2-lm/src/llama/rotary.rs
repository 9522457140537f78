//! Rotary position embeddings (Su et al., 2021), and the ways to stretch them to longer texts that
//! `transformers` knows (`modeling_rope_utils.py`).

use std::f32::consts::TAU;

use blip2_io::config::{LlamaConfig, RopeParameters, RopeType};
use burn::tensor::{Device, Tensor, TensorData};

use crate::causal::Positions;

/// The frequencies by which positions turn the pairs of a head's numbers.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    head_dim: usize,
    /// For a text within the original context.
    frequencies: Vec<f32>,
    beyond: Beyond,
    /// What cosines and sines are multiplied by.
    scale: f32,
}

/// What becomes of a text beyond the original context.
#[derive(Debug, Clone)]
enum Beyond {
    /// Nothing.
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

/// The cosines and sines of positions, each `[batch, 1, seq, head_dim]`.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotary {
    /// The configuration was checked.
    pub(super) fn new(config: &LlamaConfig) -> Self {
        let rope = &config.rope_parameters;
        let base = rope.rope_theta.unwrap_or(1e4);
        let head_dim = config.head_dim;
        let plain = frequencies(base, head_dim);
        let context = config.max_position_embeddings;
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
                let turning = (share * head_dim as f64 / 2.0) as usize;
                let mut all = divided(factor);
                all.iter_mut().skip(turning).for_each(|f| *f = 0.0);
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

    /// Whether a text may be longer than the context that the configuration names.
    pub(super) fn is_unbounded(&self) -> bool {
        matches!(self.beyond, Beyond::Dynamic { .. })
    }

    /// The turns of a batch. Each row's frequencies follow its own length, so that its company
    /// changes nothing.
    pub(super) fn turns(&self, positions: &Positions, device: &Device) -> Turns {
        let seq = positions.first().map_or(0, Vec::len);
        let size = positions.len() * seq * self.head_dim;
        let (mut cos, mut sin) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for row in positions {
            let length = row.iter().flatten().max().map_or(0, |last| last + 1);
            let frequencies = self.frequencies_of(length);
            for position in row {
                let position = position.unwrap_or(0) as f32;
                let angles = || frequencies.iter().map(|f| position * f);
                // Both halves of a head turn by the same angles.
                for angle in angles().chain(angles()) {
                    cos.push(angle.cos() * self.scale);
                    sin.push(angle.sin() * self.scale);
                }
            }
        }
        let shape = [positions.len(), 1, seq, self.head_dim];
        Turns {
            cos: Tensor::from_data(TensorData::new(cos, shape), device),
            sin: Tensor::from_data(TensorData::new(sin, shape), device),
        }
    }

    /// The frequencies for a text of so many tokens.
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

impl Turns {
    /// Turns queries or keys, `[batch, heads, seq, head_dim]`.
    pub(super) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, dim] = x.dims();
        let (first, second) = (
            x.clone().narrow(3, 0, dim / 2),
            x.clone().narrow(3, dim / 2, dim / 2),
        );
        let half_turned = Tensor::cat(vec![second.neg(), first], 3);
        x * self.cos.clone() + half_turned * self.sin.clone()
    }
}

/// `base ** (−2i / dim)`.
fn frequencies(base: f64, dim: usize) -> Vec<f32> {
    let exponent = |i: usize| (2 * i) as f32 / dim as f32;
    (0..dim / 2)
        .map(|i| 1.0 / (base as f32).powf(exponent(i)))
        .collect()
}

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

fn yarn(rope: &RopeParameters, plain: &[f32], base: f64, factor: f64, context: f64) -> Vec<f32> {
    let dim = 2.0 * plain.len() as f64;
    // The pair that turns so many times within the original context.
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

fn long_scale(factor: f64, context: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / context.ln()).sqrt()
    }
}
