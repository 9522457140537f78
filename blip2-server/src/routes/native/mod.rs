//! The routes in the library's own terms: `/answer`, `/caption`, `/rank`, `/match`.

mod events;
mod types;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use blip2_core::RankOptions;

use super::{
    generation::{at_most, check_texts},
    picture::picture,
    running::{Running, result},
};
use crate::{
    app::{App, Client},
    engine::{Ask, Compared, Match, Rank, Work},
    error::{ApiError, ErrorReply},
    http::payload::Payload,
    json::Json,
    model::Model,
};
use types::{
    AnswerQuery, AnswerReply, CaptionQuery, MatchQuery, MatchReply, MatchedReply, RankQuery,
    RankReply, RankedReply,
};

/// Answers a question about a picture.
#[utoipa::path(
    post,
    path = "/answer",
    tag = "blip2",
    request_body(content(
        (AnswerQuery = "application/json"),
        (AnswerQuery = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The answer; with `stream`, events `piece` and then one `answer`", body = AnswerReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn answer(State(app): State<App>, payload: Payload) -> Result<Response, ApiError> {
    if !able(&app, Model::answers) {
        return Err(ApiError::unable("this model answers no questions"));
    }
    let read = payload.json_or_form::<AnswerQuery>(&["stop"]).await?;
    let query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    let limits = app.settings().limits;
    check_texts([query.question.as_str()], &limits)?;
    let client = Client::new(&app, read.begun);
    let options = query.generation.options(&limits, &client)?;
    let picture = picture(&app, query.image, read.files).await?;
    let ask = Ask::Question(query.question);
    let running = Running::start(&app, client, chosen.place, picture, ask, options, read.held)?;
    reply(running, query.stream).await
}

/// Describes a picture.
#[utoipa::path(
    post,
    path = "/caption",
    tag = "blip2",
    request_body(content(
        (CaptionQuery = "application/json"),
        (CaptionQuery = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The caption; with `stream`, events `piece` and then one `answer`", body = AnswerReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn caption(
    State(app): State<App>,
    payload: Payload,
) -> Result<Response, ApiError> {
    if !able(&app, Model::describes) {
        return Err(ApiError::unable("this model describes no pictures"));
    }
    let read = payload.json_or_form::<CaptionQuery>(&["stop"]).await?;
    let query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    let limits = app.settings().limits;
    check_texts(query.prompt.as_deref(), &limits)?;
    let client = Client::new(&app, read.begun);
    let options = query.generation.options(&limits, &client)?;
    let picture = picture(&app, query.image, read.files).await?;
    let ask = query.prompt.map_or(Ask::Caption, Ask::Prompt);
    let running = Running::start(&app, client, chosen.place, picture, ask, options, read.held)?;
    reply(running, query.stream).await
}

/// Whether the models can do it: all are one, with other adapters.
pub(super) fn able(app: &App, can: impl Fn(&Model) -> bool) -> bool {
    app.models().iter().all(|served| can(&served.model))
}

async fn reply(running: Running, stream: bool) -> Result<Response, ApiError> {
    if stream {
        return Ok(events::stream(running));
    }
    let answer = running.answer().await?;
    Ok(Json(AnswerReply::from(answer)).into_response())
}

/// Ranks candidate answers to a question about a picture.
#[utoipa::path(
    post,
    path = "/rank",
    tag = "blip2",
    request_body(content(
        (RankQuery = "application/json"),
        (RankQuery = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The candidates, the most probable first", body = RankReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn rank(
    State(app): State<App>,
    payload: Payload,
) -> Result<Json<RankReply>, ApiError> {
    if !able(&app, Model::answers) {
        return Err(ApiError::unable("this model ranks no answers"));
    }
    let read = payload.json_or_form::<RankQuery>(&["candidates"]).await?;
    let query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    let limits = app.settings().limits;
    at_most("candidates", query.candidates.len(), limits.candidates)?;
    let texts = query.candidates.iter().chain([&query.question]);
    check_texts(texts.map(String::as_str), &limits)?;
    let client = Client::new(&app, read.begun);
    let picture = picture(&app, query.image, read.files).await?;
    let options = RankOptions::default().with_length_normalized(query.length_normalized);
    let work = |reply| {
        Work::Rank(Rank {
            picture,
            question: query.question,
            candidates: query.candidates,
            options,
            reply,
        })
    };
    let ranked = result(&app, &client, chosen.place, read.held, work).await?;
    let ranked = ranked.into_iter().map(RankedReply::from).collect();
    Ok(Json(RankReply { ranked }))
}

/// Compares texts with a picture.
#[utoipa::path(
    post,
    path = "/match",
    tag = "blip2",
    request_body(content(
        (MatchQuery = "application/json"),
        (MatchQuery = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "How each text goes with the picture", body = MatchReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn compare(
    State(app): State<App>,
    payload: Payload,
) -> Result<Json<MatchReply>, ApiError> {
    if !able(&app, Model::compares) {
        return Err(ApiError::unable(
            "this model compares no pictures with texts",
        ));
    }
    let read = payload.json_or_form::<MatchQuery>(&["texts"]).await?;
    let query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    let limits = app.settings().limits;
    at_most("texts", query.texts.len(), limits.candidates)?;
    check_texts(query.texts.iter().map(String::as_str), &limits)?;
    if query.texts.is_empty() {
        return Err(ApiError::invalid("there are no texts").with_param("texts"));
    }
    let client = Client::new(&app, read.begun);
    let picture = picture(&app, query.image, read.files).await?;
    let texts = query.texts.clone();
    let work = |reply| {
        Work::Match(Match {
            picture,
            texts,
            reply,
        })
    };
    let compared = result(&app, &client, chosen.place, read.held, work).await?;
    let matches = query.texts.into_iter().zip(compared);
    let matches = matches.map(|(text, Compared { score, similarity })| MatchedReply {
        text,
        probability: score.probability,
        logit: score.logit,
        similarity,
    });
    let matches = matches.collect();
    Ok(Json(MatchReply { matches }))
}
