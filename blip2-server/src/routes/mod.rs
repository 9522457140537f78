//! The routes, and what stands before them.

mod chat;
mod description;
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
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, error::ApiError, http::guard, json::Json};
use description::{Description, described};

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
    // Figures tell how much is asked, which is for those who may ask.
    let (figures, more) = OpenApiRouter::<App>::new()
        .routes(routes!(info::metrics))
        .split_for_parts();
    let (operation, most) = OpenApiRouter::<App>::new()
        .routes(routes!(info::health))
        .routes(routes!(info::ready))
        .split_for_parts();
    let api = described(api.merge_from(more), most);
    let mut router = asking
        .merge(figures)
        .layer(from_fn_with_state(app.clone(), guard::with_key))
        .route("/openapi.json", get(|| async move { Json(api) }));
    if app.settings().page {
        router = router.merge(page::router());
    }
    let router = router
        .layer(from_fn_with_state(app.clone(), guard::own_name))
        .layer(from_fn_with_state(app.clone(), guard::while_ready))
        .merge(operation);
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
