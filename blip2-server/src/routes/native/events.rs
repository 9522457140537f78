//! A text while it grows.

use axum::response::Response;
use blip2_core::generate::TrimmedPieces;
use serde::Serialize;

use super::types::{AnswerReply, TokenReply};
use crate::{
    engine::Written,
    error::ApiError,
    routes::{running::Running, sse},
};

/// A piece of a text that grows.
#[derive(Serialize)]
struct Piece {
    /// Which of the texts, if several were asked for.
    sequence: usize,
    text: String,
    token: Option<TokenReply>,
}

/// A text in the library's own terms: events `piece`, and then one `answer` or `error`.
pub(super) async fn stream(running: Running) -> Result<Response, ApiError> {
    sse::events(running, Vec::<TrimmedPieces>::new(), |texts, written| {
        vec![match written {
            Written::Piece(piece) => {
                let text = sse::sequence(texts, piece.sequence).push(&piece.text);
                let piece = Piece {
                    sequence: piece.sequence,
                    text,
                    token: piece.token.map(TokenReply::from),
                };
                sse::json(&piece).event("piece")
            }
            Written::End(end) => match *end {
                Ok(answer) => sse::json(&AnswerReply::from(answer)).event("answer"),
                Err(error) => sse::json(&error.reply()).event("error"),
            },
        }]
    })
    .await
}
