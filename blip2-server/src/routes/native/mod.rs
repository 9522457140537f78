//! The routes in the library's own terms: `/answer`, `/caption`, `/rank`, `/match`.

mod events;
mod types;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use blip2_core::RankOptions;

use super::{
    generation::{check_texts, few},
    picture::picture,
    running::{Asked, Running, result},
};
use crate::{
    app::{App, Client},
    engine::{Ask, Compared, Match, Rank, Work},
    error::{ApiError, ErrorReply},
    http::payload::Payload,
    json::Json,
    model::Model,
    words::Names,
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
    check_texts([("question", query.question.as_str())], &limits)?;
    let client = Client::new(&app, read.begun);
    let names = names("question", "");
    let options = query.generation.options(&limits, &client, &names)?;
    let asked = Asked {
        model: chosen.place,
        names,
        picture: picture(&app, query.image, read.files).await?,
        ask: Ask::Question(query.question),
        options,
    };
    let running = Running::start(&app, client, asked, read.held)?;
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
    check_texts(
        query.prompt.as_deref().map(|text| ("prompt", text)),
        &limits,
    )?;
    let client = Client::new(&app, read.begun);
    let names = names("prompt", "");
    let options = query.generation.options(&limits, &client, &names)?;
    let asked = Asked {
        model: chosen.place,
        names,
        picture: picture(&app, query.image, read.files).await?,
        ask: query.prompt.map_or(Ask::Caption, Ask::Prompt),
        options,
    };
    let running = Running::start(&app, client, asked, read.held)?;
    reply(running, query.stream).await
}

/// Whether the models can do it: all are one, with other adapters.
pub(super) fn able(app: &App, can: impl Fn(&Model) -> bool) -> bool {
    app.models().iter().all(|served| can(&served.model))
}

/// What the routes call their parts: each has a picture, and a text or a list of them.
fn names(text: &'static str, texts: &'static str) -> Names {
    Names {
        picture: "image",
        text,
        texts,
    }
}

async fn reply(running: Running, stream: Option<bool>) -> Result<Response, ApiError> {
    if stream == Some(true) {
        return events::stream(running).await;
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
    few(
        "candidates",
        "candidates",
        query.candidates.len(),
        limits.candidates,
    )?;
    let texts = query
        .candidates
        .iter()
        .map(|text| ("candidates", text.as_str()));
    check_texts(
        texts.chain([("question", query.question.as_str())]),
        &limits,
    )?;
    let client = Client::new(&app, read.begun);
    let picture = picture(&app, query.image, read.files).await?;
    let options =
        RankOptions::default().with_length_normalized(query.length_normalized == Some(true));
    let work = |reply| {
        Work::Rank(Rank {
            picture,
            question: query.question,
            candidates: query.candidates,
            options,
            reply,
        })
    };
    let names = names("question", "candidates");
    let ranked = result(&app, &client, chosen.place, names, read.held, work).await?;
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
    few("texts", "texts", query.texts.len(), limits.candidates)?;
    check_texts(
        query.texts.iter().map(|text| ("texts", text.as_str())),
        &limits,
    )?;
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
    let names = names("texts", "texts");
    let compared = result(&app, &client, chosen.place, names, read.held, work).await?;
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
