//! What all requests share.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use blip2_core::{CancelToken, FinishReason};
use tokio::{sync::Semaphore, time::timeout_at};

use crate::{
    engine::Engine,
    error::ApiError,
    keys::Keys,
    metrics::Metrics,
    model::{Model, Served},
    settings::Settings,
};

/// A handle of what all requests share.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    engine: Engine,
    settings: Settings,
    keys: Keys,
    metrics: Arc<Metrics>,
    bodies: Arc<Semaphore>,
    #[cfg(feature = "urls")]
    fetching: Arc<Semaphore>,
    ready: AtomicBool,
    /// Whether it listens to its own machine alone.
    loopback: AtomicBool,
    started: u64,
}

/// Room for bodies is counted in these, since a semaphore gives out no more than 32 bits at once.
pub(crate) const ROOM: usize = 1024;
/// How many pictures are fetched at a time.
#[cfg(feature = "urls")]
const FETCHES: usize = 8;

impl App {
    pub(crate) fn new(engine: Engine, settings: Settings, metrics: Arc<Metrics>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let limits = settings.limits;
        // What alone is allowed must have room.
        let room = limits.bodies_bytes.max(limits.body_bytes).div_ceil(ROOM);
        Self(Arc::new(Inner {
            engine,
            keys: Keys::new(&settings.keys),
            settings,
            metrics,
            bodies: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            #[cfg(feature = "urls")]
            fetching: Arc::new(Semaphore::new(FETCHES)),
            ready: AtomicBool::new(true),
            loopback: AtomicBool::new(false),
            started: since.map_or(0, |since| since.as_secs()),
        }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The models that answer, the one that does where none is named first.
    pub(crate) fn models(&self) -> &[Served] {
        self.0.engine.models()
    }

    /// The model that a request names; none, or the empty name, means the first.
    pub(crate) fn chosen(&self, name: Option<&str>) -> Result<Chosen<'_>, ApiError> {
        let name = name.filter(|name| !name.is_empty());
        let mut all = self.models().iter().enumerate();
        let found = all.find(|(_, served)| name.is_none_or(|name| served.id == name));
        let (place, served) = found.ok_or_else(|| ApiError::no_model(name.unwrap_or_default()))?;
        Ok(Chosen { place, served })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Room for bodies, in parts of [`ROOM`] bytes.
    pub(crate) fn bodies(&self) -> &Arc<Semaphore> {
        &self.0.bodies
    }

    /// Leave to fetch a picture.
    #[cfg(feature = "urls")]
    pub(crate) fn fetching(&self) -> &Arc<Semaphore> {
        &self.0.fetching
    }

    /// When the server started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.0.started
    }

    /// Whether it listens to its own machine alone, where none but that machine's names are its own.
    pub(crate) fn is_loopback(&self) -> bool {
        self.0.loopback.load(Ordering::Relaxed)
    }

    /// Says where it listens.
    pub(crate) fn listens(&self, at: IpAddr) {
        self.0.loopback.store(at.is_loopback(), Ordering::Relaxed);
    }

    /// Whether it takes requests.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// Says that it will stop, so that whoever spreads requests sends no more.
    pub(crate) fn stop(&self) {
        self.0.ready.store(false, Ordering::Relaxed);
    }
}

/// The model that a request asks.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<'a> {
    /// Its place among all.
    pub(crate) place: usize,
    pub(crate) served: &'a Served,
}

impl<'a> Chosen<'a> {
    pub(crate) fn model(self) -> &'a Model {
        &self.served.model
    }
}

/// Whoever waits for an answer. When this is dropped, since the connection closed, what was begun for them
/// stops before its next token.
pub(crate) struct Client {
    pub(crate) cancel: CancelToken,
    pub(crate) begun: Instant,
    /// When the answer is due.
    end: Option<Instant>,
}

impl Client {
    /// A client whose request came at `begun`.
    pub(crate) fn new(app: &App, begun: Instant) -> Self {
        let cancel = CancelToken::new();
        let end = begun.checked_add(app.settings().limits.time);
        let cancel = match end {
            Some(end) => cancel.until(end),
            None => cancel,
        };
        Self { cancel, begun, end }
    }

    /// Why nothing comes any more: a batch panicked, or what nobody waited for any longer had to make room.
    pub(crate) fn lost(&self) -> ApiError {
        match self.cancel.reason() {
            Some(FinishReason::Deadline) => ApiError::timeout(),
            _ => ApiError::internal(),
        }
    }

    /// Waits until the answer is due, however long what is asked would wait for its turn.
    pub(crate) async fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, ApiError> {
        match self.end {
            None => Ok(what.await),
            Some(end) => timeout_at(end.into(), what)
                .await
                .map_err(|_| ApiError::timeout()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Computes on a thread that may be held up.
pub(crate) async fn off_thread<T: Send + 'static>(
    compute: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let computed = tokio::task::spawn_blocking(compute).await;
    computed.unwrap_or_else(|error| {
        tracing::error!(%error, "reading a request failed");
        Err(ApiError::internal())
    })
}
