//! AdamW over parameters by name.

use std::collections::BTreeMap;

use blip2_kernels::AdamWStep;
use burn::{
    module::Module,
    optim::{AdamW as Rule, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer},
};

use crate::{
    error::TrainError,
    gradients::{Gradients, Row},
    names::{self, NamePattern, Named, any_matches, within},
    trained::{Trained, vision_layer},
};

/// AdamW (Loshchilov and Hutter, 2019) with the groups that BLIP-2's recipes make: no weight decay of
/// biases and norms, and smaller learning rates for the image encoder's first layers.
///
/// Each parameter's moments are known by its name, so that they outlive the process.
///
/// ```
/// use blip2_train::AdamW;
///
/// // As BLIP-2 is fine-tuned on captions.
/// let optimizer = AdamW::default()
///     .with_betas([0.9, 0.999])
///     .with_weight_decay(0.05)
///     .with_layer_decay(0.95)
///     .with_no_decay(["query_tokens"])
///     .with_rate("language_projection", 10.0);
/// assert_eq!(optimizer.steps(), 0);
/// ```
#[derive(Clone)]
pub struct AdamW {
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    decay: Decay,
    no_decay: Vec<NamePattern>,
    rates: Vec<(NamePattern, f64)>,
    layer_decay: f64,
    pub(crate) states: BTreeMap<String, AdamWState<1>>,
    pub(crate) steps: usize,
}

/// Which parameters have weight decay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decay {
    /// Matrices and tables, and not biases and norms, as in all recipes of BLIP-2.
    #[default]
    Matrices,
    /// All, as where PyTorch's AdamW is given no groups.
    All,
}

impl Default for AdamW {
    /// Betas of 0.9 and 0.999, an epsilon of 1e-8, a weight decay of 0.05 (as LAVIS pre-trains).
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.05,
            decay: Decay::default(),
            no_decay: Vec::new(),
            rates: Vec::new(),
            layer_decay: 1.0,
            states: BTreeMap::new(),
            steps: 0,
        }
    }
}

impl AdamW {
    /// The decay rates of both moments.
    #[must_use]
    pub fn with_betas(mut self, betas: [f32; 2]) -> Self {
        self.betas = betas;
        self
    }

    /// What is added to the denominator.
    #[must_use]
    pub fn with_eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// The weight decay: what of a weight goes at each step, before the learning rate.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f32) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Which parameters have weight decay.
    #[must_use]
    pub fn with_decay(mut self, decay: Decay) -> Self {
        self.decay = decay;
        self
    }

    /// Parameters that have no weight decay, whatever [`Decay`] says.
    #[must_use]
    pub fn with_no_decay<P: Into<NamePattern>>(
        mut self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Self {
        self.no_decay.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// A factor on the learning rate of some parameters: a parameter group of PyTorch. Where several
    /// patterns match, the longest counts.
    #[must_use]
    pub fn with_rate(mut self, pattern: impl Into<NamePattern>, factor: f64) -> Self {
        self.rates.push((pattern.into(), factor));
        self
    }

    /// The factor on the learning rate from each layer of the image encoder to the one before it
    /// (`lr_layer_decay` of LAVIS, 0.95 for fine-tuning on COCO).
    #[must_use]
    pub fn with_layer_decay(mut self, layer_decay: f64) -> Self {
        self.layer_decay = layer_decay;
        self
    }

    /// How many steps were made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Refuses numbers that make no sense, and patterns that match nothing that is trained.
    pub(crate) fn check<M: Module>(&self, trained: &Trained<M>) -> Result<(), TrainError> {
        self.validate()?;
        let rates = self.rates.iter().map(|(pattern, _)| pattern);
        let patterns: Vec<NamePattern> = self.no_decay.iter().chain(rates).cloned().collect();
        names::check(&patterns, "trained parameter", trained.trained_names())
    }

    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] naming the number.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refused =
            |argument, value: f64, reason: &str| Err(TrainError::argument(argument, value, reason));
        for beta in self.betas {
            if !(0.0..1.0).contains(&beta) {
                return refused("betas", beta.into(), "must be at least 0 and below 1");
            }
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return refused("eps", self.eps.into(), "must be above 0, and finite");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            let reason = "must be at least 0, and finite";
            return refused("weight_decay", self.weight_decay.into(), reason);
        }
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            let reason = "must be above 0 and at most 1";
            return refused("layer_decay", self.layer_decay, reason);
        }
        let wrong = |factor: &f64| !(*factor >= 0.0 && factor.is_finite());
        match self.rates.iter().find(|(_, factor)| wrong(factor)) {
            Some((pattern, factor)) => {
                let reason = format!("of `{pattern}` must be at least 0, and finite");
                refused("rates", *factor, &reason)
            }
            None => Ok(()),
        }
    }

    /// Moves every parameter that has a gradient.
    ///
    /// # Errors
    ///
    /// [`TrainError::NotFinite`] for gradients that are no numbers, and [`TrainError::UnknownName`] at
    /// the first step for a pattern that matches nothing; then nothing has moved.
    pub fn step<M: Module>(
        &mut self,
        trained: &mut Trained<M>,
        gradients: Gradients,
        lr: f64,
    ) -> Result<(), TrainError> {
        if self.states.is_empty() {
            self.check(trained)?;
        }
        gradients.check(self.steps)?;
        let depth = trained.vision_layers();
        let mut gradients = gradients.by_name;
        trained.update(|named, value| {
            let gradient = gradients.remove(&named.name)?;
            let step = AdamWStep {
                lr: lr * self.factor(named, depth),
                betas: self.betas,
                eps: self.eps,
                weight_decay: self.decay_of(named),
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

    fn decay_of(&self, named: &Named) -> f32 {
        let decays = match self.decay {
            Decay::Matrices => named.decays(),
            Decay::All => true,
        };
        match decays && !any_matches(&self.no_decay, &named.name) {
            true => self.weight_decay,
            false => 0.0,
        }
    }

    /// The factor on a parameter's learning rate.
    fn factor(&self, named: &Named, depth: usize) -> f64 {
        let groups = self.rates.iter();
        let groups = groups.filter(|(pattern, _)| pattern.matches(&named.name));
        let group = groups.max_by_key(|(pattern, _)| pattern.as_str().len());
        let group = group.map_or(1.0, |(_, factor)| *factor);
        group * self.factor_of_layer(&named.name, depth)
    }

    /// The factor of a layer of the image encoder: of its embeddings the smallest.
    fn factor_of_layer(&self, name: &str, depth: usize) -> f64 {
        let layer = match vision_layer(name) {
            Some(layer) => layer + 1,
            None if within("vision_model.embeddings", name).is_some() => 0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use blip2_kernels::Role;

    fn named(name: &str, role: Role) -> Named {
        let shape = vec![2, 2];
        let name = name.to_string();
        Named { name, shape, role }
    }

    #[test]
    fn layers_and_groups_have_rates_of_their_own() {
        let optimizer = AdamW::default()
            .with_layer_decay(0.5)
            .with_rate("mlp.fc1.weight", 3.0)
            .with_rate("vision_model", 10.0);
        let factor = |name: &str| optimizer.factor(&named(name, Role::Matrix), 2);
        for (name, expected) in [
            ("vision_model.embeddings.class_embedding", 10.0 * 0.125),
            ("vision_model.encoder.layers.0.mlp.fc2.weight", 10.0 * 0.25),
            ("vision_model.encoder.layers.1.mlp.fc1.weight", 3.0 * 0.5),
            ("vision_model.post_layernorm.weight", 10.0),
            ("qformer.layernorm.weight", 1.0),
        ] {
            assert_eq!(factor(name), expected, "{name}");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let usual = AdamW::default;
        assert!(usual().validate().is_ok());
        for optimizer in [
            usual().with_betas([0.9, 1.5]),
            usual().with_betas([f32::NAN, 0.9]),
            usual().with_eps(0.0),
            usual().with_weight_decay(-1.0),
            usual().with_layer_decay(f64::NAN),
            usual().with_layer_decay(-1.0),
            usual().with_rate("x", -1.0),
        ] {
            assert!(optimizer.validate().is_err());
        }
    }

    #[test]
    fn weight_decay_is_for_matrices_and_what_is_not_excluded() {
        let decay = |optimizer: &AdamW, name, role| optimizer.decay_of(&named(name, role)) > 0.0;
        let usual = AdamW::default().with_no_decay(["query_tokens"]);
        assert!(decay(&usual, "qformer.x.weight", Role::Matrix));
        assert!(!decay(&usual, "qformer.x.bias", Role::Bias));
        assert!(!decay(&usual, "query_tokens", Role::Dense));
        let all = usual.with_decay(Decay::All);
        assert!(decay(&all, "qformer.x.bias", Role::Bias));
        assert!(!decay(&all, "query_tokens", Role::Dense));
    }
}
