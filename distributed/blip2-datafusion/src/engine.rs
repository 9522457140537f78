//! What all functions of one model share.

use tokio::sync::Semaphore;

use crate::{ask::Ask, functions::OnError, model::Model, pictures::Sources};

/// A model with the settings of its functions.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) model: Model,
    pub(crate) ask: Ask,
    pub(crate) sources: Sources,
    /// How many rows the model computes together.
    pub(crate) batch: usize,
    pub(crate) on_error: OnError,
    /// How many batches may be in the model at a time: each takes its memory, and all threads.
    pub(crate) calls: Semaphore,
}
