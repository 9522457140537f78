//! How far a load has come.

use std::{fmt, sync::Arc};

/// How far a load has come. Told once at its beginning and then after each tensor; when it is over,
/// what is done is what there is.
///
/// Displays as `12 of 167 tensors, 3.1 of 42.0 MB`.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use blip2_core::{Blip2Pipeline, LoadProgress};
///
/// let last = Arc::new(Mutex::new(LoadProgress::default()));
/// let told = Arc::clone(&last);
/// Blip2Pipeline::builder("../blip2-cli/demo")
///     .progress(move |progress| *told.lock().expect("no panic") = progress)
///     .load()?;
/// assert_eq!(last.lock().expect("no panic").fraction(), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// The tensors that have been read.
    pub tensors_done: usize,
    /// All tensors of the model.
    pub tensors: usize,
    /// The bytes that those that have been read take in their files; of random weights, as `f32`.
    pub bytes_done: u64,
    /// The bytes of all.
    pub bytes: u64,
}

impl LoadProgress {
    /// The part of the bytes that is done, in [0, 1].
    pub fn fraction(&self) -> f64 {
        match self.bytes {
            0 => 1.0,
            bytes => self.bytes_done as f64 / bytes as f64,
        }
    }
}

impl fmt::Display for LoadProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{} of {} tensors, {:.1} of {:.1} MB",
            self.tensors_done,
            self.tensors,
            megabytes(self.bytes_done),
            megabytes(self.bytes)
        )
    }
}

/// Who is told.
#[derive(Clone)]
pub(crate) struct Listener(Arc<dyn Fn(LoadProgress) + Send + Sync>);

impl Listener {
    pub(super) fn new(listener: impl Fn(LoadProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(super) fn tell(&self, progress: LoadProgress) {
        (self.0)(progress);
    }
}
