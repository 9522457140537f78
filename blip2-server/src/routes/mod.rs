//! The routes, and what stands before them.

mod chat;
mod embeddings;
mod explain;
mod generation;
mod info;
mod native;
mod page;
mod picture;
mod running;
mod sse;

use std::any::Any;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, error::ApiError, http::guard, json::Json};

/// What `/openapi.json` says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(title = "BLIP-2", description = "Questions about pictures, answered."),
    tags(
        (name = "openai", description = "In the shape of OpenAI's API"),
        (name = "blip2", description = "In the library's own terms"),
        (name = "operation", description = "For whoever runs the server"),
    )
)]
struct Description;

/// All routes, for a program to serve or to mount beside its own.
pub(crate) fn router(app: &App) -> Router {
    let (asking, api) = OpenApiRouter::<App>::with_openapi(Description::openapi())
        .routes(routes!(chat::completions))
        .routes(routes!(embeddings::embeddings))
        .routes(routes!(native::answer))
        .routes(routes!(native::caption))
        .routes(routes!(native::rank))
        .routes(routes!(native::compare))
        .routes(routes!(explain::explain))
        .routes(routes!(info::models))
        .routes(routes!(info::model))
        .split_for_parts();
    let asking = asking
        .layer(from_fn_with_state(app.clone(), guard::with_key))
        .layer(from_fn(guard::same_origin));
    let (operation, more) = OpenApiRouter::<App>::new()
        .routes(routes!(info::health))
        .routes(routes!(info::ready))
        .split_for_parts();
    // Figures tell how much is asked, which is for those who may ask.
    let (figures, most) = OpenApiRouter::<App>::new()
        .routes(routes!(info::metrics))
        .split_for_parts();
    let figures = figures.layer(from_fn_with_state(app.clone(), guard::with_key));
    let api = api.merge_from(more).merge_from(most);
    let mut router = asking
        .merge(operation)
        .merge(figures)
        .route("/openapi.json", get(|| async move { Json(api) }));
    if app.settings().page {
        router = router.merge(page::router());
    }
    router
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::bad_method() })
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(header_if_missing(header::CACHE_CONTROL, "no-store"))
        .layer(header_if_missing(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(from_fn_with_state(app.clone(), guard::watch))
        .with_state(app.clone())
}

fn header_if_missing(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request panicked");
    ApiError::internal().into_response()
}
