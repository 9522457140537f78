//! BLIP-2 over HTTP: questions about pictures, answered.
//!
//! A [`Server`] puts a loaded model behind OpenAI's API (`/v1/chat/completions`, `/v1/embeddings`,
//! `/v1/models`), routes in the library's own terms (`/answer`, `/caption`, `/rank`, `/match`,
//! `/explain`), and what
//! those need who run it (`/health`, `/ready`, `/metrics`, `/openapi.json`). Requests that come in the same few
//! milliseconds run as one batch; a picture that is asked about again is not encoded again; each answer is
//! what [`blip2_core`] gives alone, to the bit.
//!
//! Should you use this crate? To run a server there is the program: `blip2 serve`. Use the crate to mount the
//! routes in a program of your own, or to serve a model that you loaded in another way. To answer questions
//! without HTTP use [`blip2_core`].
//!
//! ```no_run
//! use blip2_core::Blip2Pipeline;
//! use blip2_server::{Server, Settings};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
//! let server = Server::new(blip2, Settings::default().with_model_id("blip2-opt-2.7b".into()))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! server.serve(listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! Everything that a request brings, asks for and takes is bounded by [`Limits`], before memory is taken for
//! it. Pictures come in requests; no path that a request names is read, and a URL is followed only where
//! [`Settings::allow_urls`] says so, never to private addresses. There is no TLS: a server that others reach
//! stands behind a proxy that has it. `docs/serving.md` in the repository says what is promised.
//!
//! # Features
//!
//! | feature | what is lost without it |
//! |---|---|
//! | `flex` (default) | the CPU backend |
//! | `urls` | pictures by their URLs |
//! | `otel` | spans of requests, sent to a collector of OpenTelemetry (`Telemetry`) |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod app;
mod connection;
mod engine;
mod error;
mod http;
mod json;
mod keys;
mod loading;
mod metrics;
mod model;
mod picture;
mod routes;
mod server;
mod settings;
#[cfg(feature = "otel")]
mod telemetry;
mod words;

pub use loading::answer_while_loading;
pub use model::Model;
pub use server::{Server, ServerError};
pub use settings::{Batching, Limits, Settings};
#[cfg(feature = "otel")]
pub use telemetry::{Telemetry, TelemetryError};
