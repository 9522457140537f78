//! CLIP's vision tower against its goldens.

use blip2_core::Blip2Error;
use blip2_io::{CheckpointFolder, CheckpointWeights, config::ModelKind};
use blip2_kernels::{Keep, Weights};
use blip2_vision::{ClipVisionModel, ClipVisionModelWithProjection, VisionOptions};

use crate::{
    compare::{Compare, Comparison},
    error::VerifyError,
    golden::Golden,
    options::VerifyOptions,
    report::Report,
};

pub(crate) fn verify(
    folder: &CheckpointFolder,
    kind: ModelKind,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    for key in ["_meta", "px_images"] {
        golden.json(key);
    }
    let config = folder.clip_vision_config().map_err(Blip2Error::from)?;
    let checkpoint = folder.checkpoint().map_err(Blip2Error::from)?;
    let source = CheckpointWeights::new(&checkpoint);
    let weights = Weights::new(&source, &options.device).with_precision(options.precision.vision);
    let (tower, whole) = if kind == ModelKind::ClipVisionProjected {
        let whole =
            ClipVisionModelWithProjection::load(&config, &weights).map_err(Blip2Error::from)?;
        (whole.vision_model().clone(), Some(whole))
    } else {
        let tower = ClipVisionModel::load(&config, &weights).map_err(Blip2Error::from)?;
        (tower, None)
    };
    source.finish(&["position_ids"]).map_err(Blip2Error::from)?;

    let pixel_values = golden
        .tensor("pixel_values")
        .ok_or_else(|| VerifyError::golden("there are no pixel_values to start from"))?
        .tensor(&options.device)?;
    let mut comparison = Comparison::new(golden, report, options.base());
    let all = VisionOptions::default().with_keep(Keep::HIDDEN_STATES);
    let output = tower.forward(pixel_values, &all);
    let Some(output) = comparison.run("vision", output) else {
        return Ok(());
    };
    comparison.series("hidden", output.hidden_states);
    comparison.tensor("last_hidden_state", output.last_hidden_state.clone());
    let pooled = tower.pool(output.last_hidden_state);
    comparison.tensor("pooler_output", pooled.clone());
    if let Some(whole) = whole {
        comparison.tensor("image_embeds", whole.project(pooled));
    }
    Ok(())
}
