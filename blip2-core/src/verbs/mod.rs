//! The verbs, written once for every member that answers, describes or compares.
//!
//! A member says in [`Writer`], [`Answers`], [`Describes`] or [`Compares`] how it reads and
//! writes; the forms of each verb (alone, with options, in a batch, for each, on a picture already
//! seen, streamed) are here.

mod alone;
mod answer;
mod answering;
pub(crate) mod ask;
mod batch;
mod compare_options;
pub(crate) mod comparing;
pub(crate) mod describing;
mod each;
mod grammar;
mod laid_out;
mod options;
pub(crate) mod rank;
mod run;
mod seen;
mod stage;
mod stop;
mod stream;
mod together;
mod token;
pub(crate) mod typed;
mod writer;

pub(crate) use crate::picture::Picture;
pub(crate) use alone::alone;
pub use answer::{Answer, Timings};
pub(crate) use answering::answering;
pub use batch::{AnswerBatch, AnswerFlow, AnswerPiece, AnswerRequest, Flowing};
pub use compare_options::CompareOptions;
pub use comparing::{Compares, Comparison};
pub(crate) use comparing::{comparing, embedding_images, embedding_texts};
pub(crate) use describing::describing;
pub use grammar::Grammar;
pub(crate) use laid_out::LaidOut;
pub use options::Options;
pub(crate) use rank::TOGETHER;
pub use rank::{RankOptions, Ranked};
#[cfg(feature = "speech")]
pub(crate) use run::grow;
pub(crate) use run::{decode, or_stopped, run_made};
pub use seen::Seen;
pub(crate) use seen::looking;
pub(crate) use stage::{Started, Timed, go_on, stage};
pub(crate) use stop::{Stop, stopping};
pub use stream::AnswerStream;
#[cfg(feature = "explain")]
pub(crate) use token::tokens;
pub use token::{Token, TopToken};
pub use typed::{Typed, TypedAnswer};
pub use writer::{Answers, Describes, Writer};
