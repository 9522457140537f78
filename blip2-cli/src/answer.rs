//! `blip2 answer IMAGE "QUESTION"`.

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
        (None, Some(question)) => blip2.answer_with(&image, question, &options),
        (None, None) => return Err(Failure::usage("give a question or --prompt")),
    }
    .map_err(Failure::work)?;
    if args.json {
        println!("{}", serde_json::to_string(&answer).map_err(Failure::work)?);
    } else {
        println!("{answer}");
    }
    Ok(())
}
