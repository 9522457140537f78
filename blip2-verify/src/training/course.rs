//! A training's course, recorded.

use std::collections::BTreeMap;

use blip2_train::{AdamW, Decay, Gradients, Trained, Writes, objective::Batch};
use burn::tensor::TensorData;

use super::recipe::Recipe;
use crate::error::VerifyError;

/// What a training came by.
pub(super) struct Course {
    /// Before each step, and after the last.
    pub(super) losses: Vec<f64>,
    /// The norm of all gradients, of each step.
    pub(super) norms: Vec<f64>,
    /// Of the first step, by the parameters' names.
    pub(super) gradients: BTreeMap<String, TensorData>,
    /// After the last step.
    pub(super) parameters: BTreeMap<String, TensorData>,
}

impl Course {
    /// As many steps as the golden has norms, all on one batch.
    pub(super) fn run<M: Writes>(
        mut trained: Trained<M>,
        batch: &Batch,
        recipe: &Recipe,
    ) -> Result<Self, VerifyError> {
        let mut optimizer = AdamW::default()
            .with_betas(recipe.betas.map(|beta| beta as f32))
            .with_eps(recipe.eps as f32)
            .with_weight_decay(recipe.weight_decay as f32)
            .with_decay(Decay::All);
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        let mut first = None;
        for _ in &recipe.norms {
            let loss = trained.model().loss(batch, recipe.smoothing)?;
            losses.push(f64::from(loss.clone().into_scalar::<f32>()));
            let gradients = trained.gradients(loss)?;
            norms.push(gradients.norm());
            first.get_or_insert_with(|| numbers(&gradients));
            optimizer.step(&mut trained, gradients, recipe.lr)?;
        }
        let last = trained.model().loss(batch, recipe.smoothing)?;
        losses.push(f64::from(last.into_scalar::<f32>()));
        Ok(Self {
            losses,
            norms,
            gradients: first.unwrap_or_default(),
            parameters: trained.values(),
        })
    }
}

fn numbers(gradients: &Gradients) -> BTreeMap<String, TensorData> {
    let named = gradients.names().filter_map(|name| {
        let gradient = gradients.get(name)?.clone().into_data();
        Some((name.to_string(), gradient))
    });
    named.collect()
}
