//! Random weights: a model without a checkpoint, for training from scratch and for measurements.

use burn::tensor::{DType, TensorData};

use crate::{Role, TensorRequest, WeightSource};

/// A source that answers every request with seeded random numbers.
///
/// Matrices and tables are uniform with standard deviation `std`, biases are zero, norm scales are
/// one. A tensor depends on the seed, its name and its shape alone, so two models that share a
/// part share its weights, whatever the order in which they ask.
///
/// ```
/// use blip2_kernels::{RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let source = RandomWeights::new(42, 0.02);
/// let linear = Weights::new(&source, &device).linear("fc", 8, 4, true);
/// assert_eq!(linear.forward(Tensor::<2>::ones([3, 8], &device)).dims(), [3, 4]);
/// ```
#[derive(Debug, Clone)]
pub struct RandomWeights {
    seed: u64,
    std: f32,
    absent: Vec<String>,
}

impl RandomWeights {
    /// Random weights of standard deviation `std`.
    pub fn new(seed: u64, std: f32) -> Self {
        Self {
            seed,
            std,
            absent: Vec::new(),
        }
    }

    /// Answers [`contains`](WeightSource::contains) with no for names that end in `suffix`, so
    /// that a model leaves an optional part (such as a separate output head) out.
    #[must_use]
    pub fn without(mut self, suffix: impl Into<String>) -> Self {
        self.absent.push(suffix.into());
        self
    }
}

impl WeightSource for RandomWeights {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let len = request.shape.iter().product();
        let values = match request.role {
            Role::Bias => vec![0.0; len],
            Role::Scale => vec![1.0; len],
            _ => {
                // A uniform distribution on [-a, a] has standard deviation a / sqrt(3).
                let bound = self.std * 3f32.sqrt();
                let mut state = SplitMix64(self.seed ^ fnv1a(request.name));
                (0..len).map(|_| state.uniform() * bound).collect()
            }
        };
        let data = TensorData::new(values, request.shape.to_vec());
        Some(if request.role.follows_precision() {
            data.convert_dtype(request.precision.storage(DType::F32, request.device))
        } else {
            data
        })
    }

    fn contains(&self, name: &str) -> bool {
        !self
            .absent
            .iter()
            .any(|suffix| name.ends_with(suffix.as_str()))
    }
}

/// The splitmix64 generator (Steele, Lea and Flood, 2014): one add and three shifts a number,
/// and good enough for initial weights of any size.
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number in [-1, 1).
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// The 64-bit FNV-1a hash, which unlike the standard hasher is the same in every release.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precision, Weights};
    use burn::tensor::Device;

    fn request<'a>(name: &'a str, role: Role, device: &'a Device) -> TensorRequest<'a> {
        TensorRequest {
            name,
            shape: &[64, 64],
            role,
            precision: Precision::F32,
            device,
        }
    }

    #[test]
    fn numbers_depend_on_seed_and_name_alone() {
        let device = Device::flex();
        let draw = |seed, name| {
            let source = RandomWeights::new(seed, 0.02);
            source
                .tensor(&request(name, Role::Matrix, &device))
                .unwrap()
                .try_to_vec::<f32>()
                .unwrap()
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn matrices_have_the_asked_deviation() {
        let device = Device::flex();
        let source = RandomWeights::new(7, 0.02);
        let values = source
            .tensor(&request("w", Role::Matrix, &device))
            .unwrap()
            .try_to_vec::<f32>()
            .unwrap();
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((std - 0.02).abs() < 1e-3, "{std}");
    }

    #[test]
    fn optional_parts_can_be_left_out() {
        let device = Device::flex();
        let source = RandomWeights::new(0, 0.02).without("lm_head.weight");
        let weights = Weights::new(&source, &device).at("language_model");
        assert!(!weights.contains("lm_head.weight"));
        assert!(weights.contains("shared.weight"));
    }
}
