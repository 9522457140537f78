//! When a call is to stop before its end.

use std::time::{Duration, Instant};

use blip2_lm::generate::CancelToken;

/// A token that stops a call, and the time that it may take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub(crate) cancel: CancelToken,
    pub(crate) timeout: Option<Duration>,
}

impl Stop {
    /// The same of the calls that one call is made of, which end at one time.
    pub(super) fn shared(&self) -> Self {
        Self {
            cancel: self.begun(),
            timeout: None,
        }
    }

    /// What stops a call that begins now. A time that ends beyond the clock's is none.
    pub(crate) fn begun(&self) -> CancelToken {
        let end = self
            .timeout
            .and_then(|time| Instant::now().checked_add(time));
        match end {
            Some(end) => self.cancel.until(end),
            None => self.cancel.clone(),
        }
    }
}

/// Gives options whose field `stop` is a [`Stop`] their setters; `when` says where it is looked at
/// and what becomes of the call, `example` shows it.
macro_rules! stopping {
    ($options:ident, $when:literal, $example:literal) => {
        impl $options {
            /// Stops the call when `cancel`, or a clone of it, is cancelled.
            ///
            #[doc = $when]
            ///
            #[doc = $example]
            #[must_use]
            pub fn with_cancel(mut self, cancel: blip2_lm::generate::CancelToken) -> Self {
                self.stop.cancel = cancel;
                self
            }

            /// Stops the call at `deadline`, as [`with_cancel`](Self::with_cancel) does. Of several
            /// deadlines the earliest holds; a token that is given later replaces them.
            #[must_use]
            pub fn with_deadline(mut self, deadline: std::time::Instant) -> Self {
                self.stop.cancel = self.stop.cancel.until(deadline);
                self
            }

            /// Stops the call when this time has passed since it began, as
            /// [`with_deadline`](Self::with_deadline) does.
            #[must_use]
            pub fn with_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.stop.timeout = Some(timeout);
                self
            }
        }
    };
}
pub(crate) use stopping;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_from_the_beginning_of_the_call() {
        let stop = |timeout| Stop {
            timeout,
            ..Stop::default()
        };
        assert!(!stop(None).begun().is_cancelled());
        assert!(stop(Some(Duration::ZERO)).begun().is_cancelled());
        assert!(!stop(Some(Duration::from_secs(3600))).begun().is_cancelled());
        assert!(
            !stop(Some(Duration::MAX)).begun().is_cancelled(),
            "beyond the clock"
        );
    }
}
