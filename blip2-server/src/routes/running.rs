//! Texts that are being written for a client.

use blip2_core::{Answer, FinishReason, Options};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::Span;

use crate::{
    app::{App, Client},
    engine::{Ask, Coming, Job, Work, Write, Written},
    error::ApiError,
    http::payload::Held,
    picture::Upload,
    words::Names,
};

/// A text that is being written. When it is dropped, it is written no further.
pub(crate) struct Running {
    app: App,
    client: Client,
    events: mpsc::UnboundedReceiver<Written>,
    begun: bool,
}

/// What is asked for.
pub(crate) struct Asked {
    /// Whom it asks, by its place among the models.
    pub(crate) model: usize,
    pub(crate) names: Names,
    pub(crate) picture: Upload,
    pub(crate) ask: Ask,
    pub(crate) options: Options,
}

impl Running {
    /// Asks for a text.
    pub(crate) fn start(
        app: &App,
        client: Client,
        asked: Asked,
        held: Held,
    ) -> Result<Self, ApiError> {
        let Asked {
            model,
            names,
            picture,
            ask,
            options,
        } = asked;
        let (reply, events) = mpsc::unbounded_channel();
        let write = Write {
            picture,
            ask,
            options,
            reply,
        };
        let (room, coming) = held.into_parts();
        app.engine().submit(Job {
            work: Work::Write(Box::new(write)),
            model,
            names,
            cancel: client.cancel.clone(),
            room: Some(room),
            span: Span::current(),
        })?;
        drop(coming);
        Ok(Self {
            app: app.clone(),
            client,
            events,
            begun: false,
        })
    }

    /// What comes next: a piece, or the end.
    pub(crate) async fn next(&mut self) -> Written {
        let next = self.client.wait(self.events.recv()).await;
        let next = next.and_then(|next| next.ok_or_else(|| self.client.lost()));
        let next = next.unwrap_or_else(|error| Written::End(Box::new(Err(error))));
        match next {
            Written::Piece(piece) => {
                if !self.begun && piece.token.is_some() {
                    self.begun = true;
                    self.app.metrics().first_token(self.client.begun.elapsed());
                }
                Written::Piece(piece)
            }
            Written::End(end) => {
                self.app.metrics().took(self.client.begun.elapsed());
                Written::End(Box::new((*end).and_then(in_time)))
            }
        }
    }

    /// All of the text.
    pub(crate) async fn answer(mut self) -> Result<Answer, ApiError> {
        loop {
            if let Written::End(end) = self.next().await {
                return *end;
            }
        }
    }
}

/// Half an answer is none, unless whoever asked has seen it grow.
fn in_time(answer: Answer) -> Result<Answer, ApiError> {
    match answer.finish_reason {
        FinishReason::Deadline => Err(ApiError::timeout()),
        FinishReason::Cancelled => Err(ApiError::stopping()),
        _ => Ok(answer),
    }
}

/// Waits for what is not written piece by piece, and is all that a request asks.
pub(crate) async fn result<T>(
    app: &App,
    client: &Client,
    model: usize,
    names: Names,
    held: Held,
    work: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Work,
) -> Result<T, ApiError> {
    let (room, coming) = held.into_parts();
    part(app, client, (model, names), Some(room), Some(coming), work).await
}

/// As [`result`], of a part of what a request asks, which may keep its body's room until the last of them.
pub(crate) async fn part<T>(
    app: &App,
    client: &Client,
    (model, names): (usize, Names),
    room: Option<OwnedSemaphorePermit>,
    coming: Option<Coming>,
    work: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Work,
) -> Result<T, ApiError> {
    let (reply, result) = oneshot::channel();
    app.engine().submit(Job {
        work: work(reply),
        model,
        names,
        cancel: client.cancel.clone(),
        room,
        span: Span::current(),
    })?;
    drop(coming);
    let result = client.wait(result).await;
    app.metrics().took(client.begun.elapsed());
    result?.unwrap_or_else(|_| Err(client.lost()))
}
