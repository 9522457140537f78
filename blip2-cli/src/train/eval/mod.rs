//! `blip2 eval CONFIG`: a model on a data set.

mod files;
mod report;

use std::path::Path;

use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, Builder, CancelToken,
    CheckpointFolder, Member, ModelKind, Precision, TextRows,
};
use blip2_io::{
    dataset::{BrokenRecord, Dataset, Example},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    Answered, Answering, Evaluator, Recall, Recalled, Responds, Scoring, TrainError, Unanswered,
};
use indicatif::ProgressBar;

use self::files::Files;
use super::{
    config::{Config, ScoreName, ValidationConfig},
    objectives::{
        check_recall, check_score, check_size, generation, recall, scorings, seen_by,
        validation_data,
    },
    sift::Sieve,
    together::Together,
};
use crate::{
    Failure,
    args::train::EvalArgs,
    find, interrupt,
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
        None => find::beside(base, config.model()?)?,
    };
    args.adapter.note_other_base(&model)?;
    let data = validation_data(validation, base)?;
    let files = Files::of(args, &config, validation, base, &model)?;
    files.check_pictures(&data)?;
    let cancel = interrupt::watched("ending after the answers that are being given", || {})?;
    let ScoreName::Answers(_) = validation.score else {
        files.check_none()?;
        return recalled(args, &config, validation, &model, data, cancel);
    };
    let scores = scorings(validation)?;
    let data = sifted(&config, validation, &model, data, cancel.clone())?;
    files.check(&data)?;
    files.check_writable()?;
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
        files: &files,
        cancel,
    };
    let said = match kind(Some(&model)) {
        Some(ModelKind::BlipAnswer) => asked.of(BlipAnswerer::builder(&model))?,
        Some(ModelKind::BlipCaption) => asked.of(BlipCaptioner::builder(&model))?,
        _ => asked.of(Blip2Pipeline::builder(&model))?,
    };
    tell(&said.left_out);
    let scores = match knows_answers {
        true => &scores[..],
        false => &[],
    };
    // Whatever hinders a file, what was found is told.
    let written = files.write(&said, scores, knows_answers);
    match knows_answers {
        true => report::scores(&said, scores)?,
        false => note!(
            "nobody knows the right answers: {} were given",
            said.answers.len()
        ),
    }
    report::left_out(&said.data)?;
    if args.answers.is_some() {
        report::wrong(&said, scores)?;
    }
    written
}

/// Says what broke meanwhile.
fn tell(left_out: &[BrokenRecord]) {
    for record in left_out {
        note!("left out: {record}");
    }
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
    files: &'a Files<'a>,
    cancel: CancelToken,
}

impl Asked<'_> {
    /// The answers of a model of any kind.
    fn of<M: Member + Responds>(&self, builder: Builder<M>) -> Result<Answered, Failure> {
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
        let evaluator = Evaluator::new(self.data)
            .with_scores(self.scores.iter().copied())
            .with_generation(generation(self.validation))
            .with_batch(self.validation.batch)
            .with_on_broken(self.validation.data.on_broken())
            .with_cancel(self.cancel.clone());
        let bar = ProgressBar::new(self.data.len() as u64);
        let done = |count: usize| bar.set_position(count as u64);
        let said = match self.knows_answers {
            true => evaluator.evaluate(&model, done),
            false => evaluator.answer(&model, done),
        };
        bar.finish_and_clear();
        said.map_err(|unanswered| self.failed(unanswered))
    }

    /// Writes what was answered before an evaluation ended early, and says what ended it.
    fn failed(&self, unanswered: Unanswered) -> Failure {
        let Unanswered {
            error, answered, ..
        } = unanswered;
        tell(&answered.left_out);
        let kept = match self.files.keep(&answered, self.knows_answers) {
            Ok(None) => String::new(),
            Ok(Some(path)) => format!(
                "\n{} has what was answered until then: {} of {}",
                path.display(),
                answered.data.len(),
                self.data.len()
            ),
            Err(Failure::Work(other)) => format!("\nwhat was answered is not written: {other}"),
            Err(_) => String::new(),
        };
        match error {
            TrainError::Cancelled => {
                Failure::Interrupted(format!("the evaluation was interrupted{kept}"))
            }
            error => match Failure::work(error) {
                Failure::Work(text) => Failure::Work(format!("{text}{kept}")),
                other => other,
            },
        }
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
    cancel: CancelToken,
) -> Result<Dataset, Failure> {
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let data = seen_by(&folder, data)?;
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
    let fault = |example: &Example| {
        let asks = asks.as_ref()?;
        let fault = match is_scored {
            true => asks.evaluation_fault(example),
            false => asks.question_fault(example),
        };
        fault.or_else(|| chooses.then(|| asks.choice_fault(example)).flatten())
    };
    sifted_by(config, validation, &folder, data, cancel, fault)
}

/// The data set without what `fault` finds fault with, or what cannot be decoded.
fn sifted_by(
    config: &Config,
    validation: &ValidationConfig,
    folder: &CheckpointFolder,
    data: Dataset,
    cancel: CancelToken,
    fault: impl Fn(&Example) -> Option<String> + Sync,
) -> Result<Dataset, Failure> {
    check_size(folder)?;
    let alone = Together::alone();
    let sieve = Sieve::of(config, folder, None, &alone, cancel);
    let sifted = sieve.sifted("validation", data, validation.data.on_broken(), fault);
    sifted.map_err(|failure| match failure {
        Failure::Interrupted(_) => {
            let text = "interrupted before the first question: there is nothing that could be lost";
            Failure::Interrupted(text.into())
        }
        other => other,
    })
}

/// How pictures and texts find each other, by a model of retrieval.
fn recalled(
    args: &EvalArgs,
    config: &Config,
    validation: &ValidationConfig,
    model: &Path,
    data: Dataset,
    cancel: CancelToken,
) -> Result<(), Failure> {
    let recall = recall(validation)?;
    let folder = CheckpointFolder::open(model).map_err(Failure::work)?;
    let texts = TextRows::of(&folder).map_err(Failure::work)?;
    let fault = |example: &Example| recall.fault(example, &texts);
    let data = sifted_by(config, validation, &folder, data, cancel.clone(), fault)?;
    check_recall(&recall, &data)?;
    let found = recalled_of(args, validation, (&recall, &texts), &folder, &data, &cancel)?;
    tell(&found.left_out);
    for found in &found.scores {
        say!(
            "recall@{} of pictures {:.4}, of texts {:.4}",
            found.k,
            found.text_to_image,
            found.image_to_text
        );
    }
    report::left_out(&found.data)
}

fn recalled_of(
    args: &EvalArgs,
    validation: &ValidationConfig,
    (recall, texts): (&Recall, &TextRows),
    folder: &CheckpointFolder,
    data: &Dataset,
    cancel: &CancelToken,
) -> Result<Recalled, Failure> {
    let plan = args.device.precision.plan(Precision::AsStored);
    let builder = Blip2Retrieval::builder_from(folder.clone());
    let blip2 = args
        .adapter
        .on(builder)?
        .device(device(&args.device)?)
        .precision(plan)
        .load()
        .map_err(Failure::work)?;
    let processor = folder.image_processor().map_err(Failure::work)?;
    let processor = ImageProcessor::new(processor).map_err(Failure::work)?;
    let on_broken = validation.data.on_broken();
    let model = blip2.model();
    let found = recall.of_what_is_left(model, texts, &processor, data, on_broken, cancel);
    found.map_err(|error| match error {
        TrainError::Cancelled => Failure::Interrupted("the evaluation was interrupted".into()),
        error => Failure::work(error),
    })
}
