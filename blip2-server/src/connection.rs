//! A connection, and whether its client is still there.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, Version},
    response::Response,
};
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::sleep,
};
use tower_service::Service as _;

/// How long the head of a request may take to arrive.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// How often it is looked whether a client that waits for its answer is still there.
const LOOK: Duration = Duration::from_millis(200);
/// What a client that has sent all it will send is asked whether it still reads: one that does passes over it
/// (RFC 9110, section 15.2), one that has gone refuses it.
const ARE_YOU_THERE: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// Answers what comes through a connection, in a task of its own.
pub(crate) fn answer(
    stream: TcpStream,
    leave: Option<OwnedSemaphorePermit>,
    router: Router,
    open: &GracefulShutdown,
) {
    // Tokens are small, and each is waited for.
    let _ = stream.set_nodelay(true);
    let line = Line::new(stream);
    let asked = line.clone();
    let service = service_fn(move |request| respond(router.clone(), request, asked.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        // A client may say that nothing more comes from it, and wait for its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(line), service);
    let watched = open.watch(connection);
    tokio::spawn(async move {
        let _leave = leave;
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

/// A reply, unless the client goes before there is one: then what is done for it is dropped.
async fn respond(
    mut router: Router,
    request: Request<Incoming>,
    line: Line,
) -> Result<Response, Gone> {
    let may_ask = request.version() >= Version::HTTP_11;
    let reply = router.call(request.map(Body::new));
    let gone = std::pin::pin!(line.gone(may_ask));
    match select(reply, gone).await {
        Either::Left((Ok(reply), _)) => Ok(reply),
        Either::Left((Err(never), _)) => match never {},
        Either::Right(_) => Err(Gone),
    }
}

/// A client that has gone.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
struct Gone;

/// A stream that can be looked at while a connection has it.
#[derive(Clone)]
struct Line(Arc<Mutex<Shared>>);

struct Shared {
    stream: TcpStream,
    /// Whether everything was written that was to be.
    is_flushed: bool,
}

impl Line {
    fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            stream,
            is_flushed: true,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes when the client has gone. One that closed its connection looks like one that only sends nothing more,
    /// until something is sent to it.
    async fn gone(&self, may_ask: bool) {
        let mut asked = !may_ask;
        loop {
            sleep(LOOK).await;
            let shared = self.lock();
            let ready = shared.stream.ready(Interest::READABLE | Interest::WRITABLE);
            let Some(Ok(ready)) = ready.now_or_never() else {
                continue;
            };
            if ready.is_write_closed() {
                return;
            }
            if ready.is_read_closed() && shared.is_flushed && !asked {
                asked = true;
                if let Err(error) = shared.stream.try_write(ARE_YOU_THERE)
                    && error.kind() != io::ErrorKind::WouldBlock
                {
                    return;
                }
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.lock();
        shared.is_flushed = false;
        Pin::new(&mut shared.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.lock();
        shared.is_flushed = false;
        Pin::new(&mut shared.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        shared.is_flushed = true;
        Pin::new(&mut shared.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(context)
    }
}
