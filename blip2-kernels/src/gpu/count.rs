//! What a device is made to do, counted where it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use burn::tensor::Device;
use burn_cubecl::cubecl;
use cubecl::logging::{LaunchObservation, LaunchObserver};

/// The bytes that the kernels of this crate have read and written, by the shapes of what they were given.
static MOVED: AtomicU64 = AtomicU64::new(0);

/// The bytes that were read back from devices, by whoever told.
static READ: AtomicU64 = AtomicU64::new(0);

/// As [`crate::device::note_read`].
pub(crate) fn reads(bytes: usize) {
    READ.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// Counts bytes that a kernel reads or writes.
pub(super) fn moves(bytes: usize) {
    MOVED.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// As [`crate::device::Watch`].
#[derive(Debug)]
pub(crate) struct Watch {
    launches: Arc<Launches>,
    moved_before: u64,
    read_before: u64,
    _watching: LaunchObservation,
}

#[derive(Debug, Default)]
struct Launches {
    all: AtomicU64,
    /// Those of kernels of this crate.
    own: AtomicU64,
    /// Whose memory is asked for.
    device: Option<Device>,
    peak: AtomicU64,
}

impl LaunchObserver for Launches {
    fn launched(&self, kernel: &'static str) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if kernel.starts_with(env!("CARGO_CRATE_NAME")) {
            self.own.fetch_add(1, Ordering::Relaxed);
        }
        // What a kernel reads and writes is there when it is launched.
        let usage = self.device.as_ref().and_then(Device::memory_pool_usage);
        if let Some(usage) = usage {
            self.peak.fetch_max(usage.bytes_in_use, Ordering::Relaxed);
        }
    }
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self::by(Launches::default())
    }

    pub(crate) fn of_memory(device: &Device) -> Self {
        Self::by(Launches {
            device: Some(device.clone()),
            ..Launches::default()
        })
    }

    fn by(launches: Launches) -> Self {
        let launches = Arc::new(launches);
        Self {
            _watching: LaunchObservation::new(launches.clone()),
            launches,
            moved_before: MOVED.load(Ordering::Relaxed),
            read_before: READ.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn launches(&self) -> [u64; 2] {
        let Launches { all, own, .. } = &*self.launches;
        [all, own].map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let peak = self.launches.peak.load(Ordering::Relaxed);
        (peak > 0).then_some(peak)
    }

    pub(crate) fn moved(&self) -> u64 {
        MOVED.load(Ordering::Relaxed) - self.moved_before
    }

    pub(crate) fn read(&self) -> u64 {
        READ.load(Ordering::Relaxed) - self.read_before
    }
}
