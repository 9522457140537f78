//! `/v1/chat/completions`: conversations about a picture, in OpenAI's shape.

mod bytes;
mod conversation;
mod reply;
mod types;
mod unsupported;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};

use super::{
    generation::Generation,
    picture::by_urls,
    running::{Asked, Running},
};
use crate::{
    app::{App, Client, off_thread},
    error::{ApiError, ErrorReply},
    http::{payload::Payload, request_id},
    json::Json,
    model::Model,
    words::Names,
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
    let limits = app.settings().limits;
    let messages = std::mem::take(&mut query.messages);
    let model = chosen.model().clone();
    // A long conversation takes an executor's thread too long.
    let read_model = model.clone();
    let (pictures, ask, prompt_tokens) = off_thread(move || {
        let conversation = Conversation::read(messages)?;
        let (ask, prompt) = conversation.ask(&read_model, &limits)?;
        Ok((conversation.pictures, ask, tokens(&read_model, &prompt)))
    })
    .await?;
    let client = Client::new(&app, read.begun);
    let stream = query.stream == Some(true);
    let head = Head {
        id: request_id::new("chatcmpl-"),
        created: now(),
        name: chosen.served.id.clone(),
        model,
        prompt_tokens,
        logprobs: query.logprobs == Some(true),
        include_usage: query
            .stream_options
            .as_ref()
            .is_some_and(|options| options.include_usage == Some(true)),
    };
    let options = generation(query)?.options(&limits, &client, &NAMES)?;
    if pictures.is_empty() {
        let text = "there is no picture: this model answers about one";
        return Err(ApiError::invalid(text).with_param("messages"));
    }
    let asked = Asked {
        model: chosen.place,
        names: NAMES,
        picture: by_urls(&app, pictures, "messages").await?,
        ask,
        options,
    };
    let running = Running::start(&app, client, asked, read.held)?;
    if stream {
        return reply::stream(head, running).await;
    }
    let answer = running.answer().await?;
    Ok(Json(reply::whole(head, &answer)).into_response())
}

/// What requests call their parts.
const NAMES: Names = Names {
    picture: "messages",
    text: "messages",
    texts: "messages",
};

fn generation(query: ChatQuery) -> Result<Generation, ApiError> {
    let top_logprobs = query.top_logprobs.unwrap_or(0);
    if top_logprobs > 0 && query.logprobs != Some(true) {
        let text = "`top_logprobs` goes with `logprobs`; set that to true";
        return Err(ApiError::invalid(text).with_param("top_logprobs"));
    }
    let newer = query.max_completion_tokens;
    Ok(Generation {
        top_logprobs,
        max_tokens: newer.or(query.generation.max_tokens),
        tokens_key: newer.map(|_| "max_completion_tokens"),
        ..query.generation
    })
}

/// How many tokens a prompt has, those of the picture included.
fn tokens(model: &Model, prompt: &str) -> usize {
    let ids = model.tokenizer().encode(prompt);
    // What cannot be encoded is refused when it is asked.
    let count = ids.map_or(0, |ids| ids.len());
    match model {
        // A caption goes on from its prompt, which no token ends.
        Model::Captioner(_) => count.saturating_sub(1),
        _ => model.picture_tokens() + count,
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
