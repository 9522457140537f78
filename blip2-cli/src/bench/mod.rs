//! `blip2 bench`: what a model costs on this machine, and how far that is from what the machine
//! could do.

mod args;
mod continuous;
mod machine;
mod measure;
mod plot;
mod report;
mod scaling;
mod work;

pub(crate) use args::BenchArgs;

use blip2_core::{Blip2Config, Blip2Pipeline, Blip2PipelineBuilder, Precision, Preset, TextConfig};

use crate::{Failure, demo, model};

/// The seed of a preset's weights.
const SEED: u64 = 0;

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.scaling {
        return scaling::run(args, folder);
    }
    if let Some(threads) = args.threads {
        // The pool that products, attention and everything else of the `flex` backend run in.
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(Failure::work)?;
    }
    let spinner = model::spinner("measuring");
    let report = measure::measure(args);
    spinner.finish_and_clear();
    let report = report?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(Failure::work)?;
        say!("{json}");
    } else {
        say!("{report}");
    }
    Ok(())
}

/// The configuration of a preset, with so many layers in each stack.
fn config(preset: Preset, layers: Option<usize>) -> Blip2Config {
    let mut config = preset.config();
    let Some(layers) = layers else { return config };
    config.vision_config.num_hidden_layers = layers;
    config.qformer_config.num_hidden_layers = layers;
    match &mut config.text_config {
        TextConfig::Opt(text) => text.num_hidden_layers = layers,
        TextConfig::T5(text) => (text.num_layers, text.num_decoder_layers) = (layers, layers),
        TextConfig::Llama(text) => text.num_hidden_layers = layers,
        TextConfig::Granite(text) => text.num_hidden_layers = layers,
        // No preset has another.
        _ => {}
    }
    config
}

/// The model that is measured, and its name.
fn builder(args: &BenchArgs) -> Result<(String, Blip2PipelineBuilder), Failure> {
    let (name, builder) = match (&args.folder, args.preset) {
        (Some(folder), _) => {
            let name = folder.file_name().unwrap_or(folder.as_os_str());
            (
                name.to_string_lossy().into_owned(),
                Blip2Pipeline::builder(folder),
            )
        }
        (None, Some(preset)) => (
            preset.to_string(),
            Blip2Pipeline::builder_random(config(preset, args.layers), SEED),
        ),
        (None, None) => (
            "demonstration".into(),
            Blip2Pipeline::builder_from(demo::folder()),
        ),
    };
    let builder = args
        .memory
        .limit(builder)
        .device(model::device(&args.device)?)
        .precision(args.device.precision.plan(Precision::AsStored))
        .speculative(args.speculative);
    Ok(match args.image_size {
        Some(side) => (name, builder.image_size(side)),
        None => (name, builder),
    })
}
