//! `blip2 eval CONFIG`: a model on a data set.

mod files;
mod report;

use std::path::Path;

use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, Builder, CancelToken,
    CheckpointFolder, Member, ModelKind, Precision, TextRows,
};
use blip2_io::{dataset::Dataset, preprocessing::ImageProcessor};
use blip2_train::{Answering, Evaluation, Responds, Scoring, answer_all, choose_all, evaluate_all};
use indicatif::ProgressBar;

use self::files::Files;
use super::{
    config::{Config, ScoreName, ValidationConfig},
    objectives::{check_score, generation, recall, scorings, seen_by, validation_data},
    sift::Sieve,
    together::Together,
};
use crate::{
    Failure,
    args::train::EvalArgs,
    find,
    model::{device, kind},
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
    let files = Files::of(args, &config, validation, base, &model)?;
    files.check_pictures(&data)?;
    let ScoreName::Answers(_) = validation.score else {
        files.check_none()?;
        return recalled(args, validation, &model, &data);
    };
    let scores = scorings(validation)?;
    let data = sifted(&config, validation, &model, data)?;
    files.check(&data)?;
    let knows_answers = knows_answers(&data);
    if knows_answers {
        for score in &scores {
            check_score(*score, &data)?;
        }
    }
    let asked = Asked {
        args,
        config: &config,
        validation,
        data: &data,
        scores: &scores,
        knows_answers,
    };
    let said = match kind(Some(&model)) {
        Some(ModelKind::BlipAnswer) => asked.of(BlipAnswerer::builder(&model))?,
        Some(ModelKind::BlipCaption) => asked.of(BlipCaptioner::builder(&model))?,
        _ => asked.of(Blip2Pipeline::builder(&model))?,
    };
    files.write(&data, &scores, &said)?;
    if !knows_answers {
        note!(
            "nobody knows the right answers: {} were given",
            said.answers.len()
        );
        return Ok(());
    }
    report::scores(&data, &scores, &said.evaluations)?;
    if args.answers.is_some() {
        report::wrong(&data, &scores, &said.evaluations)?;
    }
    Ok(())
}

/// What a model said, and how good that is by each score; nobody may know.
struct Said {
    answers: Vec<String>,
    evaluations: Vec<Evaluation>,
}

/// What a model is asked, and how.
struct Asked<'a> {
    args: &'a EvalArgs,
    config: &'a Config,
    validation: &'a ValidationConfig,
    data: &'a Dataset,
    /// The first is that of the answers that are written.
    scores: &'a [Scoring],
    knows_answers: bool,
}

impl Asked<'_> {
    /// The answers of a model of any kind.
    fn of<M: Member + Responds>(&self, builder: Builder<M>) -> Result<Said, Failure> {
        let args = self.args;
        let mut builder = args
            .adapter
            .on(builder)?
            .device(device(&args.device)?)
            .precision(args.device.precision.plan(Precision::AsStored));
        if let Some(template) = &self.config.train.template {
            builder = builder.template(template.parse().map_err(Failure::work)?);
        }
        let model = builder.load().map_err(Failure::work)?;
        let (data, batch) = (self.data, self.validation.batch);
        let generation = generation(self.validation);
        let bar = ProgressBar::new(data.len() as u64);
        let done = |count: usize| bar.set_position(count as u64);
        let chooses = self.scores.first().is_some_and(|score| score.chooses());
        let said = if self.knows_answers {
            let found = evaluate_all(&model, data, self.scores, &generation, batch, done);
            found.map(|evaluations| Said {
                answers: evaluations
                    .first()
                    .map_or(Vec::new(), |own| own.answers.clone()),
                evaluations,
            })
        } else {
            let answers = match chooses {
                true => choose_all(&model, data, done),
                false => answer_all(&model, data, &generation, batch, done),
            };
            answers.map(|answers| Said {
                answers,
                evaluations: Vec::new(),
            })
        };
        bar.finish_and_clear();
        said.map_err(Failure::work)
    }
}

/// Whether anybody told the right answers.
fn knows_answers(data: &Dataset) -> bool {
    let mut examples = data.examples().iter();
    let is_said = |answer: &String| !answer.trim().is_empty();
    examples.any(|example| example.answers.iter().any(is_said))
}

/// The data set without what cannot be asked and scored, where it is to be left out.
fn sifted(
    config: &Config,
    validation: &ValidationConfig,
    model: &Path,
    data: Dataset,
) -> Result<Dataset, Failure> {
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let data = seen_by(&folder, data)?;
    let alone = Together::alone();
    let sieve = Sieve::of(config, &folder, None, &alone, CancelToken::new());
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
    let chooses = scorings(validation)?.iter().any(|score| score.chooses());
    let on_broken = validation.data.on_broken();
    sieve.sifted("validation", data, on_broken, |example| {
        let asks = asks.as_ref()?;
        let fault = match is_scored {
            true => asks.evaluation_fault(example),
            false => asks.question_fault(example),
        };
        fault.or_else(|| chooses.then(|| asks.choice_fault(example)).flatten())
    })
}

/// How pictures and texts find each other, by a model of retrieval.
fn recalled(
    args: &EvalArgs,
    validation: &ValidationConfig,
    model: &Path,
    data: &Dataset,
) -> Result<(), Failure> {
    let recall = recall(validation)?;
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let plan = args.device.precision.plan(Precision::AsStored);
    let builder = Blip2Retrieval::builder_from(folder.clone());
    let blip2 = args
        .adapter
        .on(builder)?
        .device(device(&args.device)?)
        .precision(plan)
        .load()
        .map_err(Failure::work)?;
    let texts = TextRows::of(&folder).map_err(Failure::work)?;
    let processor = folder.image_processor().map_err(Failure::work)?;
    let processor = ImageProcessor::new(processor).map_err(Failure::work)?;
    let found = recall.of(blip2.model(), &texts, &processor, data);
    for found in found.map_err(Failure::work)? {
        say!(
            "recall@{} of pictures {:.4}, of texts {:.4}",
            found.k,
            found.text_to_image,
            found.image_to_text
        );
    }
    Ok(())
}
