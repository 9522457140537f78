//! Stopping a running generation from elsewhere, or at a point in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::output::FinishReason;

/// A flag that stops the generations it was given to before their next model step.
///
/// Clones share the flag, so that one may sit in another thread. What had been generated is
/// returned, with [`FinishReason::Cancelled`], or with [`FinishReason::Deadline`] where the token
/// has a [deadline](Self::until) that has passed.
///
/// ```
/// use std::{thread, time::Instant};
///
/// use blip2_lm::generate::{CancelToken, FinishReason};
///
/// let cancel = CancelToken::new(); // to a `Generator`
/// let late = cancel.until(Instant::now()); // the same, with a deadline that has passed
/// assert_eq!((cancel.reason(), late.reason()), (None, Some(FinishReason::Deadline)));
///
/// let elsewhere = cancel.clone();
/// thread::spawn(move || elsewhere.cancel()).join().expect("no panic");
/// assert_eq!(cancel.reason(), Some(FinishReason::Cancelled));
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    flag: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same flag, which also stops at `deadline`, or at the deadline it has already if that is
    /// earlier.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let earliest = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self {
            flag: Arc::clone(&self.flag),
            deadline: Some(earliest),
        }
    }

    /// Cancels, for good.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Release);
    }

    /// Whether someone has cancelled, or the deadline has passed.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why what was given the token has to stop; `None` as long as it has not.
    pub fn reason(&self) -> Option<FinishReason> {
        if self.flag.load(Ordering::Acquire) {
            return Some(FinishReason::Cancelled);
        }
        let passed = self.deadline.is_some_and(|end| Instant::now() >= end);
        passed.then_some(FinishReason::Deadline)
    }

    /// The reason of a sequence that ended because it was stopped.
    pub(super) fn stopped(&self) -> FinishReason {
        self.reason().unwrap_or(FinishReason::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_stops_and_the_flag_goes_before_it() {
        let token = CancelToken::new();
        let now = Instant::now();
        let late = token.until(now + Duration::from_secs(3600));
        assert_eq!((late.reason(), token.reason()), (None, None));
        let passed = late.until(now);
        assert_eq!(passed.reason(), Some(FinishReason::Deadline));
        assert_eq!(
            passed.until(now + Duration::from_secs(9)).reason(),
            Some(FinishReason::Deadline),
            "the earlier one holds"
        );
        token.cancel();
        assert_eq!(passed.reason(), Some(FinishReason::Cancelled));
        assert!(late.is_cancelled());
    }
}
