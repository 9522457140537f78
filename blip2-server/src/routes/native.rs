//! The routes in the library's own terms: `/answer`, `/caption`, `/rank`, `/match`.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use blip2_core::{Answer, FinishReason, RankOptions, Ranked, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    generation::{Generation, at_most, check_texts},
    running::{Running, result},
    sse,
};
use crate::{
    app::{App, Client, off_thread},
    engine::{Ask, Compared, Match, Rank, Work},
    error::{ApiError, ErrorReply},
    http::{fetch::fetch, payload::Payload},
    json::Json,
    picture::{Source, Upload, source},
};

/// A question about a picture.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct AnswerQuery {
    /// The picture as a data: URL, or a file of that name in a form.
    #[schema(example = "data:image/png;base64,…")]
    image: Option<String>,
    /// The question, which is put into the model's prompt template.
    #[schema(example = "what color is the shape?")]
    question: String,
    /// Whether the text is sent while it grows, as server-sent events.
    #[serde(default)]
    stream: bool,
    #[serde(flatten)]
    generation: Generation,
}

/// A picture to be described.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CaptionQuery {
    /// The picture as a data: URL, or a file of that name in a form.
    image: Option<String>,
    /// What the caption goes on from, such as `a photo of`.
    prompt: Option<String>,
    /// Whether the text is sent while it grows, as server-sent events.
    #[serde(default)]
    stream: bool,
    #[serde(flatten)]
    generation: Generation,
}

/// Candidate answers to a question about a picture.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RankQuery {
    /// The picture as a data: URL, or a file of that name in a form.
    image: Option<String>,
    /// The question.
    question: String,
    /// The candidates; in a form the field comes once for each.
    candidates: Vec<String>,
    /// Rank by the mean of the tokens' log-probabilities in place of their sum.
    #[serde(default)]
    length_normalized: bool,
}

/// Texts to be compared with a picture.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MatchQuery {
    /// The picture as a data: URL, or a file of that name in a form.
    image: Option<String>,
    /// The texts; in a form the field comes once for each.
    texts: Vec<String>,
}

/// A text that the model wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerReply {
    /// The text.
    text: String,
    /// How sure the model was, in [0, 1]: the geometric mean of its tokens' probabilities.
    confidence: f32,
    /// Why it ended: `eos`, `stop_string`, `max_tokens` or `context_full`.
    #[schema(value_type = String)]
    finish_reason: FinishReason,
    /// Its tokens, with their natural log-probabilities.
    tokens: Vec<TokenReply>,
    /// The other texts, if several were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    alternatives: Vec<AnswerReply>,
}

/// A token that the model wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenReply {
    /// Its id.
    id: u32,
    /// Its text, with the space before it; nothing for the token that ends a text.
    text: String,
    /// Its natural log-probability.
    log_prob: f32,
}

/// The candidates, the likeliest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RankReply {
    ranked: Vec<RankedReply>,
}

/// A candidate and how likely the model finds it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RankedReply {
    /// The candidate.
    text: String,
    /// Its place among the candidates that were given.
    index: usize,
    /// Its log-probability, by which candidates are ranked.
    score: f32,
    /// Its share of the probability that all candidates have together.
    share: f32,
}

/// How each text goes with the picture, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchReply {
    matches: Vec<MatchedReply>,
}

/// How a text goes with the picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchedReply {
    /// The text.
    text: String,
    /// The probability that it describes the picture, by the head that reads both.
    probability: f32,
    /// That head's logit of a match.
    logit: f32,
    /// The cosine of their embeddings.
    similarity: f32,
}

impl From<Answer> for AnswerReply {
    fn from(answer: Answer) -> Self {
        Self {
            confidence: answer.confidence(),
            text: answer.text,
            finish_reason: answer.finish_reason,
            tokens: answer.tokens.into_iter().map(TokenReply::from).collect(),
            alternatives: answer.alternatives.into_iter().map(Self::from).collect(),
        }
    }
}

impl From<Token> for TokenReply {
    fn from(token: Token) -> Self {
        let Token {
            id, text, log_prob, ..
        } = token;
        Self { id, text, log_prob }
    }
}

impl From<Ranked> for RankedReply {
    fn from(ranked: Ranked) -> Self {
        Self {
            text: ranked.text,
            index: ranked.index,
            score: ranked.score,
            share: ranked.share,
        }
    }
}

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
    if !app.model().answers() {
        return Err(ApiError::unable("this model answers no questions"));
    }
    let read = payload.json_or_form::<AnswerQuery>(&["stop"]).await?;
    let query = read.said;
    let limits = app.settings().limits;
    check_texts([query.question.as_str()], &limits)?;
    let client = Client::new(&app, read.begun);
    let options = query.generation.options(&limits, &client)?;
    let picture = picture(&app, query.image, read.image).await?;
    let ask = Ask::Question(query.question);
    let running = Running::start(&app, client, picture, ask, options, read.held)?;
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
pub(crate) async fn caption(State(app): State<App>, payload: Payload) -> Result<Response, ApiError> {
    if !app.model().describes() {
        return Err(ApiError::unable("this model describes no pictures"));
    }
    let read = payload.json_or_form::<CaptionQuery>(&["stop"]).await?;
    let query = read.said;
    let limits = app.settings().limits;
    check_texts(query.prompt.as_deref(), &limits)?;
    let client = Client::new(&app, read.begun);
    let options = query.generation.options(&limits, &client)?;
    let picture = picture(&app, query.image, read.image).await?;
    let ask = query.prompt.map_or(Ask::Caption, Ask::Prompt);
    let running = Running::start(&app, client, picture, ask, options, read.held)?;
    reply(running, query.stream).await
}

async fn reply(running: Running, stream: bool) -> Result<Response, ApiError> {
    if stream {
        return Ok(sse::native(running));
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
        (status = 200, description = "The candidates, the likeliest first", body = RankReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn rank(
    State(app): State<App>,
    payload: Payload,
) -> Result<Json<RankReply>, ApiError> {
    if !app.model().answers() {
        return Err(ApiError::unable("this model ranks no answers"));
    }
    let read = payload.json_or_form::<RankQuery>(&["candidates"]).await?;
    let query = read.said;
    let limits = app.settings().limits;
    at_most("candidates", query.candidates.len(), limits.candidates)?;
    let texts = query.candidates.iter().chain([&query.question]);
    check_texts(texts.map(String::as_str), &limits)?;
    let client = Client::new(&app, read.begun);
    let picture = picture(&app, query.image, read.image).await?;
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
    let ranked = result(&app, &client, Some(read.held), work).await?;
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
    if !app.model().compares() {
        return Err(ApiError::unable("this model compares no pictures with texts"));
    }
    let read = payload.json_or_form::<MatchQuery>(&["texts"]).await?;
    let query = read.said;
    let limits = app.settings().limits;
    at_most("texts", query.texts.len(), limits.candidates)?;
    check_texts(query.texts.iter().map(String::as_str), &limits)?;
    if query.texts.is_empty() {
        return Err(ApiError::invalid("there are no texts").with_param("texts"));
    }
    let client = Client::new(&app, read.begun);
    let picture = picture(&app, query.image, read.image).await?;
    let texts = query.texts.clone();
    let work = |reply| {
        Work::Match(Match {
            picture,
            texts,
            reply,
        })
    };
    let compared = result(&app, &client, Some(read.held), work).await?;
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

/// The picture of a request, in its body or beside it.
async fn picture(
    app: &App,
    url: Option<String>,
    file: Option<bytes::Bytes>,
) -> Result<Upload, ApiError> {
    match (url, file) {
        (Some(url), None) => by_url(app, url, "image").await,
        (None, Some(bytes)) => off_thread(move || Ok(Upload::new(bytes))).await,
        (None, None) => Err(ApiError::invalid("there is no picture").with_param("image")),
        (Some(_), Some(_)) => Err(ApiError::invalid("send one picture").with_param("image")),
    }
}

/// A picture by a URL that holds it or says where it is.
pub(crate) async fn by_url(app: &App, url: String, param: &'static str) -> Result<Upload, ApiError> {
    let read = off_thread(move || {
        Ok(match source(&url, param)? {
            Source::Data(upload) => Ok(upload),
            Source::Remote => Err(url),
        })
    });
    match read.await? {
        Ok(upload) => Ok(upload),
        Err(url) => fetch(app, &url, param).await,
    }
}
