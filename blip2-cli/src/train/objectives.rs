//! What a model is trained for, as the file says.

use std::path::Path;

use blip2_core::{CheckpointFolder, GenerationConfig, ModelKind};
use blip2_io::{
    dataset::{Dataset, DatasetError},
    preprocessing::{DecodeOptions, Size},
};
use blip2_train::{Answering, FirstStage, Objective, Recall, Scoring, TrainError, Validation};

use super::{
    config::{Config, ObjectiveName, ScoreName, ValidationConfig},
    sift::Sieve,
};
use crate::Failure;

/// The language model's answers and captions.
pub(super) fn answers(
    config: &Config,
    base: &Path,
    folder: &CheckpointFolder,
    sieve: &Sieve<'_>,
) -> Result<Answering, Failure> {
    let template = config.train.template.as_deref().map(str::parse).transpose();
    let template = template.map_err(Failure::work)?;
    let mut objective = Answering::new(folder).map_err(Failure::work)?;
    // Without one the checkpoint's own counts.
    if config.recipe.label_smoothing != 0.0 {
        objective = objective.with_label_smoothing(config.recipe.label_smoothing);
    }
    if let Some(template) = template {
        objective = objective.with_template(template).map_err(Failure::work)?;
    }
    let Some(own) = &config.validation else {
        return Ok(objective);
    };
    let scores = scorings(own)?;
    let chooses = scores.iter().any(|score| score.chooses());
    let data = seen_by(folder, validation_data(own, base)?)?;
    let data = sieve.sifted("validation", data, own.data.on_broken(), |example| {
        let fault = objective.evaluation_fault(example);
        fault.or_else(|| chooses.then(|| objective.choice_fault(example)).flatten())
    })?;
    for score in &scores {
        check_score(*score, &data)?;
    }
    let [scoring, others @ ..] = &scores[..] else {
        return Ok(objective);
    };
    let validation = Validation::new(data, *scoring)
        .with_others(others.iter().copied())
        .with_generation(generation(own))
        .with_batch(own.batch)
        .with_on_broken(own.data.on_broken());
    Ok(objective.with_validation(validation))
}

/// What the loss is had of beside the score, if it is wanted.
pub(super) fn held_out(config: &Config, objective: &Answering) -> Option<Dataset> {
    config.validation.as_ref().filter(|own| own.loss)?;
    let data = &objective.validation()?.data;
    let own = data.clone().filtered(|example| {
        let fault = objective.training_fault(example);
        fault.is_none()
    });
    if own.len() < data.len() {
        note!(
            "the validation loss is without {} examples, whose answers the model cannot be given",
            data.len() - own.len()
        );
    }
    (!own.is_empty()).then_some(own)
}

/// What the first stage's loss is had of beside the score, if it is wanted: whatever can be compared can be
/// trained on.
pub(super) fn held_out_pairs(config: &Config, objective: &FirstStage) -> Option<Dataset> {
    config.validation.as_ref().filter(|own| own.loss)?;
    let data = objective.validation().cloned();
    data.filter(|data| !data.is_empty())
}

/// The three losses of the first stage.
pub(super) fn first_stage(
    config: &Config,
    base: &Path,
    folder: &CheckpointFolder,
    sieve: &Sieve<'_>,
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
    let objective = FirstStage::new(folder).map_err(Failure::work)?;
    let Some(own) = &config.validation else {
        return Ok(objective);
    };
    let recall = recall(own)?;
    let data = validation_data(own, base)?;
    let data = sieve.sifted("validation", data, own.data.on_broken(), |example| {
        objective.fault(example)
    })?;
    check_recall(&recall, &data)?;
    objective
        .with_on_broken(own.data.on_broken())
        .with_validation(data, recall)
        .map_err(Failure::work)
}

/// Refuses a score that would be 0 on this data whatever is answered.
pub(super) fn check_score(scoring: Scoring, data: &Dataset) -> Result<(), Failure> {
    match scoring.check(data) {
        Err(TrainError::Argument { value, reason, .. }) => Err(Failure::Work(format!(
            "[validation] score: {value} {reason}; give another score"
        ))),
        checked => {
            tell_of_few_people(scoring, data);
            checked.map_err(Failure::work)
        }
    }
}

/// Refuses a recall that would be 1 on this data whatever is found, by which no model is better than another.
pub(super) fn check_recall(recall: &Recall, data: &Dataset) -> Result<(), Failure> {
    recall.check(data).map_err(|error| match error {
        TrainError::Argument { value, reason, .. } => {
            Failure::Work(format!("[validation] score: recall@{value} {reason}"))
        }
        other => Failure::work(other),
    })
}

/// Says where VQA's accuracy cannot be 1.
fn tell_of_few_people(scoring: Scoring, data: &Dataset) {
    const ENOUGH: usize = 4;
    let few = data.examples().iter();
    let few = few.filter(|example| example.answers.len() < ENOUGH).count();
    if scoring == Scoring::Vqa && few > 0 {
        note!(
            "note      {few} of {} questions have less than {ENOUGH} answers: VQA's accuracy of theirs stays \
             below 1, and of a single answer it is 0, as in the official code",
            data.len()
        );
    }
}

/// How answers are scored: by the first score, and what is told beside it.
pub(super) fn scorings(validation: &ValidationConfig) -> Result<Vec<Scoring>, Failure> {
    let scores = [validation.score].into_iter().chain(validation.others());
    let scores = scores.map(|score| match score {
        ScoreName::Answers(scoring) => Ok(scoring),
        ScoreName::Recall(_) => {
            let text = "answers are not scored by recall: give [validation] another score";
            Err(Failure::Usage(text.into()))
        }
    });
    scores.collect()
}

/// What answers.
const ANSWERING: [ModelKind; 5] = [
    ModelKind::Blip2,
    ModelKind::InstructBlip,
    ModelKind::InstructBlipVideo,
    ModelKind::BlipAnswer,
    ModelKind::BlipCaption,
];

/// Refuses a score, and a checkpoint before it is loaded, that are not of what the objective trains.
pub(super) fn check(config: &Config, folder: &CheckpointFolder) -> Result<(), Failure> {
    let kind = folder.kind().map_err(Failure::work)?;
    let trains = |objective: ObjectiveName| match objective {
        ObjectiveName::Answers => ANSWERING.contains(&kind),
        ObjectiveName::FirstStage => kind == ModelKind::Blip2Retrieval,
    };
    let (own, other, other_name) = match config.train.objective {
        ObjectiveName::Answers => {
            config.validation.as_ref().map(scorings).transpose()?;
            ("answers", ObjectiveName::FirstStage, "first-stage")
        }
        ObjectiveName::FirstStage => ("first-stage", ObjectiveName::Answers, "answers"),
    };
    if !trains(config.train.objective) {
        let remedy = match trains(other) {
            true => format!(
                "this objective, `{own}`, does not train: give `objective = \"{other_name}\"`"
            ),
            false => "no objective trains: give another `model`".into(),
        };
        return Err(Failure::Usage(format!(
            "{} is {}, which {remedy}",
            folder.path().display(),
            kind.with_article()
        )));
    }
    check_size(folder)?;
    let is_blip1 = matches!(kind, ModelKind::BlipAnswer | ModelKind::BlipCaption);
    if is_blip1 && config.train.template.is_some() {
        let text = "[train] template: BLIP-1 reads questions as they are; leave it out";
        return Err(Failure::Usage(text.into()));
    }
    let first_stage = config.train.objective == ObjectiveName::FirstStage;
    if first_stage && config.recipe.batch < 2 {
        let text = "[recipe] batch: the first stage contrasts the pairs of a batch with one another, and of one pair \
                    nothing can be learnt: give 2 or more";
        return Err(Failure::Usage(text.into()));
    }
    let validation = config.validation.as_ref().filter(|_| first_stage);
    validation.map(recall).transpose().map(|_| ())
}

/// Refuses a folder that prepares pictures at another size than its model was trained at, which training and scores
/// keep to. What cannot be read of it is told when it is loaded.
pub(super) fn check_size(folder: &CheckpointFolder) -> Result<(), Failure> {
    let trained = match folder.blip_config() {
        Ok(blip) => Some(blip.vision_config.image_size),
        Err(_) => folder.config().ok().map(|own| own.vision_config.image_size),
    };
    let processor = folder.image_processor().ok();
    let found = processor.and_then(|own| own.output_size());
    let (Some(trained), Some(Size { height, width })) = (trained, found) else {
        return Ok(());
    };
    if [height, width].map(|side| side as usize) == [trained; 2] {
        return Ok(());
    }
    Err(Failure::Work(format!(
        "{}: its processor prepares pictures of {height}×{width} pixels (height × width), and the model was trained \
         at {trained}×{trained}, to which training and scores keep: set the size in preprocessor_config.json (or \
         processor_config.json) to {trained}",
        folder.path().display()
    )))
}

/// How pictures and texts that find each other are counted.
pub(super) fn recall(validation: &ValidationConfig) -> Result<Recall, Failure> {
    let scores = [validation.score].into_iter().chain(validation.others());
    let ks = scores.map(|score| match score {
        ScoreName::Recall(k) => Ok(k),
        ScoreName::Answers(score) => Err(Failure::Usage(format!(
            "the first stage answers nothing that could be scored by {score}: give [validation] \
             `score = \"recall@1\"`"
        ))),
    });
    let ks: Vec<usize> = ks.collect::<Result<_, _>>()?;
    let first = ks.first().copied().unwrap_or(1);
    let others = ks.into_iter().skip(1);
    Ok(Recall::at(first)
        .with_others(others)
        .with_batch(validation.batch))
}

/// The data set as a model sees it: one of videos sees some frames of each, and refuses still pictures.
pub(super) fn seen_by(folder: &CheckpointFolder, data: Dataset) -> Result<Dataset, Failure> {
    if folder.kind().map_err(Failure::work)? != ModelKind::InstructBlipVideo {
        return Ok(data);
    }
    let frames = folder
        .config()
        .map_err(Failure::work)?
        .model_type
        .num_frames();
    let data = data.of_videos(frames);
    let first = data.examples().first().map(|example| example.picture);
    let opened = first.map(|first| data.open(first, &DecodeOptions::default()));
    if let Some(Err(DatasetError::Video(error))) = &opened
        && error.is_still()
    {
        return Err(Failure::Work(format!(
            "{} is a model of videos, and its data are still pictures: give folders of frames, or animated \
             GIF, PNG or WebP ({error})",
            folder.path().display()
        )));
    }
    Ok(data)
}

/// What is evaluated.
pub(super) fn validation_data(
    validation: &ValidationConfig,
    base: &Path,
) -> Result<Dataset, Failure> {
    let data = validation.data.read(base)?;
    // As scores are defined: against all captions of a picture.
    let data = data.captions_by_picture();
    Ok(match validation.first {
        Some(first) => data.first(first),
        None => data,
    })
}

/// How answers are generated.
pub(super) fn generation(validation: &ValidationConfig) -> GenerationConfig {
    GenerationConfig::default()
        .with_max_new_tokens(validation.max_new_tokens)
        .with_num_beams(validation.beams)
}
