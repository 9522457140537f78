//! AdamW over parameters by name.

use std::collections::BTreeMap;

use blip2_kernels::AdamWStep;
use burn::{
    module::Module,
    optim::{AdamW as Rule, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer},
    tensor::Tensor,
};

use crate::{Gradients, Named, TrainError, Trained};

/// AdamW (Loshchilov and Hutter, 2019) with the groups that BLIP-2's recipes make: no weight decay of
/// biases and norms, and smaller rates for the image encoder's first layers.
///
/// This knows each parameter's state by its name, so that it outlives the process.
#[derive(Clone)]
pub struct AdamW {
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    decay_all: bool,
    layer_decay: f64,
    pub(crate) states: BTreeMap<String, AdamWState<1>>,
    pub(crate) steps: usize,
}

impl Default for AdamW {
    /// Betas of 0.9 and 0.999, an epsilon of 1e-8, a weight decay of 0.05 (as LAVIS pre-trains).
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.05,
            decay_all: false,
            layer_decay: 1.0,
            states: BTreeMap::new(),
            steps: 0,
        }
    }
}

impl AdamW {
    /// The decay rates of both moments.
    #[must_use]
    pub fn betas(mut self, betas: [f32; 2]) -> Self {
        self.betas = betas;
        self
    }

    /// What is added to the denominator.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// How fast weights decay.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f32) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Whether biases and norms decay too, as they do where one makes no groups.
    #[must_use]
    pub fn decay_all(mut self, decay_all: bool) -> Self {
        self.decay_all = decay_all;
        self
    }

    /// The factor on the rate from each layer of the image encoder to the one before it
    /// (`lr_layer_decay` of LAVIS, 0.95 for fine-tuning on COCO).
    #[must_use]
    pub fn layer_decay(mut self, layer_decay: f64) -> Self {
        self.layer_decay = layer_decay;
        self
    }

    /// How many steps were made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Moves every parameter that has a gradient.
    ///
    /// # Errors
    ///
    /// [`TrainError::NotFinite`] for gradients that are no numbers; then nothing has moved.
    pub fn step<M: Module>(
        &mut self,
        trained: &mut Trained<M>,
        gradients: Gradients,
        lr: f64,
    ) -> Result<(), TrainError> {
        gradients.check(self.steps)?;
        let depth = trained.vision_layers();
        let mut gradients = gradients.by_name;
        trained.update(|named, value| {
            let gradient = gradients.remove(&named.name)?;
            let decays = self.decay_all || named.decays();
            let step = AdamWStep {
                lr: lr * self.factor(named, depth),
                betas: self.betas,
                eps: self.eps,
                weight_decay: if decays { self.weight_decay } else { 0.0 },
                time: 0,
            };
            let state = self.states.remove(&named.name);
            let (moved, state) = moved(step, value, gradient, state);
            if let Some(state) = state {
                self.states.insert(named.name.clone(), state);
            }
            Some(moved)
        });
        self.steps += 1;
        Ok(())
    }

    /// The factor on a parameter's rate: of the image encoder's embeddings the smallest.
    fn factor(&self, named: &Named, depth: usize) -> f64 {
        let Some(rest) = named.name.strip_prefix("vision_model.") else {
            return 1.0;
        };
        let layer = match rest.strip_prefix("encoder.layers.") {
            Some(rest) => {
                let number = rest.split('.').next().and_then(|n| n.parse::<usize>().ok());
                number.map_or(depth, |n| n + 1)
            }
            None if rest.starts_with("embeddings.") => 0,
            None => return 1.0,
        };
        let below = (depth + 1).saturating_sub(layer);
        self.layer_decay
            .powi(i32::try_from(below).unwrap_or(i32::MAX))
    }
}

/// A parameter after a step: in one pass where there is a kernel for it, else by Burn's own rule.
fn moved(
    step: AdamWStep,
    value: Row,
    gradient: Row,
    state: Option<AdamWState<1>>,
) -> (Row, Option<AdamWState<1>>) {
    let (time, mut moments) = match state {
        Some(AdamWState { momentum }) => {
            let moments = [momentum.moment_1, momentum.moment_2];
            (momentum.time, Some(moments))
        }
        None => (0, None),
    };
    let state = |time, [first, second]: [Row; 2]| {
        AdamWState::new(AdaptiveMomentumState::new(time, first, second))
    };
    let step = AdamWStep {
        time: time + 1,
        ..step
    };
    if let Some(moved) = step.apply(&value, &gradient, &mut moments) {
        return (moved, moments.map(|moments| state(step.time, moments)));
    }
    let rule: Rule = AdamWConfig::new()
        .with_beta_1(step.betas[0])
        .with_beta_2(step.betas[1])
        .with_epsilon(step.eps)
        .with_weight_decay(step.weight_decay)
        .build();
    let before = moments.map(|moments| state(time, moments));
    rule.step(step.lr, value, gradient, before)
}

impl std::fmt::Debug for AdamW {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdamW")
            .field("betas", &self.betas)
            .field("eps", &self.eps)
            .field("weight_decay", &self.weight_decay)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// A row of numbers that a parameter's state is kept in.
pub(crate) type Row = Tensor<1>;
