//! Explanations: one at a time, beside the batches.

use std::{io::Cursor, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use blip2_core::{
    explain::Explanation,
    image::{ImageError, ImageFormat, RgbImage},
};
use bytes::Bytes;

use super::{
    Shared,
    compare::unable,
    job::{About, Ask, Drawing, Explain, Explained, Job, Work},
    length::short_enough,
    shown::Shown,
};
use crate::{error::ApiError, model::Model, words::Names};

/// Explains one request after another until the queue is closed. Of this there is one thread: a relevance holds
/// the activations of all layers, an occlusion asks a question for each patch, and neither may multiply, nor
/// hold up answers.
pub(super) fn work(shared: &Arc<Shared>) {
    while let Some(jobs) = shared.slow.pop(0, 1, Duration::ZERO) {
        shared.tell_waiting();
        for job in jobs.into_iter().filter_map(Job::wanted) {
            let run = AssertUnwindSafe(|| run(shared, job));
            if std::panic::catch_unwind(run).is_err() {
                tracing::error!("an explanation panicked");
            }
        }
    }
}

fn run(shared: &Shared, job: Job) {
    let span = job.span.clone();
    let _entered = span.enter();
    let model = shared.model(job.model);
    let Some(job) = (match model {
        Some(model) => short_enough(job, model, shared.prompt_tokens),
        None => Some(job),
    }) else {
        return;
    };
    match (job.work, model) {
        // A client that has left reads nothing.
        (Work::Explain(asked), Some(model)) => {
            let explained = explain(shared, model, &asked, &job.names);
            let _ = asked.reply.send(explained);
        }
        (work, _) => Job { work, ..job }.fail(ApiError::internal()),
    }
}

fn explain(
    shared: &Shared,
    model: &Model,
    asked: &Explain,
    names: &Names,
) -> Result<Explained, ApiError> {
    let frames = model.frames();
    let shown = Shown::decode(&asked.picture, frames, &shared.decode, names)?;
    let why = find(model, asked, &shown, names)?;
    let drawn = asked.drawing.map(|drawing| match drawing {
        Drawing::HeatMap => why.heat_map(&shown),
        Drawing::Strip => why.strip(&shown),
    });
    let png = drawn.map(|drawn| png(&drawn)).transpose();
    let png = png.map_err(|error| {
        tracing::error!(%error, "an explanation was not drawn");
        ApiError::internal()
    })?;
    Ok(Explained { why, png })
}

fn find(
    model: &Model,
    asked: &Explain,
    shown: &Shown,
    names: &Names,
) -> Result<Explanation, ApiError> {
    let options = &asked.options;
    let found = match (&asked.about, model) {
        (About::Text(ask), Model::Blip2(blip2)) => match ask {
            Ask::Question(question) => blip2.explain_answer(shown, question, options),
            Ask::Prompt(prompt) => blip2.explain_prompt(shown, prompt, options),
            Ask::Caption => blip2.explain_caption(shown, options),
        },
        (About::Text(Ask::Question(question)), Model::Answerer(blip)) => {
            blip.explain_answer(shown, question, options)
        }
        (About::Text(Ask::Prompt(prompt)), Model::Captioner(blip)) => {
            blip.explain_prompt(shown, prompt, options)
        }
        (About::Text(Ask::Caption), Model::Captioner(blip)) => blip.explain_caption(shown, options),
        (About::Match(text), Model::Retrieval(blip2)) => blip2.explain_match(shown, text, options),
        (About::Match(text), Model::Blip1Retrieval(blip)) => {
            blip.explain_match(shown, text, options)
        }
        (About::Similarity(text), Model::Retrieval(blip2)) => {
            blip2.explain_similarity(shown, text, options)
        }
        (About::Similarity(text), Model::Blip1Retrieval(blip)) => {
            blip.explain_similarity(shown, text, options)
        }
        _ => return Err(unable()),
    };
    found.map_err(|error| ApiError::told(&error, names))
}

fn png(drawn: &RgbImage) -> Result<Bytes, ImageError> {
    let mut file = Cursor::new(Vec::new());
    drawn.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner().into())
}
