//! Decoding: from a model's next-token logits to sequences of tokens.
//!
//! The engine works on host slices of `f32` and knows no model: whatever implements
//! [`DecodeSession`] (one call for the prompt, one for each further step) can be decoded greedily,
//! by sampling, by beam search or by beam sampling, as a batch or as a stream. Arguments, formulas
//! and their order are those of `transformers` 5.23, and greedy and beam results equal its results
//! token for token. Two exceptions, where its results are arbitrary: if every token is forbidden,
//! there is an error here; and if a constraint leaves fewer continuations than beams, a beam search
//! returns real sequences only, and with `early_stopping: true` goes on until it has `num_beams`.
//!
//! * [`GenerationConfig`] holds the arguments, [`Generator`] runs them.
//! * [`Generated`] is a result: tokens, log-probabilities, score, [`FinishReason`].
//! * [`Stream`] yields text while it grows, never half a character.
//! * [`Batch`] runs rows together that have nothing to do with one another, each by its own arguments;
//!   new ones may [join](Batch::join) those that run.
//! * [`Speculative`] is a session of which a smaller model writes ahead what it then checks in one pass.
//! * [`TokenConstraint`] decides which tokens may come; [`TokenDecoder`] makes text of tokens, for
//!   streams and stop strings; [`CancelToken`] stops a run from another thread.
//! * [`score_continuations`] tells how likely given texts are, instead of writing one.
//!
//! A model in a few lines, which counts upwards from the last token of its prompt:
//!
//! ```
//! use std::convert::Infallible;
//! use blip2_lm::generate::{DecodeSession, FinishReason, GenerationConfig, Generator, Logits};
//!
//! struct Counter {
//!     last: Vec<u32>,
//! }
//!
//! impl Counter {
//!     fn logits(&self) -> Logits {
//!         let data = self.last.iter().flat_map(|&last| {
//!             (0..10).map(move |token| if token == last + 1 { 5.0 } else { 0.0 })
//!         });
//!         Logits::new(data.collect(), 10).expect("ten logits in each row")
//!     }
//! }
//!
//! impl DecodeSession for Counter {
//!     type Error = Infallible;
//!
//!     fn vocab_size(&self) -> usize {
//!         10
//!     }
//!
//!     fn rows(&self) -> usize {
//!         self.last.len()
//!     }
//!
//!     fn prefill(&mut self) -> Result<Logits, Infallible> {
//!         Ok(self.logits())
//!     }
//!
//!     fn step(&mut self, _parents: &[usize], tokens: &[u32]) -> Result<Logits, Infallible> {
//!         self.last = tokens.to_vec(); // a real model picks each row's cache by its parent
//!         Ok(self.logits())
//!     }
//! }
//!
//! let config = GenerationConfig::default().with_eos_token_id([7]);
//! let prompts = [vec![1, 2], vec![5]];
//! let results = Generator::new(config)?.generate(&mut Counter { last: vec![2, 5] }, &prompts)?;
//! assert_eq!(results[0][0].tokens, [3, 4, 5, 6, 7]);
//! assert_eq!(results[1][0].content(), [6]);
//! assert_eq!(results[1][0].finish_reason, FinishReason::Eos);
//! # Ok::<(), blip2_lm::generate::GenerateError>(())
//! ```
//!
//! # Limits
//!
//! Logits that are NaN or +∞ are an error that names the row and the token. A sequence ends at the
//! latest when the session's context is full. The engine itself holds `num_beams` × vocabulary
//! numbers, whatever the batch.

mod ask;
mod batch;
mod beam;
mod cancel;
mod config;
mod constraint;
mod early_stopping;
mod error;
mod generator;
mod known;
mod logits;
mod numerics;
mod output;
mod penalties;
mod random;
mod rules;
mod run;
mod score;
mod session;
mod speculative;
mod stop;
mod stream;
mod text;
mod trim;
mod validation;
mod walk;
mod warpers;

pub use batch::{Batch, BatchPiece};
pub use blip2_kernels::{Likeliest, Top, TopLogits};
pub use cancel::CancelToken;
pub use config::GenerationConfig;
pub use constraint::{NextTokens, Position, TokenConstraint};
pub use early_stopping::EarlyStopping;
pub use error::{BoxError, GenerateError};
pub use generator::Generator;
pub use logits::{Logits, Scores};
pub use output::{FinishReason, Generated, StreamToken};
pub use score::score_continuations;
pub use session::{DecodeSession, JoinSession, RewindSession};
pub use speculative::{Drafts, Speculative};
pub use stop::cut_at_stop_string;
pub use stream::{Stream, StreamPiece};
pub use text::TokenDecoder;
pub use trim::TrimmedPieces;
