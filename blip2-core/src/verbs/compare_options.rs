//! What a comparison may ask for.

use blip2_lm::generate::CancelToken;

use super::{
    stage::go_on,
    stop::{Stop, stopping},
};
use crate::error::Blip2Error;

/// Options of a call that compares or embeds: when it stops.
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use std::time::Duration;
///
/// use blip2_core::{Blip2Error, CompareOptions};
///
/// let options = CompareOptions::default().with_timeout(Duration::ZERO);
/// let late = blip2.match_probability_with(&image, "a triangle", &options);
/// assert!(matches!(late, Err(Blip2Error::Deadline)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    stop: Stop,
}

stopping!(
    CompareOptions,
    "It is looked at before each stage (the texts, preparing the pictures, the image encoder, what \
     reads them); the call then fails with [`Cancelled`](crate::Blip2Error::Cancelled) or, at a \
     deadline, with [`Deadline`](crate::Blip2Error::Deadline), since half a comparison is none.",
    ""
);

impl CompareOptions {
    /// What stops a call that begins now; not of a call that is stopped already.
    pub(crate) fn begun(&self) -> Result<CancelToken, Blip2Error> {
        let cancel = self.stop.begun();
        go_on(&cancel)?;
        Ok(cancel)
    }

    /// The options of a call that this token stops.
    pub(crate) fn until(cancel: CancelToken) -> Self {
        let timeout = None;
        Self {
            stop: Stop { cancel, timeout },
        }
    }

    /// The options of the calls that one call is made of, which end at one time.
    pub(crate) fn shared(&self) -> Self {
        Self {
            stop: self.stop.shared(),
        }
    }
}
