//! BLIP-2 on a cluster of machines: [Apache Ballista](https://datafusion.apache.org/ballista/) with
//! the functions of [`blip2_datafusion`].
//!
//! | program | what it is |
//! |---|---|
//! | `blip2-scheduler` | plans queries and hands their tasks out; it reads a model's configuration and no weights |
//! | `blip2-executor` | runs tasks with one model, which it loads once |
//! | `blip2-sql` | runs a query over a table's files, each by itself, on the cluster or on this machine alone, and goes on where it was stopped |
//!
//! The page `docs/scale.md` of the repository shows a cluster by four commands, in containers and on
//! Kubernetes. From a program of one's own, [`Session`] gives contexts of DataFusion that compute on the
//! cluster, and [`Job`] is what `blip2-sql` runs:
//!
//! ```no_run
//! use blip2_ballista::Session;
//! use blip2_datafusion::Functions;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let functions = Functions::declared("models/blip2-opt-2.7b")?;
//! let session = Session::remote("df://scheduler:50050", &functions)?;
//! let ctx = session.context(16).await?;
//! ctx.register_parquet("photos", "/data/photos", Default::default()).await?;
//! ctx.sql("SELECT name, blip2_caption(image) FROM photos").await?.show().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What travels is a function's name: scheduler, executors and clients must have functions of one model, or
//! a query fails where its types disagree.

mod error;
mod executor;
pub mod job;
#[doc(hidden)]
pub mod program;
mod scheduler;
mod session;

pub use error::ClusterError;
pub use executor::Executor;
pub use job::{Job, Summary};
pub use scheduler::Scheduler;
pub use session::Session;
