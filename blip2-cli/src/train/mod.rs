//! `blip2 train CONFIG` and `blip2 eval`.

mod account;
mod card;
mod config;
#[cfg(feature = "dashboard")]
mod dashboard;
mod eval;
mod job;
mod lines;
mod objectives;
mod pace;
mod place;
mod show;
mod sift;
mod start;
mod together;

use std::{io, path::Path};

use blip2_core::{CheckpointFolder, Device, ModelKind, Precision, PrecisionPlan, device_by_name};
use blip2_train::{Lora, Objective, TrainError, Training};

use crate::{Failure, args::train::TrainArgs, find, interrupt, out};
use config::{Config, EXAMPLE, ObjectiveName};
use job::Job;
use place::Place;
use sift::Sieve;
use together::Together;

pub(crate) use eval::run as eval;

/// Puts the terminal in order where the dashboard has it.
fn give_back() {
    #[cfg(feature = "dashboard")]
    dashboard::give_back();
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), Failure> {
    let Some(path) = &args.config else {
        out::write(format_args!("{EXAMPLE}"))?;
        return Ok(());
    };
    let together = Together::begin()?;
    let done = train(args, path, &together);
    together.end(done)
}

fn train(args: &TrainArgs, path: &Path, together: &Together) -> Result<(), Failure> {
    let mut config = Config::read(path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    start::take_template(&mut config, base)?;
    let config = config;
    for line in config.idle() {
        note!("note      {line}");
    }
    let (out, on_what) = config.trained_on()?;
    let model = find::beside(base, config.model()?)?;
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    check_unpacked(&folder)?;
    objectives::check(&config, &folder)?;
    let place = Place::new(base.join(out));
    place.check_apart(&config, path, base, folder.path())?;
    check_batch(&config, together)?;
    let is_first = together.is_first();
    if is_first {
        place.check_writable()?;
        place.check_new()?;
    }
    let training = training(&config, base, &folder)?;
    let lock = is_first.then(|| place.lock(args.dry_run));
    let _lock = lock.transpose()?;
    let cancel = interrupt::watched(
        "ending after this step, with a state to go on from",
        give_back,
    )?;
    let file = (is_first && place.out().exists()).then(|| place.checked());
    let sieve = Sieve::of(&config, &folder, file, together, cancel.clone());
    let sieve = match args.dry_run {
        true => sieve.read_only(),
        false => sieve,
    };
    let data = on_what.read(base)?;
    let on_broken = on_what.on_broken();
    let job = |data, held_out| Job {
        args,
        config: &config,
        place: &place,
        folder: &folder,
        data,
        held_out,
        on_broken,
        cancel,
        together,
    };
    match config.train.objective {
        ObjectiveName::Answers => {
            let data = objectives::seen_by(&folder, data)?;
            let objective = objectives::answers(&config, base, &folder, &sieve)?;
            let fault = |example: &_| objective.training_fault(example);
            let data = sieve.sifted("training", data, on_broken, fault)?;
            let held_out = objectives::held_out(&config, &objective);
            let job = job(data, held_out);
            match folder.kind().map_err(Failure::work)? {
                ModelKind::BlipAnswer => job.run(|| training.load_blip1_answerer(), objective),
                ModelKind::BlipCaption => job.run(|| training.load_blip1_captioner(), objective),
                _ => job.run(|| training.load(), objective),
            }
        }
        ObjectiveName::FirstStage => {
            let objective = objectives::first_stage(&config, base, &folder, &sieve)?;
            let fault = |example: &_| objective.fault(example);
            let data = sieve.sifted("training", data, on_broken, fault)?;
            let seed = config.recipe.seed;
            let held_out = objectives::held_out_pairs(&config, &objective);
            job(data, held_out).run(|| training.load_first_stage(seed), objective)
        }
    }
}

/// Refuses weights that are rounded already, which a trained model cannot be written with.
fn check_unpacked(folder: &CheckpointFolder) -> Result<(), Failure> {
    match folder.path().is_file() {
        false => Ok(()),
        true => Err(Failure::Work(format!(
            "model = {}: a packed file cannot be trained, as no folder could be written of it; give the folder that \
             it was packed from, and `precision` in [train], by which it is held as narrow",
            folder.path().display()
        ))),
    }
}

/// Refuses processes that would never have anything to do.
fn check_batch(config: &Config, together: &Together) -> Result<(), Failure> {
    let (batch, processes) = (config.recipe.batch, together.size());
    match batch < processes {
        false => Ok(()),
        true => Err(Failure::Work(format!(
            "[recipe] batch = {batch} is shared by {processes} processes, some of which would have nothing \
             to do: start fewer, or give a larger batch"
        ))),
    }
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
            Some(start) => {
                let started = Lora::load(base.join(start)).map_err(failure)?;
                lora.check_start(&started)?;
                training.adapters(started)
            }
            None => training
                .lora(lora.config(), config.recipe.seed)
                .map_err(failure)?,
        },
    })
}

/// What went wrong, in the words of the file.
fn failure(error: TrainError) -> Failure {
    if let TrainError::Cancelled = &error {
        let text = "interrupted before the first step: nothing was trained that could be lost";
        return Failure::Interrupted(text.into());
    }
    if let TrainError::File { path, source } = &error
        && source.kind() == io::ErrorKind::FileTooLarge
    {
        return Failure::Work(format!(
            "{}: no file of this process may be so large (`ulimit -f`), or the file system holds none",
            path.display()
        ));
    }
    if let TrainError::Argument {
        argument,
        value,
        reason,
    } = &error
    {
        let key = match *argument {
            "r" => "[lora] rank",
            "lora_alpha" => "[lora] alpha",
            "layers_to_transform" => "[lora] layers:",
            "min" => "[recipe] min_lr",
            "accumulate" | "betas" | "clip" | "ema" | "gamma" | "layer_decay" | "lr"
            | "patience" | "rates" | "steps" | "warmup" | "weight_decay" => {
                return Failure::Work(format!("[recipe] {argument} = {value} {reason}"));
            }
            "lora_dropout" => "[lora] dropout",
            "target_modules" => "[lora] targets",
            other => other,
        };
        return Failure::Work(match key.ends_with(':') {
            true => format!("{key} {value} {reason}"),
            false => format!("{key} = {value} {reason}"),
        });
    }
    Failure::work(error)
}

/// Where it is computed.
fn device(config: &Config) -> Result<Device, Failure> {
    let name = config.train.device.as_deref().unwrap_or("flex");
    device_by_name(name).map_err(Failure::work)
}
