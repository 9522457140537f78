//! What processes that train together do together.

use crate::error::TrainError;

/// Processes that train one model together, seen from one of them.
///
/// All of them make the same calls, in the same order: each waits until all others have made it. What
/// is written here once for any number of processes thereby runs on one ([`Alone`]), over MPI (`Mpi`,
/// with the feature `mpi`), and between the threads of a test.
pub trait Group {
    /// The number of this process, from 0. Number 0 alone reads and writes states.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn size(&self) -> usize;

    /// Puts the sums over all processes, the same for each of them, in the places of these numbers, of
    /// which every process has as many.
    ///
    /// # Errors
    ///
    /// [`TrainError::Group`] if another process is gone.
    fn sum(&self, values: &mut [f32]) -> Result<(), TrainError>;

    /// What each process brings, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TrainError>;

    /// Puts what process 0 has in the place of what the others have.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), TrainError>;
}

/// A process that trains by itself.
///
/// ```
/// use blip2_train::{Alone, Group};
///
/// assert_eq!((Alone.rank(), Alone.size()), (0, 1));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _: &mut [f32]) -> Result<(), TrainError> {
        Ok(())
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TrainError> {
        Ok(vec![own.to_vec()])
    }

    fn broadcast(&self, _: &mut Vec<u8>) -> Result<(), TrainError> {
        Ok(())
    }
}
