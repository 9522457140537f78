//! What a model is trained for, as the file says.

use std::path::Path;

use blip2_core::{CheckpointFolder, GenerationConfig};
use blip2_io::dataset::Dataset;
use blip2_train::{Answering, FirstStage, Recall, Validation};

use super::{
    config::{Config, ScoreName, ValidationConfig},
    device, read,
};
use crate::Failure;

/// The language model's answers and captions.
pub(super) fn answers(
    config: &Config,
    base: &Path,
    folder: &CheckpointFolder,
    data: &Dataset,
) -> Result<Answering, Failure> {
    let template = config.train.template.as_deref().map(str::parse).transpose();
    let template = template.map_err(Failure::work)?;
    let objective = Answering::new(folder, data.clone(), template)
        .map_err(Failure::work)?
        .device(device(config)?)
        .smoothing(config.recipe.label_smoothing);
    let Some(own) = &config.validation else {
        return Ok(objective);
    };
    let ScoreName::Answers(scoring) = own.score else {
        let text = "answers are not scored by recall: give [validation] another score".to_string();
        return Err(Failure::Usage(text));
    };
    Ok(objective.validated(Validation {
        data: validation_data(own, base)?,
        scoring,
        generation: generation(own),
        batch: own.batch,
    }))
}

/// The three losses of the first stage.
pub(super) fn first_stage(
    config: &Config,
    base: &Path,
    folder: &CheckpointFolder,
    data: &Dataset,
) -> Result<FirstStage, Failure> {
    let wanted = &config.train;
    for (key, is_there) in [
        ("template", wanted.template.is_some()),
        ("lm_precision", wanted.lm_precision.is_some()),
        ("label_smoothing", config.recipe.label_smoothing != 0.0),
        (
            "questions_per_picture",
            config.recipe.questions_per_picture.is_some(),
        ),
    ] {
        if is_there {
            let text = format!("`{key}` is for answers; the first stage has no use for it");
            return Err(Failure::Usage(text));
        }
    }
    let objective = FirstStage::new(folder, data.clone()).map_err(Failure::work)?;
    let objective = objective.device(device(config)?);
    let Some(own) = &config.validation else {
        return Ok(objective);
    };
    let recall = recall(own)?;
    objective
        .validated(validation_data(own, base)?, recall)
        .map_err(Failure::work)
}

/// How pictures and texts that find each other are counted.
pub(super) fn recall(validation: &ValidationConfig) -> Result<Recall, Failure> {
    match validation.score {
        ScoreName::Recall(k) => Ok(Recall {
            k,
            batch: validation.batch,
        }),
        ScoreName::Answers(score) => Err(Failure::Usage(format!(
            "the first stage answers nothing that could be scored by {score}: give [validation] \
             `score = \"recall@1\"`"
        ))),
    }
}

/// What is evaluated.
pub(super) fn validation_data(
    validation: &ValidationConfig,
    base: &Path,
) -> Result<Dataset, Failure> {
    let data = read(&validation.data, base)?;
    Ok(match validation.first {
        Some(first) => data.first(first),
        None => data,
    })
}

/// How answers are generated.
pub(super) fn generation(validation: &ValidationConfig) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: Some(validation.max_new_tokens),
        num_beams: validation.beams,
        ..GenerationConfig::default()
    }
}
