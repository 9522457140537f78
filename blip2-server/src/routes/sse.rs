//! Texts while they grow, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde::Serialize;

use super::running::Running;
use crate::engine::Written;

/// A stream of events made of what is written, by a function that may give several for each piece.
pub(crate) fn events<S: Send + 'static>(
    running: Running,
    state: S,
    make: impl Fn(&mut S, Written) -> Vec<Event> + Send + 'static,
) -> Response {
    // `None` once the end has come.
    let unfolded = stream::unfold(Some((running, state, make)), |on| async move {
        let (mut running, mut state, make) = on?;
        let written = running.next().await;
        let ended = matches!(written, Written::End(_));
        let events = make(&mut state, written);
        let next = (!ended).then_some((running, state, make));
        Some((stream::iter(events.into_iter().map(Ok)), next))
    });
    respond(futures_util::StreamExt::flatten(unfolded))
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
