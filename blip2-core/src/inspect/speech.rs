//! What a Granite Speech is made of.

use blip2_io::{Adapter, Checkpoint, CheckpointFolder, config::ModelKind};
use blip2_kernels::Weights;

use crate::error::Blip2Error;

/// Builds the folder's model of what `weights` give; returns the name of its language model.
#[cfg(feature = "speech")]
pub(super) fn build(
    folder: &CheckpointFolder,
    _: &Checkpoint,
    weights: &Weights<'_>,
) -> Result<&'static str, Blip2Error> {
    use crate::{model::GraniteSpeechForConditionalGeneration, precision::PrecisionPlan};

    let config = folder.speech_config()?;
    GraniteSpeechForConditionalGeneration::build(&config, weights, PrecisionPlan::default())?;
    Ok(config.text_config.model_type())
}

/// Asks for whatever the checkpoint holds: this build has no encoder of sound that would tell what the
/// configuration wants.
#[cfg(not(feature = "speech"))]
pub(super) fn build(
    folder: &CheckpointFolder,
    checkpoint: &Checkpoint,
    weights: &Weights<'_>,
) -> Result<&'static str, Blip2Error> {
    use blip2_kernels::Role;

    let config = folder.speech_config()?;
    let ignored = |name: &str| {
        let mut ends = crate::load::IGNORABLE_OF_SPEECH.iter();
        !name.ends_with("lm_head.weight") && ends.any(|end| name.ends_with(end))
    };
    for name in checkpoint.names().filter(|name| !ignored(name)) {
        match *checkpoint.shape(name).unwrap_or_default() {
            [a] => drop(weights.param(name, [a], Role::Dense)),
            [a, b] if name.ends_with(".weight") => drop(weights.param(name, [a, b], Role::Matrix)),
            [a, b] => drop(weights.param(name, [a, b], Role::Dense)),
            [a, b, c] => drop(weights.param(name, [a, b, c], Role::Dense)),
            _ => {}
        }
    }
    Ok(config.text_config.model_type())
}

/// The bytes of the adapter beside a model of sound. One that cannot be read is told among the obstacles.
pub(super) fn adapter(folder: &CheckpointFolder, kind: ModelKind) -> Option<u64> {
    let has_one = kind == ModelKind::GraniteSpeech;
    let found = has_one.then(|| Adapter::beside(folder).ok().flatten());
    found.flatten().map(|adapter| adapter.size())
}

/// What to say of a folder whose tensors were listed, and not compared with its configuration.
pub(super) fn note() -> Option<String> {
    (!cfg!(feature = "speech")).then(|| {
        "this build has no encoder of sound (the feature `speech` of blip2-core brings it): what the files \
         hold is listed, and not compared with the configuration"
            .to_string()
    })
}
