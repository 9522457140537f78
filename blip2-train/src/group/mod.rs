//! Processes that train one model together.

mod agree;
#[cfg(feature = "mpi")]
mod mpi;
mod processes;
mod tensors;

pub use agree::agreed;
pub(crate) use agree::together;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use processes::{Alone, Group};
pub(crate) use tensors::{rows_of_all, sent, summed, told};
