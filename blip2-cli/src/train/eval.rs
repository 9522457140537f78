//! `blip2 eval CONFIG`: a model on a data set.

use std::{fs, io::Write, path::Path};

use blip2_core::{Blip2Pipeline, Blip2Retrieval, CheckpointFolder, Precision, TextRows};
use blip2_io::{dataset::Dataset, preprocessing::ImageProcessor};
use blip2_train::answer_all;
use indicatif::ProgressBar;
use serde_json::json;

use super::{
    config::{Config, ScoreName, ValidationConfig},
    objectives::{generation, recall, validation_data},
};
use crate::{
    Failure,
    args::EvalArgs,
    find,
    model::{adapted, device},
};

pub(crate) fn run(args: &EvalArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config)?;
    let base = args.config.parent().unwrap_or(Path::new(""));
    let Some(validation) = &config.validation else {
        let text = "the file has no [validation], which says what is evaluated".to_string();
        return Err(Failure::Usage(text));
    };
    let data = validation_data(validation, base)?;
    let model = match &args.model {
        Some(model) => model.clone(),
        None => find::beside(base, &config.model)?,
    };
    let ScoreName::Answers(scoring) = validation.score else {
        return recalled(args, validation, &model, &data);
    };
    let builder = adapted(Blip2Pipeline::builder(&model), args.adapter.as_deref());
    let mut builder = builder
        .device(device(&args.device)?)
        .precision(args.device.precision.plan(Precision::AsStored));
    if let Some(template) = &config.train.template {
        builder = builder.template(template.parse().map_err(Failure::work)?);
    }
    let blip2 = builder.load().map_err(Failure::work)?;
    let generation = generation(validation);
    let bar = ProgressBar::new(data.len() as u64);
    let answers = answer_all(&blip2, &data, &generation, validation.batch, |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let answers = answers.map_err(Failure::work)?;

    if let Some(path) = &args.answers {
        let failed = |error| Failure::Work(format!("{}: {error}", path.display()));
        let mut file = std::io::BufWriter::new(fs::File::create(path).map_err(failed)?);
        for (example, answer) in data.examples().iter().zip(&answers) {
            let line = json!({ "id": example.id, "question": example.question, "answer": answer });
            writeln!(file, "{line}").map_err(failed)?;
        }
        file.flush().map_err(failed)?;
        eprintln!("wrote {}", path.display());
    }
    if data
        .examples()
        .iter()
        .all(|example| example.answers.is_empty())
    {
        eprintln!(
            "nobody knows the right answers: {} were given",
            answers.len()
        );
        return Ok(());
    }
    let found = scoring.of(&data, answers).map_err(Failure::work)?;
    println!(
        "{scoring} {:.4} of {} examples",
        found.score,
        found.each.len()
    );
    Ok(())
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
    println!(
        "recall@{} of pictures {:.4}, of texts {:.4}",
        recall.k, found.text_to_image, found.image_to_text
    );
    Ok(())
}
