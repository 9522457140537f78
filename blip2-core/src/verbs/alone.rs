//! A batch of one.

use crate::error::Blip2Error;

/// The only result of a batch of one; its error does not speak of a batch.
pub(crate) fn alone<T>(results: Result<Vec<T>, Blip2Error>) -> Result<T, Blip2Error> {
    let results = results.map_err(Blip2Error::of_item)?;
    results.into_iter().next().ok_or_else(|| Blip2Error::Rows {
        reason: "there is no result".into(),
    })
}
