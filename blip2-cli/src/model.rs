//! Opening the model that a command asks for.

use std::path::Path;

use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, Builder, CheckpointFolder, Member, ModelKind, Precision,
    preprocessing::Resizing,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Failure,
    args::{
        device::DeviceArgs,
        model::{LoadingArgs, ModelArgs, RetrievalArgs},
    },
    demo,
};

/// The pipeline of `--model`, or the demonstration model.
pub(crate) fn open(args: &ModelArgs) -> Result<Blip2Pipeline, Failure> {
    let builder = match &args.model {
        Some(folder) => {
            args.adapter.note_other_base(folder)?;
            Blip2Pipeline::builder(folder)
        }
        None => {
            note!("{}", demo::NOTICE);
            Blip2Pipeline::builder_from(demo::folder())
        }
    };
    let spinner = spinner("loading the model");
    let pipeline = args
        .memory
        .limit(told(builder, &spinner))
        .device(device(&args.device)?)
        .precision(args.device.precision.plan(Precision::AsStored));
    let pipeline = args.adapter.on(seeing(pipeline, args))?.load();
    let pipeline = pipeline.map_err(Failure::work);
    spinner.finish_and_clear();
    pipeline
}

/// A builder of a model that sees pictures as the options say.
fn seeing<M: Member>(builder: Builder<M>, args: &ModelArgs) -> Builder<M> {
    let builder = read_by(builder, &args.loading).speculative(args.speculative);
    match args.image_size {
        Some(side) => builder.image_size(side),
        None => builder,
    }
}

/// A builder that reads files as the options say.
fn read_by<M: Member>(builder: Builder<M>, args: &LoadingArgs) -> Builder<M> {
    let builder = builder.copy_weights(args.no_mmap);
    match args.resizing {
        // The default is nothing to refuse a model for that reads no pictures.
        Resizing::Pillow => builder,
        resizing => builder.resizing(resizing),
    }
}

/// Which member of the family `--model` holds, where that can be told without loading it. What is
/// wrong with the folder is left to loading to tell.
pub(crate) fn kind(folder: Option<&Path>) -> Option<ModelKind> {
    let folder = CheckpointFolder::open(folder?).ok()?;
    folder.kind().ok()
}

/// A BLIP-1 model, with all that may be said of a model.
pub(crate) fn open_any_blip1<T: Member>(
    builder: Builder<T>,
    args: &ModelArgs,
) -> Result<T, Failure> {
    if let Some(folder) = &args.model {
        args.adapter.note_other_base(folder)?;
    }
    let builder = args.memory.limit(seeing(builder, args));
    load_blip1(args.adapter.on(builder)?, &args.device)
}

/// A BLIP-1 model, with what may be said of one that compares.
pub(crate) fn open_blip1<T: Member>(
    builder: Builder<T>,
    args: &RetrievalArgs,
) -> Result<T, Failure> {
    let builder = args.adapter.on(read_by(builder, &args.loading))?;
    load_blip1(builder, &args.device)
}

fn load_blip1<T: Member>(builder: Builder<T>, args: &DeviceArgs) -> Result<T, Failure> {
    let device = device(args)?;
    let spinner = spinner("loading the model");
    let model = told(builder, &spinner)
        .device(device)
        .precision(args.precision.plan(Precision::AsStored))
        .load()
        .map_err(Failure::work);
    spinner.finish_and_clear();
    model
}

/// The retrieval pipeline of `--model`.
pub(crate) fn open_retrieval(args: &RetrievalArgs) -> Result<Blip2Retrieval, Failure> {
    let device = device(&args.device)?;
    let spinner = spinner("loading the model");
    let builder = args.adapter.on(Blip2Retrieval::builder(&args.model))?;
    let pipeline = told(read_by(builder, &args.loading), &spinner)
        .device(device)
        .precision(args.device.precision.plan(Precision::AsStored))
        .load()
        .map_err(Failure::work);
    spinner.finish_and_clear();
    pipeline
}

/// The device of `--device`.
pub(crate) fn device(args: &DeviceArgs) -> Result<blip2_core::Device, Failure> {
    blip2_core::device_by_name(&args.device).map_err(Failure::refused)
}

/// A builder that says on the spinner how far it has come.
pub(crate) fn told<P: Member>(builder: Builder<P>, spinner: &ProgressBar) -> Builder<P> {
    let spinner = spinner.clone();
    builder.progress(move |progress| spinner.set_message(format!("loading the model: {progress}")))
}

/// A spinner on standard error, which hides itself where that is no terminal.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

/// A bar on standard error that counts `len` pictures.
pub(crate) fn bar(len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style)
}
