//! `blip2 eval CONFIG`: a model on a data set.

use std::path::Path;

use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, Builder, CancelToken,
    CheckpointFolder, Member, ModelKind, Precision, TextRows,
};
use blip2_io::{dataset::Dataset, preprocessing::ImageProcessor};
use blip2_train::{Answering, Responds, answer_all, check_apart, check_keeps, write_file};
use indicatif::ProgressBar;
use serde_json::json;

use super::{
    config::{Config, ScoreName, ValidationConfig},
    objectives::{check_score, generation, recall, validation_data},
    sift::Sieve,
};
use crate::{
    Failure,
    args::EvalArgs,
    find,
    model::{adapted, device, kind},
};

pub(crate) fn run(args: &EvalArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config)?;
    let base = args.config.parent().unwrap_or(Path::new(""));
    let Some(validation) = &config.validation else {
        let text = "the file has no [validation], which says what is evaluated".to_string();
        return Err(Failure::Usage(text));
    };
    let model = match &args.model {
        Some(model) => model.clone(),
        None => find::beside(base, &config.model)?,
    };
    let data = validation_data(validation, base)?;
    if let Some(answers) = &args.answers {
        check_answers_file(answers, &config, validation, base, &model)?;
    }
    let ScoreName::Answers(scoring) = validation.score else {
        return recalled(args, validation, &model, &data);
    };
    let data = sifted(&config, validation, &model, data)?;
    if knows_answers(&data) {
        check_score(scoring, &data)?;
    }
    let answers = match kind(Some(&model)) {
        Some(ModelKind::BlipAnswer) => {
            let builder = BlipAnswerer::builder(&model);
            answered(builder, args, &config, validation, &data)?
        }
        Some(ModelKind::BlipCaption) => {
            let builder = BlipCaptioner::builder(&model);
            answered(builder, args, &config, validation, &data)?
        }
        _ => {
            let builder = Blip2Pipeline::builder(&model);
            answered(builder, args, &config, validation, &data)?
        }
    };
    if let Some(path) = &args.answers {
        let mut text = String::new();
        for (example, answer) in data.examples().iter().zip(&answers) {
            let line = json!({ "id": example.id, "question": example.question, "answer": answer });
            text.push_str(&format!("{line}\n"));
        }
        write_file(path, text.as_bytes()).map_err(Failure::work)?;
        note!("wrote {}", path.display());
    }
    if !knows_answers(&data) {
        note!(
            "nobody knows the right answers: {} were given",
            answers.len()
        );
        return Ok(());
    }
    let found = scoring.of(&data, answers).map_err(Failure::work)?;
    say!(
        "{scoring} {:.4} of {} examples",
        found.score,
        found.each.len()
    );
    Ok(())
}

/// The answers of a model of any kind.
fn answered<M: Member + Responds>(
    builder: Builder<M>,
    args: &EvalArgs,
    config: &Config,
    validation: &ValidationConfig,
    data: &Dataset,
) -> Result<Vec<String>, Failure> {
    let mut builder = adapted(builder, args.adapter.as_deref())
        .device(device(&args.device)?)
        .precision(args.device.precision.plan(Precision::AsStored));
    if let Some(template) = &config.train.template {
        builder = builder.template(template.parse().map_err(Failure::work)?);
    }
    let model = builder.load().map_err(Failure::work)?;
    let generation = generation(validation);
    let bar = ProgressBar::new(data.len() as u64);
    let answers = answer_all(&model, data, &generation, validation.batch, |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    answers.map_err(Failure::work)
}

/// Whether anybody told the right answers.
fn knows_answers(data: &Dataset) -> bool {
    let mut examples = data.examples().iter();
    examples.any(|example| !example.answers.is_empty())
}

/// The data set without what cannot be asked and scored, where it is to be left out.
fn sifted(
    config: &Config,
    validation: &ValidationConfig,
    model: &Path,
    data: Dataset,
) -> Result<Dataset, Failure> {
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let sieve = Sieve::of(config, &folder, None, CancelToken::new());
    // What is no model of questions is told when it is loaded.
    let asks = Answering::new(&folder).ok();
    let asks = match (asks, &config.train.template) {
        (Some(own), Some(template)) => {
            let template = template.parse().map_err(Failure::work)?;
            Some(own.with_template(template).map_err(Failure::work)?)
        }
        (own, _) => own,
    };
    let is_scored = knows_answers(&data);
    let on_broken = validation.data.on_broken();
    sieve.sifted("validation", data, on_broken, |example| {
        let asks = asks.as_ref()?;
        match is_scored {
            true => asks.evaluation_fault(example),
            false => asks.question_fault(example),
        }
    })
}

/// Refuses to write the answers onto what is read.
fn check_answers_file(
    answers: &Path,
    config: &Config,
    validation: &ValidationConfig,
    base: &Path,
    model: &Path,
) -> Result<(), Failure> {
    check_apart(answers, model).map_err(Failure::work)?;
    let data = config.data.iter().chain([&validation.data]);
    let mut read = data.flat_map(|data| data.paths(base));
    read.try_for_each(|path| check_keeps(answers, path).map_err(Failure::work))
}

/// How pictures and texts find each other, by a model of retrieval.
fn recalled(
    args: &EvalArgs,
    validation: &ValidationConfig,
    model: &Path,
    data: &Dataset,
) -> Result<(), Failure> {
    if args.answers.is_some() {
        let text = "recall has no answers to be written".to_string();
        return Err(Failure::Usage(text));
    }
    let recall = recall(validation)?;
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let plan = args.device.precision.plan(Precision::AsStored);
    let builder = Blip2Retrieval::builder_from(folder.clone());
    let blip2 = adapted(builder, args.adapter.as_deref())
        .device(device(&args.device)?)
        .precision(plan)
        .load()
        .map_err(Failure::work)?;
    let texts = TextRows::of(&folder).map_err(Failure::work)?;
    let processor = folder.image_processor().map_err(Failure::work)?;
    let processor = ImageProcessor::new(processor).map_err(Failure::work)?;
    let found = recall.of(blip2.model(), &texts, &processor, data);
    let found = found.map_err(Failure::work)?;
    say!(
        "recall@{} of pictures {:.4}, of texts {:.4}",
        recall.k,
        found.text_to_image,
        found.image_to_text
    );
    Ok(())
}
