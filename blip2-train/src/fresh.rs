//! Weights to train from scratch.

use std::collections::BTreeMap;

use blip2_io::config::{Blip2Config, TextConfig};
use blip2_kernels::{PackedMatrix, RandomWeights, Role, TensorRequest, WeightSource};
use burn::tensor::{DType, TensorData};

use crate::names::within;

/// What the first stage has beside a model of retrieval: the contrast's temperature, and the head that
/// writes.
pub(crate) const HEAD: [&str; 2] = ["temp", "cls.predictions"];

/// Whether a parameter is of that head.
pub(crate) fn is_head(name: &str) -> bool {
    HEAD.iter()
        .any(|part| name == *part || within(part, name).is_some())
}

/// The weights of a model that nobody trained yet: seeded random numbers of the spread that
/// `transformers` begins with, and what was trained before where it is given.
///
/// ```
/// use blip2_io::config::Blip2Config;
/// use blip2_train::FreshWeights;
///
/// let weights = FreshWeights::new(&Blip2Config::default(), 0);
/// # let _ = weights;
/// ```
#[derive(Debug, Clone)]
pub struct FreshWeights {
    seed: u64,
    std: f32,
    tied: bool,
    t5: Option<[usize; 4]>,
    known: BTreeMap<String, TensorData>,
}

/// What the contrast's temperature begins at in LAVIS.
const TEMPERATURE: f32 = 0.07;

impl FreshWeights {
    /// Random weights for a model of this configuration.
    pub fn new(config: &Blip2Config, seed: u64) -> Self {
        let (tied, t5) = match &config.text_config {
            TextConfig::T5(t5) => (
                t5.scale_decoder_outputs,
                Some([t5.d_model, t5.d_kv, t5.num_heads, t5.d_ff]),
            ),
            TextConfig::Opt(opt) => (opt.tie_word_embeddings, None),
            TextConfig::Llama(llama) => (llama.tie_word_embeddings, None),
            TextConfig::Granite(granite) => (granite.tie_word_embeddings, None),
            _ => (false, None),
        };
        Self {
            seed,
            std: config.initializer_range as f32,
            tied,
            t5,
            known: BTreeMap::new(),
        }
    }

    /// Takes these values, as [`Trained::values`](crate::Trained::values) gives them, for those of
    /// the same names: a second stage begins where the first one ended.
    #[must_use]
    pub fn with_values(mut self, values: BTreeMap<String, TensorData>) -> Self {
        self.known.extend(values);
        self
    }

    /// The standard deviation of a tensor (`_init_weights` of `transformers`).
    fn spread(&self, name: &str) -> f32 {
        let Some([model, head, heads, inner]) = self.t5 else {
            return self.std;
        };
        let Some(rest) = name.strip_prefix("language_model.") else {
            return self.std;
        };
        let fan = |inputs: usize| (inputs as f32).powf(-0.5);
        match rest {
            _ if rest.starts_with("shared.") || rest.starts_with("lm_head.") => 1.0,
            _ if rest.ends_with(".q.weight") => fan(model * head),
            _ if rest.ends_with(".o.weight") => fan(heads * head),
            _ if rest.ends_with(".wo.weight") => fan(inner),
            _ => fan(model),
        }
    }

    fn random(&self, name: &str) -> RandomWeights {
        RandomWeights::new(self.seed, self.spread(name))
    }
}

impl WeightSource for FreshWeights {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        if let Some(known) = self.known.get(request.name)
            && **known.shape() == *request.shape
        {
            return Some(known.clone().convert_dtype(DType::F32));
        }
        if request.name == "temp" && request.role == Role::Scale {
            return Some(TensorData::new(vec![TEMPERATURE], request.shape.to_vec()));
        }
        self.random(request.name).tensor(request)
    }

    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        match self.known.contains_key(request.name) {
            true => None,
            false => self.random(request.name).packed(request),
        }
    }

    fn contains(&self, name: &str) -> bool {
        !(self.tied && name.ends_with("lm_head.weight"))
    }
}
