//! A model behind HTTP.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use futures_util::future::{Either, select};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    app::App,
    connection::answer,
    engine::Engine,
    metrics::Metrics,
    model::{Model, Served},
    routes,
    settings::Settings,
};

/// How long those may take who are told that the server stops.
const LATE_TIME: Duration = Duration::from_secs(1);

/// A model that answers over HTTP.
///
/// ```no_run
/// use blip2_core::Blip2Pipeline;
/// use blip2_server::{Server, Settings};
/// use tokio::net::TcpListener;
///
/// let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
/// let server = Server::new(blip2, Settings::default())?;
/// let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// runtime.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:8080").await?;
///     server.serve(listener, std::future::pending()).await
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A program with routes of its own mounts [`router`](Self::router) among them:
///
/// ```
/// use axum::{Router, routing::get};
/// use blip2_core::Blip2Pipeline;
/// use blip2_server::{Server, Settings};
///
/// let blip2 = Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// let server = Server::new(blip2, Settings::default().with_page(false))?;
/// let mine: Router = Router::new()
///     .route("/hello", get(|| async { "hello" }))
///     .nest("/blip2", server.router());
/// # let _ = mine;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    app: App,
}

impl Server {
    /// A server of a model. Each adapter that it holds by a name is a model of its own to those who ask,
    /// `id:name`; all share the model's weights. Its threads run until it and every [`router`](Self::router) of it is dropped.
    ///
    /// # Errors
    ///
    /// [`ServerError`], where no thread can be started.
    pub fn new(model: impl Into<Model>, settings: Settings) -> Result<Self, ServerError> {
        let model = model.into();
        let metrics = Arc::new(Metrics::new());
        let (batching, limits) = (settings.batching, settings.limits);
        let models = Served::all(&settings.model_id, &model);
        let engine = Engine::start(models, batching, &limits, Arc::clone(&metrics));
        let engine = engine.map_err(ServerError::Thread)?;
        let app = App::new(engine, settings, metrics);
        Ok(Self { app })
    }

    /// Its routes. Whoever serves them by other means than [`serve`](Self::serve) bounds connections, and the
    /// time that the head of a request may take, as they see fit.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// Answers connections until `stop` comes. Then what is under way has [`stop_within`](Settings::stop_within) to
    /// end; meanwhile `/ready` says that it stops, and new requests are answered with 503.
    ///
    /// # Errors
    ///
    /// Where the listener has no address.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let address = listener.local_addr()?;
        tracing::info!(%address, "listening");
        self.app.listens(address.ip());
        let connections = self.app.settings().limits.connections.max(1);
        let door = Door {
            listener,
            room: Arc::new(Semaphore::new(connections)),
            router: self.router(),
        };
        let open = GracefulShutdown::new();
        door.take(&open, stop).await;
        self.app.stop();
        let within = self.app.settings().stop_within;
        tracing::info!(?within, "stopping");
        // Whoever comes meanwhile is told so, and above all whoever asks `/ready`.
        let ended = async {
            if timeout(within, open.shutdown()).await.is_err() {
                tracing::warn!("requests were still under way, and are cut off");
            }
        };
        let late = GracefulShutdown::new();
        door.take(&late, ended).await;
        drop(door);
        let _ = timeout(LATE_TIME, late.shutdown()).await;
        self.app.engine().stop();
        Ok(())
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    router: Router,
}

impl Door {
    /// Answers connections until `until` comes.
    async fn take(&self, open: &GracefulShutdown, until: impl Future<Output = ()> + Send) {
        let mut until = pin!(until);
        loop {
            let next = pin!(accept(&self.listener, &self.room));
            match select(next, until.as_mut()).await {
                Either::Left(((stream, leave), _)) => {
                    answer(stream, leave, self.router.clone(), open);
                }
                Either::Right(_) => return,
            }
        }
    }
}

/// The next connection, once there is room for one.
pub(crate) async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // It is never closed.
    let leave = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, leave),
            Err(error) => {
                // Of one connection, or of all for lack of file descriptors, which others will give back.
                tracing::warn!(%error, "a connection was not taken");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    Thread(#[source] io::Error),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("models", &self.app.models())
            .field("settings", self.app.settings())
            .finish()
    }
}
