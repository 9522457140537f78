//! What is answered before there is a model.

use std::{pin::pin, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures_util::future::{Either, select};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{connection::answer, error::ApiError, http::drain::refuse, json::Json, server::accept};

/// How many connections are open at a time; more wait.
const CONNECTIONS: usize = 64;
/// Whoever comes again is to be answered by the server itself.
const CLOSE: [(HeaderName, HeaderValue); 1] =
    [(header::CONNECTION, HeaderValue::from_static("close"))];

/// Answers connections until `loaded` comes, which loading a large model may let wait for minutes: `/health` says that
/// the program lives, `/ready` that it takes no requests yet, and everything else is answered with 503.
///
/// ```no_run
/// use blip2_core::Blip2Pipeline;
/// use blip2_server::{Server, Settings, answer_while_loading};
/// use tokio::{net::TcpListener, sync::oneshot};
///
/// let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// let listener = runtime.block_on(TcpListener::bind("127.0.0.1:8080"))?;
/// let (loaded, wait) = oneshot::channel::<()>();
/// let answering = runtime.spawn(async move {
///     answer_while_loading(&listener, wait).await;
///     listener
/// });
/// let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
/// drop(loaded);
/// runtime.block_on(async {
///     let server = Server::new(blip2, Settings::default())?;
///     server.serve(answering.await?, std::future::pending()).await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })
/// # .unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn answer_while_loading(listener: &TcpListener, loaded: impl Future) {
    let router = router();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let open = GracefulShutdown::new();
    let mut loaded = pin!(loaded);
    loop {
        let next = pin!(accept(listener, &room));
        match select(next, loaded.as_mut()).await {
            Either::Left(((stream, leave), _)) => answer(stream, leave, router.clone(), &open),
            Either::Right(_) => return,
        }
    }
}

fn router() -> Router {
    let health = || async { (CLOSE, Json(json!({"status": "ok"}))) };
    let ready = || async {
        let state = Json(json!({"status": "loading"}));
        (StatusCode::SERVICE_UNAVAILABLE, CLOSE, state)
    };
    let other = |request: Request| async {
        let refused = refuse(request.into_body(), ApiError::loading()).await;
        refused.closing().into_response()
    };
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .fallback(other)
}
