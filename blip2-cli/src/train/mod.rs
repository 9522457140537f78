//! `blip2 train CONFIG` and `blip2 eval`.

mod config;
#[cfg(feature = "dashboard")]
mod dashboard;
mod eval;
mod objectives;
mod show;

use std::path::{Path, PathBuf};

use blip2_core::{CheckpointFolder, Device, Precision, PrecisionPlan, device_by_name};
use blip2_io::{
    dataset::{Dataset, LoadedBatch, Loader},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, At, Lora, Objective, Recipe, TrainError, Trained, Training, Watch, train,
};
use burn::module::Module;

use crate::{Failure, args::TrainArgs, find, model::spinner};
use config::{Config, EXAMPLE, ObjectiveName};

pub(crate) use eval::run as eval;

pub(crate) fn run(args: &TrainArgs) -> Result<(), Failure> {
    let Some(path) = &args.config else {
        print!("{EXAMPLE}");
        return Ok(());
    };
    let config = Config::read(path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let model = find::beside(base, &config.model)?;
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let data = read(&config.data, base)?;
    let job = Job {
        args,
        config: &config,
        out: base.join(&config.out),
        folder: &folder,
        data: &data,
    };
    let training = training(&config, base, &folder)?;
    match config.train.objective {
        ObjectiveName::Answers => {
            let objective = objectives::answers(&config, base, &folder)?;
            objective.check(&data).map_err(failure)?;
            job.run(loaded(|| training.load())?, objective)
        }
        ObjectiveName::FirstStage => {
            let objective = objectives::first_stage(&config, base, &folder)?;
            objective.check(&data).map_err(failure)?;
            let seed = config.recipe.seed;
            job.run(loaded(|| training.load_first_stage(seed))?, objective)
        }
    }
}

/// What is trained on what, and where it is written.
struct Job<'j> {
    args: &'j TrainArgs,
    config: &'j Config,
    out: PathBuf,
    folder: &'j CheckpointFolder,
    data: &'j Dataset,
}

impl Job<'_> {
    fn run<M: Module>(
        &self,
        trained: Trained<M>,
        mut objective: impl Objective<M>,
    ) -> Result<(), Failure> {
        let loader = self.loader()?;
        let recipe = &self.config.recipe;
        let per_epoch = loader.batches() / recipe.accumulate.max(1);
        let steps = recipe.steps(per_epoch);
        let own = recipe
            .recipe(steps, per_epoch)
            .with_states(self.out.join("states"));
        show::plan(self.config, self.folder, &trained, self.data, steps)?;
        let optimizer = recipe.optimizer();
        if self.args.dry_run {
            return tried(trained, optimizer, &loader, own, objective);
        }
        let mut watch = watch(self.args, steps)?;
        let outcome = train(
            trained,
            optimizer,
            &loader,
            &own,
            &mut objective,
            &mut watch,
        );
        drop(watch);
        let outcome = outcome.map_err(failure)?;

        outcome.metrics.save(&self.out).map_err(Failure::work)?;
        if self.config.lora.is_some() {
            let adapter = self.out.join("adapter");
            outcome.trained.save_lora(&adapter).map_err(Failure::work)?;
            eprintln!("wrote {}", adapter.display());
            let parts = self.config.train.objective == ObjectiveName::FirstStage
                || !self.config.train.parts.is_empty();
            if parts {
                eprintln!("      (the adapters alone: what else was trained is in `model`)");
            }
        }
        let model = self.out.join("model");
        outcome.trained.save(&model).map_err(Failure::work)?;
        eprintln!("wrote {}", model.display());
        show::outcome(&outcome);
        Ok(())
    }

    fn loader(&self) -> Result<Loader, Failure> {
        let recipe = &self.config.recipe;
        let processor = self.folder.image_processor().map_err(Failure::work)?;
        let processor = ImageProcessor::new(processor).map_err(Failure::work)?;
        let mut loader = Loader::new(self.data.clone(), processor)
            .batch(recipe.batch)
            .shuffled(recipe.seed)
            .augmented(recipe.augmentation)
            .on_broken(self.config.data.on_broken());
        if let Some(workers) = recipe.workers {
            loader = loader.workers(workers);
        }
        if let Some(examples) = recipe.questions_per_picture {
            loader = loader.by_picture(examples);
        }
        Ok(loader)
    }
}

/// Makes a single step that is kept nowhere, and shows what it took.
fn tried<M: Module>(
    trained: Trained<M>,
    optimizer: AdamW,
    loader: &Loader,
    recipe: Recipe,
    mut objective: impl Objective<M>,
) -> Result<(), Failure> {
    let spinner = spinner("trying a step");
    let recipe = recipe.with_steps(1).without_states();
    // Without its score, which might take longer than many steps.
    let mut losses = |model: &M, batch: &LoadedBatch, at: At| objective.losses(model, batch, at);
    let outcome = train(trained, optimizer, loader, &recipe, &mut losses, &mut ());
    spinner.finish_and_clear();
    show::tried(&outcome.map_err(failure)?);
    Ok(())
}

/// The model, while a spinner turns.
fn loaded<M>(load: impl FnOnce() -> Result<Trained<M>, TrainError>) -> Result<Trained<M>, Failure> {
    let spinner = spinner("loading");
    let trained = load().map_err(failure);
    spinner.finish_and_clear();
    trained
}

/// How the training is shown.
fn watch(args: &TrainArgs, steps: usize) -> Result<Box<dyn Watch>, Failure> {
    #[cfg(feature = "dashboard")]
    if args.dashboard {
        return Ok(Box::new(dashboard::Dashboard::new(steps)?));
    }
    let _ = args;
    Ok(Box::new(show::Bar::new(steps)?))
}

/// What of the model is trained.
fn training(config: &Config, base: &Path, folder: &CheckpointFolder) -> Result<Training, Failure> {
    let wanted = &config.train;
    let both = PrecisionPlan::from(wanted.precision.map_or(Precision::F32, |name| name.0));
    let plan = both
        .with_vision(wanted.vision_precision.map_or(both.vision, |name| name.0))
        .with_language_model(
            wanted
                .lm_precision
                .map_or(both.language_model, |name| name.0),
        );
    let mut training = Training::of(folder)
        .map_err(Failure::work)?
        .precision(plan)
        .device(device(config)?);
    for part in &wanted.parts {
        training = training.part(part.clone());
    }
    Ok(match &config.lora {
        None => training,
        Some(lora) => match &lora.start {
            Some(start) => training.adapters(Lora::load(base.join(start)).map_err(failure)?),
            None => training
                .lora(lora.config(), config.recipe.seed)
                .map_err(failure)?,
        },
    })
}

/// What went wrong, in the words of the file.
fn failure(error: TrainError) -> Failure {
    if let TrainError::Argument {
        argument,
        value,
        reason,
    } = &error
    {
        let key = match *argument {
            "r" => "[lora] rank",
            "lora_dropout" => "[lora] dropout",
            "target_modules" => "[lora] targets",
            other => other,
        };
        return Failure::Work(format!("{key} = {value} {reason}"));
    }
    Failure::work(error)
}

/// Where it is computed.
fn device(config: &Config) -> Result<Device, Failure> {
    let name = config.train.device.as_deref().unwrap_or("flex");
    device_by_name(name).map_err(Failure::work)
}

/// Reads a data set, and says what of it was left out.
fn read(data: &config::DataConfig, base: &Path) -> Result<Dataset, Failure> {
    const SHOWN: usize = 10;
    let data = data.read(base).map_err(Failure::work)?;
    for record in data.broken().iter().take(SHOWN) {
        eprintln!("left out: {record}");
    }
    if data.broken().len() > SHOWN {
        eprintln!("left out: {} more", data.broken().len() - SHOWN);
    }
    Ok(data)
}
