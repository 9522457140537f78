//! The loop: steps, evaluations, states to go on from.

mod average;
mod curve;
mod finish;
mod gather;
mod held_out;
mod notes;
mod objective;
mod outcome;
mod recipe;
mod record;
mod resume;
mod score;
mod steps;
mod watch;

use blip2_io::dataset::{BrokenRecord, Dataset, DatasetError, Loader};
use burn::module::Module;

pub use average::Average;
pub use objective::{At, Losses, Objective, Scores};
pub use outcome::{Ended, Outcome, Unfinished};
pub use recipe::Recipe;
pub use record::{Metrics, Record, Score};
pub use watch::Watch;

use crate::{error::TrainError, files::FolderLock, optimizer::AdamW, trained::Trained};

/// Trains until the recipe is through, or the score no longer rises.
///
/// With a folder for states the training goes on from the last one in it, on the very curve that it
/// would have had: batches, augmentation, dropout and negatives follow from the recipe's seed and the
/// step. A state is saved before every evaluation, and when the training is
/// [cancelled](Recipe::with_cancel) or fails; the folder is locked while it is written in.
///
/// ```
/// # use blip2_io::dataset::{Dataset, LoadedBatch, Loader, PictureFile};
/// # use blip2_io::preprocessing::{ImageProcessor, ImageProcessorConfig, Size};
/// # use blip2_kernels::{Bias, Linear, RandomWeights};
/// # use blip2_train::{At, Losses, TrainError, TrainPlan, Trained, device_of};
/// # use burn::{module::Module, tensor::Device};
/// use blip2_train::{AdamW, Recipe, Record, Schedule, Watch, train};
///
/// # #[derive(Module, Debug)]
/// # struct Model {
/// #     layer: Linear,
/// # }
/// # let source = RandomWeights::new(0, 0.1);
/// # let trained = Trained::build(&source, &Device::flex(), &TrainPlan::all(), |weights| {
/// #     Ok(Model { layer: weights.linear("layer", 3 * 4 * 4, 1, Bias::With) })
/// # })?;
/// # let mut objective = |model: &Model, batch: &LoadedBatch, _: At| -> Result<Losses, TrainError> {
/// #     let pixels = batch.pixel_values.clone().tensor(&device_of(model));
/// #     let levels = model.layer.forward(pixels.flatten::<2>(1, 3));
/// #     Ok((levels - 1.0).square().mean().into())
/// # };
/// # let pictures = vec![PictureFile::File("../examples/images/red-triangle.png".into())];
/// # let size = Size { height: 4, width: 4 };
/// # let processor = ImageProcessor::new(ImageProcessorConfig::default().with_size(size))?;
/// # let data = Dataset::new(pictures, [(0, None, vec!["a red triangle".into()])])?;
/// # let loader = Loader::new(data, processor).batch(1);
/// /// Says how it goes.
/// struct Teller;
///
/// impl Watch for Teller {
///     fn stepped(&mut self, record: &Record) {
///         eprintln!("step {}: loss {:.3}", record.step, record.loss);
///     }
/// }
///
/// let recipe = Recipe::new(20, Schedule::constant(1e-2));
/// let optimizer = AdamW::default();
/// let outcome = train(trained, optimizer, &loader, &recipe, &mut objective, &mut Teller)?;
/// let steps = &outcome.metrics.records;
/// assert_eq!(steps.len(), 20);
/// assert!(steps[19].loss < steps[0].loss);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Unfinished`], which has what was trained until then: for errors of the objective and the data;
/// [`TrainError::Argument`] for a recipe that makes no sense; [`TrainError::NotFinite`] for a loss or
/// gradients that are no numbers; [`TrainError::State`] for a folder with the states of another
/// training; [`TrainError::InUse`] for one that another process trains in.
pub fn train<M: Module>(
    trained: Trained<M>,
    optimizer: AdamW,
    loader: &Loader,
    recipe: &Recipe,
    objective: &mut impl Objective<M>,
    watch: &mut impl Watch,
) -> Result<Outcome<M>, Unfinished<M>> {
    recipe.validate()?;
    optimizer.check(&trained)?;
    check_examples(loader.dataset(), objective)?;
    let _lock = recipe.states.as_deref().map(FolderLock::take).transpose()?;
    let mut run = steps::Run::new(trained, optimizer, recipe);
    run.resume(objective.measure(), watch)?;
    let ended = run.steps(loader, objective, watch);
    run.finish(ended)
}

/// Refuses examples that no loss can be had of, all of them at once.
fn check_examples<M>(data: &Dataset, objective: &impl Objective<M>) -> Result<(), TrainError> {
    let faults = data.examples().iter().filter_map(|example| {
        let reason = objective.fault(example)?;
        Some(data.broken_record(example, reason))
    });
    let records: Vec<BrokenRecord> = faults.collect();
    match records.is_empty() {
        true => Ok(()),
        false => Err(DatasetError::Broken { records }.into()),
    }
}
