//! What a device is made to do, counted where it is told to.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
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

/// What watches now.
static WATCHING: Mutex<Weak<Launches>> = Mutex::new(Weak::new());

/// What some work makes a device do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    launches: u64,
    own: u64,
    moved: u64,
}

impl Made {
    /// Counts it once more.
    pub(super) fn again(self) {
        MOVED.fetch_add(self.moved, Ordering::Relaxed);
        let watching = WATCHING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(launches) = watching.upgrade() {
            launches.all.fetch_add(self.launches, Ordering::Relaxed);
            launches.own.fetch_add(self.own, Ordering::Relaxed);
            launches.look();
        }
    }
}

/// One recording at a time: each is observed in the place of whoever observed before.
static RECORDING: Mutex<()> = Mutex::new(());

/// Counts what is recorded and not done, apart from all else.
pub(super) struct Counting {
    launches: Arc<Launches>,
    moved_before: u64,
    _watching: LaunchObservation,
    _alone: MutexGuard<'static, ()>,
}

impl Counting {
    pub(super) fn new() -> Self {
        let alone = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
        let launches = Arc::new(Launches::default());
        Self {
            _alone: alone,
            _watching: LaunchObservation::new(launches.clone()),
            launches,
            moved_before: MOVED.load(Ordering::Relaxed),
        }
    }

    pub(super) fn end(self) -> Made {
        let moved = MOVED.load(Ordering::Relaxed) - self.moved_before;
        MOVED.fetch_sub(moved, Ordering::Relaxed);
        let [launches, own] = self.launches.counts();
        Made {
            launches,
            own,
            moved,
        }
    }
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
        self.look();
    }
}

impl Launches {
    /// What a kernel reads and writes is there when it is launched.
    fn look(&self) {
        let usage = self.device.as_ref().and_then(Device::memory_pool_usage);
        if let Some(usage) = usage {
            self.peak.fetch_max(usage.bytes_in_use, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> [u64; 2] {
        [&self.all, &self.own].map(|count| count.load(Ordering::Relaxed))
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
        *WATCHING.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&launches);
        Self {
            _watching: LaunchObservation::new(launches.clone()),
            launches,
            moved_before: MOVED.load(Ordering::Relaxed),
            read_before: READ.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn launches(&self) -> [u64; 2] {
        self.launches.counts()
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
