//! `blip2 explain IMAGE "QUESTION" -o FILE`: where in a picture a model looked.

use std::path::PathBuf;

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval,
    ModelKind,
    explain::{ExplainOptions, Explanation, Method},
};

use crate::{
    Failure, apart,
    args::{
        explain::{ExplainArgs, MethodChoice},
        model::ModelArgs,
        picture::FrameChoice,
    },
    model, sheet,
    shown::{self, Shown},
};

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let what = What::of(args);
    let options = options(args)?;
    check_output(args)?;
    let image = image(args)?;
    let member = Member::open(&args.model, what)?;
    let why = member.explain(&image, what, &options)?;
    if let Some(output) = &args.output {
        let drawn = match args.per_token {
            true => why.strip(&image),
            false => why.heat_map(&image),
        };
        sheet::save(&drawn, output)?;
    }
    match args.json {
        true => say!("{}", serde_json::to_string(&why).map_err(Failure::work)?),
        false => say!("{}", why.text.replace(['\r', '\n'], " ")),
    }
    Ok(())
}

/// What is explained.
#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Answer(&'a str),
    Caption,
    Prompt(&'a str),
    Match(&'a str),
    Similarity(&'a str),
}

impl<'a> What<'a> {
    fn of(args: &'a ExplainArgs) -> Self {
        match (
            &args.question,
            &args.prompt,
            &args.matched,
            &args.similarity,
        ) {
            (Some(question), ..) => Self::Answer(question),
            (_, Some(prompt), ..) => Self::Prompt(prompt),
            (_, _, Some(text), _) => Self::Match(text),
            (.., Some(text)) => Self::Similarity(text),
            _ => Self::Caption,
        }
    }
}

fn options(args: &ExplainArgs) -> Result<ExplainOptions, Failure> {
    if args.generation.sequences() > 1 {
        return Err(Failure::usage(
            "one text is explained; leave out --num-return-sequences",
        ));
    }
    let call = args.generation.options(args.template.clone())?;
    let options = ExplainOptions::default()
        .with_options(call)
        .with_method(match args.method {
            MethodChoice::Relevance => Method::Relevance,
            MethodChoice::Rollout => Method::Rollout,
            MethodChoice::Occlusion => Method::Occlusion,
            MethodChoice::Attention => Method::Attention,
        });
    Ok(match &args.text {
        Some(text) => options.with_text(text),
        None => options,
    })
}

/// Refuses, before a model is loaded, a file that is no PNG, and one that would take the place of the
/// picture.
fn check_output(args: &ExplainArgs) -> Result<(), Failure> {
    let Some(output) = &args.output else {
        return Ok(());
    };
    let ending = output.extension().and_then(|ending| ending.to_str());
    if !ending.is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        return Err(Failure::Usage(format!(
            "--output {}: maps are drawn as PNGs; end the file's name in .png",
            output.display()
        )));
    }
    let read = [&args.image].into_iter().chain(args.model.read());
    apart::check("--output", output, read.map(PathBuf::as_path))
}

fn image(args: &ExplainArgs) -> Result<Shown, Failure> {
    if args.picture.frame == Some(FrameChoice::All) {
        return Err(Failure::usage(
            "one picture is explained at a time: give a frame's number in place of --frame all",
        ));
    }
    let frames = shown::frames(&args.model);
    let note = |note: &str| note!("{note}");
    let opened = Shown::open(&args.image, frames, args.picture, note)?;
    let none = || Failure::Work(format!("{}: holds no picture", args.image.display()));
    opened.into_iter().next().ok_or_else(none)
}

/// A model that can be explained.
enum Member {
    Blip2(Box<Blip2Pipeline>),
    Retrieval(Box<Blip2Retrieval>),
    Captioner(Box<BlipCaptioner>),
    Answerer(Box<BlipAnswerer>),
    BlipRetrieval(Box<BlipRetrieval>),
}

impl Member {
    fn open(args: &ModelArgs, what: What<'_>) -> Result<Self, Failure> {
        let kind = model::kind(args.model.as_deref());
        check(kind, what)?;
        let (Some(folder), Some(kind)) = (&args.model, kind) else {
            return Ok(Self::Blip2(Box::new(model::open(args)?)));
        };
        Ok(match kind {
            ModelKind::BlipCaption => {
                let builder = BlipCaptioner::builder(folder);
                Self::Captioner(Box::new(model::open_any_blip1(builder, args)?))
            }
            ModelKind::BlipAnswer => {
                let builder = BlipAnswerer::builder(folder);
                Self::Answerer(Box::new(model::open_any_blip1(builder, args)?))
            }
            ModelKind::BlipRetrieval => {
                let builder = BlipRetrieval::builder(folder);
                Self::BlipRetrieval(Box::new(model::open_any_blip1(builder, args)?))
            }
            ModelKind::Blip2Retrieval => {
                let builder = Blip2Retrieval::builder(folder);
                Self::Retrieval(Box::new(model::open_any_blip1(builder, args)?))
            }
            _ => Self::Blip2(Box::new(model::open(args)?)),
        })
    }

    fn explain(
        &self,
        image: &Shown,
        what: What<'_>,
        options: &ExplainOptions,
    ) -> Result<Explanation, Failure> {
        let explained = match (self, what) {
            (Self::Blip2(model), What::Answer(question)) => {
                model.explain_answer(image, question, options)
            }
            (Self::Answerer(model), What::Answer(question)) => {
                model.explain_answer(image, question, options)
            }
            (Self::Blip2(model), What::Caption) => model.explain_caption(image, options),
            (Self::Captioner(model), What::Caption) => model.explain_caption(image, options),
            (Self::Blip2(model), What::Prompt(prompt)) => {
                model.explain_prompt(image, prompt, options)
            }
            (Self::Captioner(model), What::Prompt(prompt)) => {
                model.explain_prompt(image, prompt, options)
            }
            (Self::Retrieval(model), What::Match(text)) => {
                model.explain_match(image, text, options)
            }
            (Self::BlipRetrieval(model), What::Match(text)) => {
                model.explain_match(image, text, options)
            }
            (Self::Retrieval(model), What::Similarity(text)) => {
                model.explain_similarity(image, text, options)
            }
            (Self::BlipRetrieval(model), What::Similarity(text)) => {
                model.explain_similarity(image, text, options)
            }
            // Refused when it was opened.
            _ => Err(Blip2Error::EmptyText),
        };
        explained.map_err(Failure::work)
    }
}

/// Refuses what a kind of model does not do.
fn check(kind: Option<ModelKind>, what: What<'_>) -> Result<(), Failure> {
    let comparison = matches!(what, What::Match(_) | What::Similarity(_));
    let remedy = match (kind, what) {
        (Some(ModelKind::BlipCaption), What::Caption | What::Prompt(_)) => return Ok(()),
        (Some(ModelKind::BlipCaption), _) => "give --caption",
        (Some(ModelKind::BlipAnswer), What::Answer(_)) => return Ok(()),
        (Some(ModelKind::BlipAnswer), _) => "give a question",
        (Some(ModelKind::BlipRetrieval | ModelKind::Blip2Retrieval), _) if comparison => {
            return Ok(());
        }
        (Some(ModelKind::BlipRetrieval | ModelKind::Blip2Retrieval), _) => {
            "give --match or --similarity and a text"
        }
        (Some(ModelKind::Blip2 | ModelKind::InstructBlip | ModelKind::InstructBlipVideo), _)
            if comparison =>
        {
            "give a question or --caption, or a retrieval checkpoint"
        }
        (None, _) if comparison => {
            return Err(Failure::usage(
                "--match and --similarity need a retrieval checkpoint: give it as --model",
            ));
        }
        _ => return Ok(()),
    };
    let kind = kind.map_or(String::new(), |kind| {
        format!("{}, which can {}", kind.with_article(), kind.describe())
    });
    Err(Failure::Usage(format!(
        "the checkpoint is {kind}; {remedy}"
    )))
}
