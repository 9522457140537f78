//! `blip2 answer IMAGE "QUESTION"`.

use blip2_core::{Blip2Pipeline, RankOptions};
use serde::Serialize;

use crate::{
    Failure,
    args::AnswerArgs,
    model,
    shown::{self, Shown},
};

pub(crate) fn run(args: &AnswerArgs) -> Result<(), Failure> {
    let options = args.generation.options(args.template.clone())?;
    let image = Shown::open(&args.image, shown::frames(&args.model))?;
    let blip2 = model::open(&args.model)?;
    let answer = match (&args.prompt, &args.question) {
        (Some(prompt), _) => blip2.prompt_with(&image, prompt, &options),
        (None, Some(question)) if !args.one_of.is_empty() => {
            return rank(args, &blip2, &image, question);
        }
        (None, Some(question)) if args.yes_no => {
            let typed = blip2.answer_as_with::<bool>(&image, question, &options);
            typed.map(|typed| typed.answer)
        }
        (None, Some(question)) if args.number => {
            let typed = blip2.answer_as_with::<u64>(&image, question, &options);
            typed.map(|typed| typed.answer)
        }
        (None, Some(question)) => blip2.answer_with(&image, question, &options),
        (None, None) => return Err(Failure::usage("give a question or --prompt")),
    }
    .map_err(Failure::work)?;
    if args.json {
        print_json(&answer)?;
    } else {
        println!("{answer}");
    }
    Ok(())
}

/// Prints the given answers, the likeliest first.
fn rank(
    args: &AnswerArgs,
    blip2: &Blip2Pipeline,
    image: &Shown,
    question: &str,
) -> Result<(), Failure> {
    let mut options = RankOptions::default().length_normalized(args.length_normalized);
    if let Some(template) = &args.template {
        options = options.template(template.clone());
    }
    let ranked = blip2
        .rank_batch([(image, question)], &args.one_of, &options)
        .map_err(Failure::work)?;
    for answer in ranked.iter().flatten() {
        if args.json {
            print_json(answer)?;
        } else {
            println!("{answer}\t{:.1} %", 100.0 * answer.share);
        }
    }
    Ok(())
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(value).map_err(Failure::work)?);
    Ok(())
}
