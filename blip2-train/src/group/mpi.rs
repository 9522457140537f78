//! A group over MPI.

use std::fmt;

use mpi::{
    Count, Threading,
    collective::SystemOperation,
    datatype::PartitionMut,
    environment::Universe,
    topology::SimpleCommunicator,
    traits::{Communicator, CommunicatorCollectives, Root},
};

use super::processes::Group;
use crate::error::TrainError;

/// The processes that `mpirun` began, over MPI.
///
/// A process that ends while it unwinds from a panic ends all of them: the others would wait for it. One
/// that is killed is seen by `mpirun`, which ends the others.
///
/// ```no_run
/// use blip2_train::{Group, Mpi};
///
/// let Some(group) = Mpi::begin() else {
///     panic!("another part of the program has begun MPI already");
/// };
/// println!("process {} of {}", group.rank(), group.size());
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "mpi")))]
pub struct Mpi {
    world: SimpleCommunicator,
    /// Ends MPI when it is dropped, which waits for the other processes.
    _universe: Universe,
}

/// What MPI counts in one call is an `i32`.
const MOST: usize = 1 << 30;

impl Mpi {
    /// Joins the others. `None` where MPI has begun before: it does once in a process.
    pub fn begin() -> Option<Self> {
        // This thread alone calls MPI; the others compute.
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)?;
        Some(Self {
            world: universe.world(),
            _universe: universe,
        })
    }

    /// Ends all processes at once.
    pub fn abort(&self, code: i32) -> ! {
        self.world.abort(code)
    }

    /// How many bytes each process brings.
    fn counts(&self, own: usize) -> Vec<u64> {
        let mut counts = vec![0u64; self.size()];
        self.world.all_gather_into(&(own as u64), &mut counts[..]);
        counts
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort(101);
        }
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mpi(process {} of {})", self.rank(), self.size())
    }
}

impl Group for Mpi {
    fn rank(&self) -> usize {
        usize::try_from(self.world.rank()).unwrap_or_default()
    }

    fn size(&self) -> usize {
        usize::try_from(self.world.size()).unwrap_or(1)
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), TrainError> {
        for part in values.chunks_mut(MOST) {
            let own = part.to_vec();
            let sum = SystemOperation::sum();
            self.world.all_reduce_into(&own[..], part, sum);
        }
        Ok(())
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TrainError> {
        let counts = self.counts(own.len());
        let mut found: Vec<Vec<u8>> = vec![Vec::new(); counts.len()];
        let most = counts.iter().copied().max().unwrap_or(0) as usize;
        // All of them together in one call.
        let step = MOST / counts.len().max(1);
        for first in (0..most).step_by(step.max(1)) {
            let part = |count: u64| (count as usize).saturating_sub(first).min(step);
            let sizes: Vec<usize> = counts.iter().map(|&count| part(count)).collect();
            let places = sizes.iter().scan(0, |place, size| {
                let own = *place;
                *place += size;
                Some(own)
            });
            let places: Vec<Count> = places.map(|place| place as Count).collect();
            let counts: Vec<Count> = sizes.iter().map(|&size| size as Count).collect();
            let begin = first.min(own.len());
            let own = &own[begin..begin + part(own.len() as u64)];
            let mut all = vec![0u8; sizes.iter().sum()];
            let mut parts = PartitionMut::new(&mut all[..], counts, places);
            self.world.all_gather_varcount_into(own, &mut parts);
            let mut rest = all.as_slice();
            for (found, size) in found.iter_mut().zip(sizes) {
                let (part, others) = rest.split_at(size);
                found.extend_from_slice(part);
                rest = others;
            }
        }
        Ok(found)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), TrainError> {
        let root = self.world.process_at_rank(0);
        let mut count = bytes.len() as u64;
        root.broadcast_into(&mut count);
        bytes.resize(count as usize, 0);
        for part in bytes.chunks_mut(MOST) {
            root.broadcast_into(part);
        }
        Ok(())
    }
}
