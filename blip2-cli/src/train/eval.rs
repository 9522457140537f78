//! `blip2 eval CONFIG`: a model on a data set.

use std::{fs, io::Write, path::Path};

use blip2_core::{Blip2Pipeline, GenerationConfig, Precision};
use blip2_train::answer_all;
use indicatif::ProgressBar;
use serde_json::json;

use super::{config::Config, read};
use crate::{Failure, args::EvalArgs, model::device};

pub(crate) fn run(args: &EvalArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config)?;
    let base = args.config.parent().unwrap_or(Path::new(""));
    let Some(validation) = &config.validation else {
        let text = "the file has no [validation], which says what is evaluated".to_string();
        return Err(Failure::Usage(text));
    };
    let mut data = read(&validation.data, base)?;
    if let Some(first) = validation.first {
        data = data.first(first);
    }
    let model = match &args.model {
        Some(model) => model.clone(),
        None => base.join(&config.model),
    };
    let mut builder = Blip2Pipeline::builder(&model)
        .device(device(&args.device)?)
        .precision(args.device.precision.plan(Precision::AsStored));
    if let Some(template) = &config.train.template {
        builder = builder.template(template.parse().map_err(Failure::work)?);
    }
    let blip2 = builder.load().map_err(Failure::work)?;
    let generation = GenerationConfig {
        max_new_tokens: Some(validation.max_new_tokens),
        num_beams: validation.beams,
        ..GenerationConfig::default()
    };
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
    let found = validation.score.of(&data, answers).map_err(Failure::work)?;
    println!(
        "{} {:.4} of {} examples",
        validation.score,
        found.score,
        found.each.len()
    );
    Ok(())
}
