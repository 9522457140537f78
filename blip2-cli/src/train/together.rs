//! The processes that train together: those that `mpirun` began, or one.

use std::{cell::Cell, env, fs, num::NonZeroUsize, thread};

use blip2_train::{Alone, Group, TrainError, agreed};
use serde::{Serialize, de::DeserializeOwned};

use super::failure;
use crate::{Failure, out};

/// The processes of a training, seen from one of them.
pub(super) struct Together {
    group: Box<dyn Group>,
    /// How many threads this one computes with.
    threads: usize,
    /// Whether the others hear of a failure already, or need not.
    told: Cell<bool>,
}

/// Where starters of processes say how many there are.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];

impl Together {
    /// This process by itself, which computes with all cores.
    pub(super) fn alone() -> Self {
        Self {
            group: Box::new(Alone),
            threads: cores(),
            told: Cell::new(false),
        }
    }

    /// Joins the other processes, if there are any. All but the first are silent from then on.
    pub(super) fn begin() -> Result<Self, Failure> {
        let size = SIZES.iter().find_map(|name| env::var(name).ok());
        let group = joined(size.and_then(|size| size.parse().ok()))?;
        if group.rank() > 0 {
            out::silence();
        }
        let threads = threads(&*group).map_err(failure)?;
        Ok(Self {
            group,
            threads,
            told: Cell::new(false),
        })
    }

    /// Whether this process writes and speaks for all.
    pub(super) fn is_first(&self) -> bool {
        self.group.rank() == 0
    }

    pub(super) fn size(&self) -> usize {
        self.group.size()
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// The group to train in, which tells the others of what fails from then on.
    pub(super) fn training(&self) -> &dyn Group {
        self.told.set(true);
        &*self.group
    }

    /// What the first process finds, for all of them.
    pub(super) fn of_first<T: Serialize + DeserializeOwned>(
        &self,
        find: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let own = match self.is_first() {
            true => Some(find()?),
            false => None,
        };
        let all = agreed(&*self.group, Ok(own)).map_err(|error| {
            self.told.set(true);
            failure(error)
        })?;
        all.into_iter().next().flatten().ok_or_else(|| {
            let text = "the first process has found nothing";
            Failure::Work(text.into())
        })
    }

    /// Ends together with the others: where this process failed before the training began, they wait
    /// for what it has to say.
    pub(super) fn end(self, done: Result<(), Failure>) -> Result<(), Failure> {
        let is_first = self.is_first();
        let error = match &done {
            Ok(()) | Err(Failure::Closed) => return done,
            Err(_) if self.told.get() => None,
            Err(Failure::Interrupted(_)) => Some(TrainError::Cancelled),
            Err(Failure::Work(reason) | Failure::Usage(reason)) => Some(TrainError::Elsewhere {
                rank: self.group.rank(),
                reason: reason.clone(),
            }),
        };
        if let Some(error) = error {
            // That it is heard is all that is wanted.
            let _ = agreed::<String>(&*self.group, Err(error));
        }
        // MPI ends all processes when one ends in failure: the first alone does, once it has said why.
        match is_first {
            true => done,
            false => Ok(()),
        }
    }
}

#[cfg(feature = "mpi")]
fn joined(size: Option<usize>) -> Result<Box<dyn Group>, Failure> {
    let started = size.is_some() || env::var_os("PMIX_RANK").is_some();
    // Without a starter, MPI would begin one of its own.
    if !started {
        return Ok(Box::new(Alone));
    }
    let group = blip2_train::Mpi::begin().ok_or_else(|| {
        let text = "MPI does not begin: it has begun in this process before";
        Failure::Work(text.into())
    })?;
    Ok(Box::new(group))
}

#[cfg(not(feature = "mpi"))]
fn joined(size: Option<usize>) -> Result<Box<dyn Group>, Failure> {
    if let Some(size) = size.filter(|size| *size > 1) {
        return Err(Failure::Work(format!(
            "this is one of {size} processes, and the program was built without MPI, so that each would \
             train by itself: build it with `--features mpi`, or start one"
        )));
    }
    Ok(Box::new(Alone))
}

/// Has this process compute with its share of the machine's cores, unless `RAYON_NUM_THREADS` says how
/// many threads it has. Processes that were bound to cores of their own have those; the others share.
fn threads(group: &dyn Group) -> Result<usize, TrainError> {
    let cores = cores();
    if group.size() == 1 || env::var_os("RAYON_NUM_THREADS").is_some() {
        return Ok(cores);
    }
    let own = place();
    let all = group.gather(own.as_bytes())?;
    let beside = all.iter().filter(|other| **other == own.as_bytes());
    let threads = (cores / beside.count().max(1)).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    // Where there is a pool already, it stays.
    let _ = pool.build_global();
    Ok(threads)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The machine, and the cores of it that this process may run on, as far as the system says so.
fn place() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cores = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    format!("{host} {}", cores.unwrap_or_default())
}
