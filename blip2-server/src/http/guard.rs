//! What every request goes through: its name, its origin, its key, its line in the log.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument as _;

use super::{
    drain::refuse,
    request_id::{self, REQUEST_ID},
};
#[cfg(feature = "otel")]
use crate::telemetry;
use crate::{app::App, error::ApiError};

/// Names a request, logs how it ended, and counts it.
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
    let mut response = next.run(request).instrument(span.clone()).await;
    response.headers_mut().insert(REQUEST_ID, id);
    let status = response.status().as_u16();
    app.metrics().request(&route, status, begun);
    #[cfg(feature = "otel")]
    telemetry::ended(&span, status);
    span.in_scope(|| {
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(status, ms, "answered");
    });
    response
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

/// Refuses a request that a page of another origin makes a browser send: a server on loopback is for the
/// programs and pages of its machine, not for every page that someone there looks at.
pub(crate) async fn same_origin(request: Request, next: Next) -> Response {
    match is_same_origin(request.headers(), request.uri()) {
        true => next.run(request).await,
        false => refuse(request.into_body(), ApiError::other_origin())
            .await
            .into_response(),
    }
}

fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        // No browser, or its own address bar.
        return true;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    match (origin, host) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let from = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            is_same_origin(&headers, &Uri::from_static("/answer"))
        };
        assert!(from(None));
        assert!(from(Some("http://127.0.0.1:8080")));
        for other in ["http://127.0.0.1:9090", "https://evil.example", "null"] {
            assert!(!from(Some(other)), "{other}");
        }
    }
}
