//! BLIP-2 in SQL: what a model says of pictures, as functions of [Apache DataFusion](datafusion).
//!
//! ```
//! use blip2_core::Blip2Pipeline;
//! use blip2_datafusion::Functions;
//! use datafusion::prelude::{ParquetReadOptions, SessionContext};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let blip2 = Blip2Pipeline::from_pretrained("../../blip2-cli/demo")?;
//! let ctx = SessionContext::new();
//! Functions::new(blip2)?
//!     .with_folder("../../examples/images")
//!     .register(&ctx)?;
//!
//! let sql = "SELECT blip2_answer(path, 'what color is the shape?') AS color
//!            FROM (VALUES ('red-triangle.png'), ('blue-circle.png')) AS photos (path)";
//! let rows = ctx.sql(sql).await?.collect().await?;
//! println!("{}", datafusion::arrow::util::pretty::pretty_format_batches(&rows)?);
//! # Ok(())
//! # }
//! ```
//!
//! | function | of which models | gives |
//! |---|---|---|
//! | `blip2_caption(image)` | those that describe | text |
//! | `blip2_answer(image, question)` | those that answer | text |
//! | `blip2_match(image, text)` | those of retrieval | the probability that they match |
//! | `blip2_embed(image)` | all | a vector, or one for each query of BLIP-2's retrieval |
//! | `blip2_embed_text(text)` | those of retrieval | a vector in the space of the pictures' |
//! | `blip2_similarity(a, b)` | needs none | the cosine of two embeddings |
//!
//! `image` is a column of files' bytes (`BYTEA`, in Arrow binary of any width), of texts (`VARCHAR`), or
//! the struct of `bytes` and `path` that the data sets of the Hugging Face hub have. A text is the URL of a
//! file in an object store that is registered with DataFusion, or, where [`Functions::with_folder`] allows
//! it, a file below that folder. Nothing else is fetched: a URL of a store that is not registered is the
//! fault of its row.
//!
//! Where an argument is NULL, so is the result. A row that fails ends the query with an error that says
//! what is wrong with it, or gives NULL with [`OnError::Null`]. Types are checked while the query is
//! planned.
//!
//! # How rows become batches
//!
//! The functions are asynchronous: DataFusion hands them as many rows as `datafusion.execution.batch_size`
//! says, they cut these into the model's batches ([`Functions::with_batch`]), fetch and decode one batch
//! while the model computes the one before, and the model runs on threads for blocking work. The engine's
//! own default of 8,192 rows would hold gigabytes of pictures; [`Functions::register`] lowers it, and
//! [`Functions::configured`] does so for a configuration of your own.
//!
//! DataFusion 55 evaluates asynchronous functions in the lists of `SELECT` and in `WHERE`; elsewhere
//! (`ORDER BY`, `JOIN … ON`, an argument of another such function) name the result in a subquery first.
//!
//! # Without a model
//!
//! Whoever only plans, as the scheduler of a cluster or its clients do, needs the functions' types and no
//! weights: [`Functions::declared`] reads them from the checkpoint's configuration.

mod ask;
mod call;
mod cells;
mod engine;
mod error;
mod function;
mod functions;
mod model;
mod pictures;
mod run;
mod shape;
mod similarity;
mod verb;

pub use error::{FunctionError, RowError};
pub use functions::{Functions, OnError};
pub use model::{Loading, Model};
pub use similarity::similarity;

/// Registers a model's functions with the usual settings: [`Functions::new`], then
/// [`Functions::register`].
///
/// # Errors
///
/// As these.
pub fn register(
    ctx: &datafusion::prelude::SessionContext,
    model: impl Into<Model>,
) -> Result<(), FunctionError> {
    Functions::new(model)?.register(ctx)
}
