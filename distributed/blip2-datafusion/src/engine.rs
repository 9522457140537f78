//! What all functions of one model share.

use blip2_core::{Blip2Error, ErrorKind};
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

/// Whether an error is one row's own, and others may go well.
pub(crate) fn is_of_row(error: &Blip2Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Input | ErrorKind::Limit | ErrorKind::Generation
    )
}
