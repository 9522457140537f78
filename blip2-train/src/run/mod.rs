//! The loop: steps, evaluations, states to go on from.

mod average;
mod curve;
mod gather;
mod notes;
mod objective;
mod outcome;
mod recipe;
mod record;
mod resume;
mod steps;
mod watch;

use blip2_io::dataset::Loader;
use burn::module::Module;

pub use average::Average;
pub use objective::{At, Losses, Objective};
pub use outcome::Outcome;
pub use recipe::Recipe;
pub use record::{Metrics, Record, Score};
pub use watch::Watch;

use crate::{error::TrainError, optimizer::AdamW, trained::Trained};

/// Trains until the recipe is through, or the score no longer rises.
///
/// With a folder for states the training goes on from the last one in it, on the very curve that it
/// would have had: batches, augmentation, dropout and negatives follow from the recipe's seed and the
/// step.
///
/// # Errors
///
/// Those of the objective and the data; [`TrainError::Argument`] for a recipe that makes no sense;
/// [`TrainError::NotFinite`] for a loss or gradients that are no numbers; [`TrainError::State`] for a
/// folder with the states of another training.
pub fn train<M: Module>(
    trained: Trained<M>,
    optimizer: AdamW,
    loader: &Loader,
    recipe: &Recipe,
    objective: &mut impl Objective<M>,
    watch: &mut impl Watch,
) -> Result<Outcome<M>, TrainError> {
    recipe.validate()?;
    optimizer.check(&trained)?;
    objective.check(loader.dataset())?;
    let mut run = steps::Run::new(trained, optimizer, recipe);
    run.resume(watch)?;
    let stopped_early = run.steps(loader, objective, watch)?;
    run.finish(stopped_early)
}
