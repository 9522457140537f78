//! A step of training on the pool's own threads.

use super::{kept::ActivationFormat, recompute, share};

/// Runs something on one of the current `rayon` pool's threads: what it shares out then wakes the
/// others alone, and the caller need not be woken in the end of each.
///
/// What is bound to the calling thread, as is what [`Recompute`](crate::recompute::Recompute)
/// remembers, stays there.
pub fn in_pool<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() == 1 || recompute::is_on() {
        return run();
    }
    let (share, format) = (share::remembered(), ActivationFormat::current());
    rayon::scope(|_| format.during(|| share::within(share, run)))
}
