//! What a device is made to do, counted where it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use burn_cubecl::cubecl;
use cubecl::logging::{LaunchObservation, LaunchObserver};

/// Counts the kernels that the whole process launches, on every device, from its making to its
/// [`count`](Self::count).
#[derive(Debug)]
pub struct LaunchCount {
    launches: Arc<Launches>,
    _watching: LaunchObservation,
}

#[derive(Debug, Default)]
struct Launches(AtomicUsize);

impl LaunchObserver for Launches {
    fn launched(&self, _: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl LaunchCount {
    /// Begins to count.
    #[allow(clippy::new_without_default)] // counting is no value
    pub fn new() -> Self {
        let launches = Arc::new(Launches::default());
        Self {
            _watching: LaunchObservation::new(launches.clone()),
            launches,
        }
    }

    /// The launches so far.
    pub fn count(&self) -> usize {
        self.launches.0.load(Ordering::Relaxed)
    }
}
