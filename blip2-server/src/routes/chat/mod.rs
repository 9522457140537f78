//! `/v1/chat/completions`: conversations about a picture, in OpenAI's shape.

mod conversation;
mod reply;
mod types;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    generation::{Generation, check_texts},
    picture::by_urls,
    running::Running,
};
use crate::{
    app::{App, Client},
    error::{ApiError, ErrorReply},
    http::{payload::Payload, request_id},
    json::Json,
    model::Model,
};
use conversation::Conversation;
use reply::Head;
use types::{ChatQuery, ChatReply};

/// Converses about a picture, in the shape of OpenAI's API.
///
/// Of the messages the last picture counts, and what was said since. Without a word from the user the
/// picture is described.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    request_body = ChatQuery,
    responses(
        (status = 200, description = "The answer; with `stream`, events `chat.completion.chunk`", body = ChatReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn completions(
    State(app): State<App>,
    payload: Payload,
) -> Result<Response, ApiError> {
    let read = payload.json::<ChatQuery>().await?;
    let mut query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    check_unsupported(&query)?;
    let limits = app.settings().limits;
    let conversation = Conversation::read(std::mem::take(&mut query.messages))?;
    check_texts(conversation.texts(), &limits)?;
    let (ask, prompt) = conversation.ask(chosen.model())?;
    let client = Client::new(&app, read.begun);
    let options = generation(&query)?.options(&limits, &client)?;
    if conversation.pictures.is_empty() {
        let text = "there is no picture: this model answers about one";
        return Err(ApiError::invalid(text).with_param("messages"));
    }
    let picture = by_urls(&app, conversation.pictures, "messages").await?;
    let head = Head {
        id: request_id::new("chatcmpl-"),
        created: now(),
        model: chosen.served.id.clone(),
        prompt_tokens: tokens(chosen.model(), &prompt),
        logprobs: query.logprobs == Some(true),
        include_usage: query
            .stream_options
            .is_some_and(|options| options.include_usage),
    };
    let running = Running::start(&app, client, chosen.place, picture, ask, options, read.held)?;
    if query.stream == Some(true) {
        return Ok(reply::stream(head, running));
    }
    let answer = running.answer().await?;
    Ok(Json(reply::whole(head, &answer)).into_response())
}

/// Refuses what would change the answer and is not done, rather than pass over it.
fn check_unsupported(query: &ChatQuery) -> Result<(), ApiError> {
    let is_set = |value: &Option<Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    };
    let format = query.response_format.as_ref();
    let is_text = format.is_none_or(|format| format.get("type").is_some_and(|of| of == "text"));
    let unsupported = [
        (
            "presence_penalty",
            query.presence_penalty.is_some_and(|of| of != 0.0),
        ),
        (
            "frequency_penalty",
            query.frequency_penalty.is_some_and(|of| of != 0.0),
        ),
        ("tools", is_set(&query.tools)),
        ("functions", is_set(&query.functions)),
        ("logit_bias", is_set(&query.logit_bias)),
        ("response_format", !is_text),
    ];
    match unsupported.into_iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((name, _)) => {
            Err(ApiError::unable(format!("{name} is not supported; leave it out")).with_param(name))
        }
    }
}

fn generation(query: &ChatQuery) -> Result<Generation, ApiError> {
    let top_logprobs = query.top_logprobs.unwrap_or(0) as usize;
    if top_logprobs > 0 && query.logprobs != Some(true) {
        let text = "top_logprobs goes with logprobs; set that to true";
        return Err(ApiError::invalid(text).with_param("top_logprobs"));
    }
    Ok(Generation {
        top_logprobs,
        max_tokens: query.max_completion_tokens.or(query.max_tokens),
        n: query.n,
        temperature: query.temperature,
        top_p: query.top_p,
        // OpenAI's seeds may be negative; any bits do.
        seed: query.seed.map(i64::cast_unsigned),
        stop: query.stop.clone(),
        ..Generation::default()
    })
}

/// How many tokens a prompt has, those of the picture included.
fn tokens(model: &Model, prompt: &str) -> usize {
    let ids = model.tokenizer().encode(prompt);
    // What cannot be encoded is refused when it is asked.
    model.picture_tokens() + ids.map_or(0, |ids| ids.len())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
