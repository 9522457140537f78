//! `blip2 answer IMAGE "QUESTION"`.

use blip2_core::{Options, RankOptions};
use serde::Serialize;

use crate::{
    Failure,
    args::AnswerArgs,
    family::Answerer,
    shown::{self, Shown},
};

pub(crate) fn run(args: &AnswerArgs) -> Result<(), Failure> {
    let options = args.generation.options(args.template.clone())?;
    let frames = shown::frames(&args.model);
    let images = Shown::open(&args.image, frames, args.picture, |note| note!("{note}"))?;
    let model = Answerer::open(&args.model)?;
    if args.template.is_some() && !model.has_template() {
        return Err(Failure::usage(
            "BLIP-1 reads questions as they are and has no use for a --template",
        ));
    }
    for image in &images {
        answer(args, &model, image, &options)?;
    }
    Ok(())
}

/// Prints the answer about one picture.
fn answer(
    args: &AnswerArgs,
    model: &Answerer,
    image: &Shown,
    options: &Options,
) -> Result<(), Failure> {
    let answer = match (&args.prompt, &args.question) {
        (Some(prompt), _) => model.prompt(image, prompt, options),
        (None, Some(question)) if !args.one_of.is_empty() => {
            return rank(args, model, image, question);
        }
        (None, Some(question)) if args.yes_no => model.answer_as::<bool>(image, question, options),
        (None, Some(question)) if args.number => model.answer_as::<u64>(image, question, options),
        (None, Some(question)) => model.answer(image, question, options),
        (None, None) => return Err(Failure::usage("give a question or --prompt")),
    }?;
    if args.json {
        print_json(&answer)?;
    } else {
        say!("{answer}");
    }
    Ok(())
}

/// Prints the given answers, the likeliest first.
fn rank(args: &AnswerArgs, model: &Answerer, image: &Shown, question: &str) -> Result<(), Failure> {
    let mut options = RankOptions::default().with_length_normalized(args.length_normalized);
    if let Some(template) = &args.template {
        options = options.with_template(template.clone());
    }
    for answer in model.rank(image, question, &args.one_of, &options)? {
        if args.json {
            print_json(&answer)?;
        } else {
            say!("{answer}\t{:.1} %", 100.0 * answer.share);
        }
    }
    Ok(())
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    say!("{}", serde_json::to_string(value).map_err(Failure::work)?);
    Ok(())
}
