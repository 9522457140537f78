//! The loop: steps, evaluations, states to go on from.

mod average;
mod count;
mod curve;
mod exact;
mod finish;
mod finite;
mod gather;
mod held_out;
mod notes;
mod objective;
mod outcome;
mod recipe;
mod record;
mod resume;
mod score;
mod shared;
mod steps;
mod watch;

use blip2_io::dataset::{BrokenRecord, Dataset, DatasetError, Loader};
use burn::module::Module;
use xxhash_rust::xxh3::Xxh3;

pub use average::Average;
pub use objective::{At, Losses, Objective, Scores};
pub use outcome::{Ended, Outcome, Unfinished};
pub use recipe::Recipe;
pub use record::{Metrics, Record, Score};
pub use resume::told_by;
pub use shared::Shared;
pub use watch::Watch;

use resume::Measure;

use crate::{
    error::TrainError,
    files::{FolderLock, clear_partial},
    group::{Alone, Group, agreed},
    optimizer::AdamW,
    trained::Trained,
};

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
/// [`TrainError::Argument`] for a recipe that makes no sense; [`TrainError::NotFinite`] for a loss,
/// gradients, or parameters that are no numbers; [`TrainError::State`] for a folder with the states of another
/// training; [`TrainError::InUse`] for one that another process trains in.
pub fn train<M: Module>(
    trained: Trained<M>,
    optimizer: AdamW,
    loader: &Loader,
    recipe: &Recipe,
    objective: &mut impl Objective<M>,
    watch: &mut impl Watch,
) -> Result<Outcome<M>, Unfinished<M>> {
    train_together(&Alone, trained, optimizer, loader, recipe, objective, watch)
}

/// Trains as one of several processes (data parallelism): each reads its share of every batch, their
/// gradients are summed before they are clipped, and all make the same step.
///
/// Every process is given the same model, data and settings; `loader` makes whole batches, of which it
/// takes its share. A training of several processes makes the steps of one, but for the order in which
/// numbers are summed; the same states are gone on from by any number of them. Process 0 alone reads and
/// writes states. Where one fails, or is [cancelled](Recipe::with_cancel), all end after the same step.
///
/// ```no_run
/// # use blip2_io::dataset::Loader;
/// # use blip2_train::{Losses, Objective, Trained};
/// # use burn::module::Module;
/// use blip2_train::{AdamW, Group, Recipe, Schedule, train_together};
///
/// # fn run<M: Module>(
/// #     group: &dyn Group,
/// #     trained: Trained<M>,
/// #     loader: &Loader,
/// #     objective: &mut impl Objective<M>,
/// # ) -> Result<(), blip2_train::TrainError> {
/// // `group` is `Mpi::begin()`, with the feature `mpi`.
/// let recipe = Recipe::new(1000, Schedule::constant(1e-4)).with_states("runs/mine/states");
/// let optimizer = AdamW::default();
/// let outcome =
///     train_together(group, trained, optimizer, loader, &recipe, objective, &mut ())?;
/// if group.rank() == 0 {
///     outcome.trained.save("runs/mine/model")?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`train`], [`TrainError::Elsewhere`] for what another process failed of, and [`TrainError::Group`]
/// if the processes do not go together, or one is gone.
pub fn train_together<M: Module>(
    group: &dyn Group,
    trained: Trained<M>,
    optimizer: AdamW,
    loader: &Loader,
    recipe: &Recipe,
    objective: &mut impl Objective<M>,
    watch: &mut impl Watch,
) -> Result<Outcome<M>, Unfinished<M>> {
    let checked = checked(group, &trained, &optimizer, loader, recipe, objective);
    let (lock, stamp) = match checked {
        Ok((lock, stamp)) => (lock, Ok(stamp)),
        Err(error) => (None, Err(error)),
    };
    alike(&agreed(group, stamp)?)?;
    let share = |loader: &Loader| loader.clone().share(group.rank(), group.size());
    let recipe = recipe
        .clone()
        .with_held_out(recipe.held_out.as_ref().map(share));
    let mut run = steps::Run::new(trained, optimizer, &recipe, group);
    let measure = Measure {
        own: objective.measure(),
        whole: objective.measure_of_the_whole(),
    };
    run.resume(measure, watch)?;
    run.place(loader, watch);
    run.count(loader, watch);
    let ended = run.steps(&share(loader), objective, watch);
    let finished = run.finish(ended, watch);
    drop(lock);
    finished
}

/// The lock on the states' folder, and what must be the same of all processes, after all that can be
/// refused before the first step.
fn checked<M: Module>(
    group: &dyn Group,
    trained: &Trained<M>,
    optimizer: &AdamW,
    loader: &Loader,
    recipe: &Recipe,
    objective: &impl Objective<M>,
) -> Result<(Option<FolderLock>, String), TrainError> {
    recipe.validate()?;
    optimizer.check(trained)?;
    check_examples(loader.dataset(), objective)?;
    let states = recipe.states.as_deref().filter(|_| group.rank() == 0);
    let lock = match recipe.trial {
        true => states.map(FolderLock::probe).transpose()?.and(None),
        false => states.map(FolderLock::take).transpose()?,
    };
    if let (Some(folder), Some(_)) = (states, &lock) {
        clear_partial(folder);
    }
    // Of pictures the sizes are asked for, which takes its time where there are many.
    let stamp = match group.size() {
        1 => String::new(),
        _ => stamp(trained, loader, recipe),
    };
    Ok((lock, stamp))
}

/// What processes must have in common to train together.
fn stamp<M: Module>(trained: &Trained<M>, loader: &Loader, recipe: &Recipe) -> String {
    let names = trained
        .parameters()
        .map(|named| (&named.name, &named.shape));
    let parameters = Xxh3::default();
    let parameters = names.fold(parameters, |mut hasher, named| {
        hasher.update(format!("{named:?}").as_bytes());
        hasher
    });
    format!(
        "data {} in {} batches, trained {:016x}, steps {} {} of {:?}, accumulate {}, clip {:?}, ema {:?}, \
         evaluate {} {} {:?}, save {}, seed {}",
        loader.dataset().fingerprint(),
        loader.batches(),
        parameters.digest(),
        recipe.steps,
        recipe.by_epochs,
        recipe.schedule,
        recipe.accumulate,
        recipe.clip,
        recipe.ema,
        recipe.baseline,
        recipe.evaluate_every,
        recipe.patience,
        recipe.save_every,
        recipe.seed,
    )
}

/// Refuses processes that were given different things.
fn alike(stamps: &[String]) -> Result<(), TrainError> {
    let first = stamps.first();
    let other = stamps.iter().position(|stamp| Some(stamp) != first);
    match other {
        None => Ok(()),
        Some(rank) => Err(TrainError::Group {
            reason: format!(
                "process {rank} has other data, parameters or settings than process 0 ({} there, {} \
                 here); give all of them the same files",
                stamps[rank],
                first.map_or("", String::as_str)
            ),
        }),
    }
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
