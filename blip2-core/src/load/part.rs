//! A handle of a part of a model.

use std::{ops::Deref, sync::Arc};

/// A part of what was loaded, held by a handle of the whole: what a decode keeps of its model.
pub(crate) struct Part<W, P> {
    whole: Arc<W>,
    part: fn(&W) -> &P,
}

impl<W, P> Part<W, P> {
    pub(crate) fn new(whole: &Arc<W>, part: fn(&W) -> &P) -> Self {
        let whole = Arc::clone(whole);
        Self { whole, part }
    }
}

impl<W, P> Deref for Part<W, P> {
    type Target = P;

    fn deref(&self) -> &P {
        (self.part)(&self.whole)
    }
}
