//! Random weights: a model without a checkpoint, for training from scratch and for measurements.

use burn::tensor::{Bytes, DType, TensorData, f16};
use rayon::prelude::*;

use super::{request::TensorRequest, role::Role, shape::matrix_shape, source::WeightSource};
use crate::{
    matrix::{device::DeviceMatrix, packed::PackedMatrix},
    seam,
};

/// A source that answers every request with seeded random numbers.
///
/// Matrices and tables are uniform with standard deviation `std`, biases are zero, norm scales are
/// one. A tensor depends on the seed, its name and its shape alone, so two models that share a
/// part share its weights, whatever the order in which they ask; and in a narrower format it holds
/// the same numbers, rounded.
///
/// Numbers are made in the format that they are held in, by all threads of the current pool: a
/// model of billions of parameters takes seconds, and no memory beside itself.
///
/// ```
/// use blip2_kernels::{Bias, RandomWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let source = RandomWeights::new(42, 0.02);
/// let linear = Weights::new(&source, &device).linear("fc", 8, 4, Bias::With);
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

impl RandomWeights {
    fn uniform(&self, name: &str) -> Uniform {
        Uniform {
            key: self.seed ^ fnv1a(name),
            // A uniform distribution on [-a, a] has standard deviation a / sqrt(3).
            step: self.std * 3f32.sqrt() / LEVELS,
        }
    }
}

impl WeightSource for RandomWeights {
    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        let [outputs, inputs] = matrix_shape(request.shape)?;
        let format = match seam::packs_on_device(request.device) {
            true => request.precision.on_device(DType::F32, request.role),
            false => request.precision.packed(DType::F32, request.role),
        };
        if !seam::packs(request.device) && !DeviceMatrix::reads(format) && format.is_float() {
            return None;
        }
        let uniform = self.uniform(request.name);
        let read = |output: usize, row: &mut [f32]| uniform.read(output * inputs, row);
        Some(PackedMatrix::pack(format, outputs, inputs, read))
    }

    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let shape = request.shape.to_vec();
        let len = shape.iter().product();
        let uniform = self.uniform(request.name);
        let held = request.storage(DType::F32);
        Some(match (request.role, held) {
            (Role::Bias, _) => TensorData::new(vec![0f32; len], shape),
            (Role::Scale, _) => TensorData::new(vec![1f32; len], shape),
            // As bits, because only vectors of primitive numbers begin as untouched memory.
            (_, DType::BF16) => {
                let bits = uniform.fill(len, bf16_bits);
                TensorData::from_bytes(Bytes::from_elems(bits), shape, held)
            }
            (_, DType::F16) => {
                let bits = uniform.fill(len, |value| f16::from_f32(value).to_bits());
                TensorData::from_bytes(Bytes::from_elems(bits), shape, held)
            }
            _ => TensorData::new(uniform.fill(len, |value| value), shape).convert_dtype(held),
        })
    }

    fn contains(&self, name: &str) -> bool {
        !self
            .absent
            .iter()
            .any(|suffix| name.ends_with(suffix.as_str()))
    }
}

/// A drawn number is an odd multiple of the step, up to this.
const LEVELS: f32 = 65536.0;
/// How many numbers one random word gives.
const DRAWS: usize = 4;
/// How many words a thread makes at a time.
const CHUNK: usize = 1 << 14;

/// Numbers that depend on a key and their place alone, so that any number of threads makes them.
struct Uniform {
    key: u64,
    step: f32,
}

impl Uniform {
    /// The first `len` numbers, each converted to the format in which it is held.
    fn fill<T: Default + Clone + Send>(
        &self,
        len: usize,
        held: impl Fn(f32) -> T + Sync,
    ) -> Vec<T> {
        let mut values = vec![T::default(); len];
        values
            .par_chunks_mut(CHUNK * DRAWS)
            .enumerate()
            .for_each(|(chunk, values)| {
                let numbers = |place: usize| self.numbers(chunk * CHUNK + place).map(&held);
                let (words, rest) = values.as_chunks_mut::<DRAWS>();
                let whole = words.len();
                for (place, word) in words.iter_mut().enumerate() {
                    *word = numbers(place);
                }
                for (value, number) in rest.iter_mut().zip(numbers(whole)) {
                    *value = number;
                }
            });
        values
    }

    /// Fills `row` with the numbers from `start` on.
    fn read(&self, start: usize, row: &mut [f32]) {
        let mut place = start / DRAWS;
        let skip = start % DRAWS;
        let numbers = std::iter::from_fn(|| {
            place += 1;
            Some(self.numbers(place - 1))
        });
        for (value, number) in row.iter_mut().zip(numbers.flatten().skip(skip)) {
            *value = number;
        }
    }

    /// The numbers that the word at a place gives.
    fn numbers(&self, place: usize) -> [f32; DRAWS] {
        let word = self.word(place);
        [0, 16, 32, 48].map(|bits| {
            let level = f32::from((word >> bits) as u16);
            (2.0 * level + 1.0 - LEVELS) * self.step
        })
    }

    /// The splitmix64 generator (Steele, Lea and Flood, 2014) at a place of its sequence: good
    /// enough for initial weights of any size.
    fn word(&self, place: usize) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.key.wrapping_add(GOLDEN.wrapping_mul(place as u64 + 1));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The bits of the nearest `bf16` to a finite number, ties to even, without a branch.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
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
            packs: false,
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
    fn narrow_formats_hold_the_same_numbers_rounded() {
        let device = Device::flex();
        let source = RandomWeights::new(3, 0.02);
        // More than one thread's portion, and neither whole portions nor whole words.
        let shape = &[3, 70_001];
        let draw = |precision| {
            let request = TensorRequest {
                shape,
                precision,
                ..request("w", Role::Matrix, &device)
            };
            source.tensor(&request).unwrap()
        };
        let wide = draw(Precision::F32);
        for (precision, dtype) in [(Precision::Bf16, DType::BF16), (Precision::F16, DType::F16)] {
            let narrow = draw(precision);
            assert_eq!(narrow.dtype(), dtype);
            narrow.assert_eq(&wide.clone().convert_dtype(dtype), true);
        }
        let values = wide.try_to_vec::<f32>().unwrap();
        let bound = 0.02 * 3f32.sqrt();
        assert!(values.iter().all(|v| *v != 0.0 && v.abs() <= bound));
        let distinct: std::collections::BTreeSet<u32> =
            values.iter().map(|v| v.to_bits()).collect();
        assert!(distinct.len() > 60_000, "{}", distinct.len());
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
