//! What is told of a request once it has ended: a line in the log, and figures.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use tracing::Span;

use crate::app::App;
#[cfg(feature = "otel")]
use crate::telemetry;

/// The status under which a request counts whose client left before it was answered, as others count it.
const LEFT: u16 = 499;

/// The status of an error that a reply ends with whose head said that all is well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Late(Arc<AtomicU16>);

impl Late {
    /// Says which.
    pub(crate) fn set(&self, status: u16) {
        self.0.store(status, Ordering::Relaxed);
    }

    fn get(&self) -> Option<u16> {
        Some(self.0.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }
}

/// A request that is under way. When this is dropped, it has ended.
pub(super) struct Account {
    app: App,
    route: String,
    span: Span,
    begun: Instant,
    /// Nothing before there is a reply.
    status: Option<u16>,
    late: Late,
    /// Whether all of the reply was taken.
    whole: bool,
}

impl Account {
    pub(super) fn new(app: App, route: String, span: Span, begun: Instant) -> Self {
        Self {
            app,
            route,
            span,
            begun,
            status: None,
            late: Late::default(),
            whole: false,
        }
    }

    /// A reply by whose body it ends, if that is sent.
    pub(super) fn of(mut self, response: Response, is_sent: bool) -> Response {
        self.status = Some(response.status().as_u16());
        if let Some(late) = response.extensions().get::<Late>() {
            self.late = late.clone();
        }
        self.whole = !is_sent || response.body().is_end_stream();
        response.map(|body| {
            Body::new(Counted {
                body,
                account: self,
            })
        })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (status, ended) = match (self.late.get(), self.status, self.whole) {
            (_, None, _) => (LEFT, "the client left before it was answered"),
            (None, Some(status), true) => (status, "answered"),
            (None, Some(status), false) => (status, "the client left before the end of the answer"),
            (Some(status), ..) => (status, "the answer ended with an error"),
        };
        self.app.metrics().request(&self.route, status, self.begun);
        #[cfg(feature = "otel")]
        telemetry::ended(&self.span, status);
        self.span.in_scope(|| {
            let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(status, ms, "{ended}");
        });
    }
}

/// A body that is counted when it has ended, or is dropped.
struct Counted {
    body: Body,
    account: Account,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // Of a body whose length is known nothing is asked for after its last frame.
        self.account.whole = match &frame {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
