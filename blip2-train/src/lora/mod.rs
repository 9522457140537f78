//! Low-rank adapters, as PEFT knows them.

mod chosen;
mod config;
pub(crate) mod file;
mod modules;
mod replaced;
mod written;

use std::collections::BTreeMap;

use blip2_kernels::{LowRankData, Magnitude};
use burn::tensor::TensorData;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::error::TrainError;

pub(crate) use chosen::Chosen;
pub use config::LoraConfig;
pub(crate) use modules::whole_modules;
pub(crate) use replaced::Replaced;

/// Adapters of a model: new ones, or saved ones.
///
/// ```
/// use blip2_train::{Lora, LoraConfig};
///
/// let lora = Lora::fresh(LoraConfig::new(16, ["q_proj", "v_proj"]), 0)?;
/// assert_eq!(lora.config().r, 16);
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lora {
    chosen: Chosen,
    start: Start,
    /// The saved adapter that they are of, which may hold modules that were trained whole.
    saved: Option<blip2_io::Adapter>,
}

/// The two matrices of a layer's adapter, whose product is added to the layer's own.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// `[r, in]`
    pub a: TensorData,
    /// `[out, r]`
    pub b: TensorData,
    /// The lengths of the rows, `[out]`, of DoRA.
    pub magnitude: Option<TensorData>,
}

#[derive(Debug, Clone)]
enum Start {
    Fresh {
        seed: u64,
    },
    /// By the layer's name.
    Saved(BTreeMap<String, Adapter>),
}

impl Lora {
    /// New adapters, which add nothing yet: `A` is uniform as PEFT has it, and `B` is zero. The
    /// same seed makes the same ones, in whatever order the model is built.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] for a configuration that makes no sense.
    pub fn fresh(config: LoraConfig, seed: u64) -> Result<Self, TrainError> {
        config.validate()?;
        let start = Start::Fresh { seed };
        Ok(Self {
            chosen: Chosen::of(config)?,
            start,
            saved: None,
        })
    }

    /// These adapters, by the names of their layers.
    ///
    /// # Errors
    ///
    /// As [`fresh`](Self::fresh).
    pub fn of(
        config: LoraConfig,
        adapters: impl IntoIterator<Item = (String, Adapter)>,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let start = Start::Saved(adapters.into_iter().collect());
        Ok(Self {
            chosen: Chosen::of(config)?,
            start,
            saved: None,
        })
    }

    /// How they adapt.
    pub fn config(&self) -> &LoraConfig {
        &self.chosen.config
    }

    /// The same, with its patterns compiled.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// Whether the adapters are new ones, for the layers that their configuration names.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.start, Start::Fresh { .. })
    }

    /// The saved adapter that they are of.
    pub(crate) fn saved(&self) -> Option<&blip2_io::Adapter> {
        self.saved.as_ref()
    }

    /// The layers of saved adapters, for which the model must have a place.
    pub fn saved_layers(&self) -> impl Iterator<Item = &str> {
        let saved = match &self.start {
            Start::Saved(adapters) => Some(adapters),
            Start::Fresh { .. } => None,
        };
        saved
            .into_iter()
            .flat_map(|adapters| adapters.keys().map(String::as_str))
    }

    /// The adapter of a layer, if it is adapted and of this shape.
    pub(crate) fn data(&self, layer: &str, [outputs, inputs]: [usize; 2]) -> Option<LowRankData> {
        let r = self.chosen.rank(layer);
        let config = self.config();
        let Adapter { a, b, magnitude } = match &self.start {
            Start::Fresh { seed } => {
                // A rank above both widths could add no more; whoever asked is told afterwards.
                if !self.chosen.targets(layer) || r > outputs.max(inputs) {
                    return None;
                }
                // `kaiming_uniform_(a=√5)` of PEFT's `reset_lora_parameters`.
                let bound = (inputs as f32).sqrt().recip();
                let a = uniform(r * inputs, bound, *seed, layer);
                let b = vec![0f32; outputs * r];
                Adapter {
                    a: TensorData::new(a, [r, inputs]),
                    b: TensorData::new(b, [outputs, r]),
                    magnitude: None,
                }
            }
            Start::Saved(adapters) => {
                let adapter = adapters.get(layer)?;
                let lengths = adapter.magnitude.as_ref();
                let fits = **adapter.a.shape() == [r, inputs]
                    && **adapter.b.shape() == [outputs, r]
                    && lengths.is_none_or(|own| **own.shape() == [outputs]);
                if !fits {
                    return None;
                }
                adapter.clone()
            }
        };
        let lengths = magnitude.map_or(Magnitude::OfMatrix, Magnitude::Given);
        Some(LowRankData {
            a,
            b,
            scale: self.chosen.scale(layer),
            dropout: config.lora_dropout,
            magnitude: config.use_dora.then_some(lengths),
        })
    }
}

/// Numbers between −bound and bound that follow from the seed and the layer's name.
fn uniform(count: usize, bound: f32, seed: u64, layer: &str) -> Vec<f32> {
    // FNV-1a: any hash will do that is the same everywhere.
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ seed;
    for byte in layer.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut random = ChaCha8Rng::seed_from_u64(hash);
    let mut next = || {
        // 24 bits are all that an `f32` holds of a number in [0, 1).
        let unit = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
        (2.0 * unit - 1.0) * bound
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_adapters_follow_from_seed_and_name() {
        let lora = |seed| Lora::fresh(LoraConfig::new(2, ["q"]), seed).unwrap();
        let a = |seed, layer: &str| lora(seed).data(layer, [3, 4]).unwrap().a;
        assert_eq!(a(0, "x.q"), a(0, "x.q"));
        assert_ne!(a(0, "x.q"), a(0, "y.q"));
        assert_ne!(a(0, "x.q"), a(1, "x.q"));
        assert!(lora(0).data("x.k", [3, 4]).is_none());
        let values = a(0, "x.q").try_into_vec::<f32>().unwrap();
        assert!(values.iter().all(|x| x.abs() <= 0.5) && values.iter().any(|x| *x != 0.0));
    }

    #[test]
    fn configurations_that_make_no_sense_are_refused() {
        for config in [
            LoraConfig::new(0, ["q"]),
            LoraConfig::new(1, [] as [&str; 0]),
            LoraConfig::new(1, ["q"]).with_dropout(1.0),
            LoraConfig::new(1_000_000_000, ["q"]),
            LoraConfig::new(1, ["q"]).with_alpha(f64::NAN),
        ] {
            assert!(Lora::fresh(config, 0).is_err());
        }
    }
}
