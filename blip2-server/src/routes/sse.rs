//! Texts while they grow, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde::Serialize;

use super::running::Running;
use crate::{engine::Written, error::ApiError, http::told::Late};

/// A stream of events made of what is written, by a function that may give several for each piece. It begins with the
/// first of them.
///
/// # Errors
///
/// What is wrong with a request, if nothing was written: that is told as if there were no stream.
pub(crate) async fn events<S: Send + 'static>(
    mut running: Running,
    state: S,
    make: impl Fn(&mut S, Written) -> Vec<Event> + Send + 'static,
) -> Result<Response, ApiError> {
    let first = match running.next().await {
        Written::End(end) => Written::End(Box::new(Ok((*end)?))),
        first => first,
    };
    let late = Late::default();
    let told = late.clone();
    // `None` once the end has come.
    let begin = Some((running, state, make, Some(first), told));
    let unfolded = stream::unfold(begin, |on| async move {
        let (mut running, mut state, make, first, told) = on?;
        let written = match first {
            Some(first) => first,
            None => running.next().await,
        };
        let ended = match &written {
            Written::Piece(_) => false,
            Written::End(end) => {
                if let Err(error) = end.as_ref() {
                    told.set(error.status().as_u16());
                }
                true
            }
        };
        let events = make(&mut state, written);
        let next = (!ended).then_some((running, state, make, None, told));
        Some((stream::iter(events.into_iter().map(Ok)), next))
    });
    let mut response = respond(futures_util::StreamExt::flatten(unfolded));
    response.extensions_mut().insert(late);
    Ok(response)
}

fn respond(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let alive = KeepAlive::new().interval(Duration::from_secs(10));
    let mut response = Sse::new(events).keep_alive(alive).into_response();
    // Some proxies gather replies unless they are told not to.
    let no = axum::http::HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", no);
    response
}

/// An event of JSON.
pub(crate) fn json(data: &impl Serialize) -> Event {
    match serde_json::to_string(data) {
        Ok(text) => Event::default().data(text),
        Err(error) => {
            tracing::error!(%error, "an event could not be written");
            Event::default().comment("")
        }
    }
}

/// The state of sequence `n`.
pub(crate) fn sequence<T: Default>(all: &mut Vec<T>, n: usize) -> &mut T {
    if all.len() <= n {
        all.resize_with(n + 1, T::default);
    }
    &mut all[n]
}
