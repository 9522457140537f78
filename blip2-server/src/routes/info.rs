//! What the server says of itself.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    error::{ApiError, ErrorReply},
    json::Json,
    model::Served,
};

/// The models that answer: one, and itself with each of its adapters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelsReply {
    object: &'static str,
    data: Vec<ModelReply>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelReply {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// The model that this one is with an adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// What it can do: `answer`, `rank`, `caption`, `match`, `embed`, `explain`.
    abilities: Vec<&'static str>,
    /// How many frames of a video it looks at together; 1 of a model of pictures.
    frames: usize,
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StateReply {
    status: &'static str,
}

/// Lists the models.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    responses(
        (status = 200, description = "The models", body = ModelsReply),
        (status = 401, description = "A key is needed", body = ErrorReply),
    )
)]
pub(crate) async fn models(State(app): State<App>) -> Json<ModelsReply> {
    Json(ModelsReply {
        object: "list",
        data: app.models().iter().map(|served| of(&app, served)).collect(),
    })
}

/// Tells of the model by its name.
#[utoipa::path(
    get,
    path = "/v1/models/{*model}",
    tag = "openai",
    params(("model" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "The model", body = ModelReply),
        (status = 401, description = "A key is needed", body = ErrorReply),
        (status = 404, description = "There is no such model", body = ErrorReply),
    )
)]
pub(crate) async fn model(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelReply>, ApiError> {
    let Ok(Path(name)) = name else {
        return Err(ApiError::invalid("the model's name is no UTF-8").with_param("model"));
    };
    let chosen = app.chosen(Some(&name))?;
    Ok(Json(of(&app, chosen.served)))
}

fn of(app: &App, Served { id, model, parent }: &Served) -> ModelReply {
    ModelReply {
        id: id.clone(),
        object: "model",
        created: app.started(),
        owned_by: "blip2",
        parent: parent.clone(),
        abilities: model.abilities(),
        frames: model.frames(),
    }
}

/// Tells that the server lives.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operation",
    responses((status = 200, description = "It lives", body = StateReply))
)]
pub(crate) async fn health() -> Json<StateReply> {
    Json(StateReply { status: "ok" })
}

/// Tells whether the server takes requests: not any more once it stops.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operation",
    responses(
        (status = 200, description = "It takes requests", body = StateReply),
        (status = 503, description = "It is stopping", body = StateReply),
    )
)]
pub(crate) async fn ready(State(app): State<App>) -> Response {
    match app.is_ready() {
        true => Json(StateReply { status: "ready" }).into_response(),
        false => {
            let state = StateReply { status: "stopping" };
            (StatusCode::SERVICE_UNAVAILABLE, Json(state)).into_response()
        }
    }
}

/// Figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "Figures in Prometheus' text format", body = String))
)]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, media)], app.metrics().render()).into_response()
}
