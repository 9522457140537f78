//! What every request goes through: its name, its origin, its key, its line in the log.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument as _;

use super::{
    drain::refuse,
    origin,
    request_id::{self, REQUEST_ID},
    told::Account,
};
#[cfg(feature = "otel")]
use crate::telemetry;
use crate::{app::App, error::ApiError};

/// Names a request; when it has ended, it is logged and counted.
pub(crate) async fn watch(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id::of(request.headers());
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_string(),
        // Not the path itself: whoever asks for a million places must not make a million figures.
        None => "other".to_string(),
    };
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        route,
    );
    #[cfg(feature = "otel")]
    telemetry::join(&span, request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    request.extensions_mut().insert(Begun(begun));
    let has_body = request.method() != Method::HEAD;
    let account = Account::new(app.clone(), route, span.clone(), begun);
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    if !app.is_ready() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    account.of(response, has_body)
}

/// When a request came.
#[derive(Clone, Copy)]
pub(crate) struct Begun(pub(crate) Instant);

/// Refuses a request without a key, where keys are needed.
pub(crate) async fn with_key(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.keys().allow(request.headers()) {
        true => next.run(request).await,
        false => refuse(request.into_body(), ApiError::no_key())
            .await
            .into_response(),
    }
}

/// Refuses a request while the server stops.
pub(crate) async fn while_ready(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.is_ready() {
        true => next.run(request).await,
        false => refuse(request.into_body(), ApiError::stopping())
            .await
            .into_response(),
    }
}

/// Refuses a request by a name that is not the server's, and one that a page of another origin makes a browser send:
/// a server on loopback is for the programs and pages of its machine, not for every page that someone there looks
/// at, whatever name that has the machine's address stand for.
pub(crate) async fn own_name(State(app): State<App>, request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers(), request.uri());
    let names = origin::Names {
        loopback: app.is_loopback(),
        allowed: &app.settings().allow_hosts,
    };
    let error = if !names.are_asked(headers, uri) {
        ApiError::other_host()
    } else if !names.let_pages_ask(headers, uri) {
        ApiError::other_origin()
    } else {
        return next.run(request).await;
    };
    refuse(request.into_body(), error).await.into_response()
}
