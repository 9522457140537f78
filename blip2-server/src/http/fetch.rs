//! Pictures by their URLs, where that is allowed.

use bytes::Bytes;

use crate::{app::App, error::ApiError};

/// Fetches a picture of at most `most` bytes from a public server.
///
/// # Errors
///
/// Where it is not allowed, and for whatever goes wrong on the way.
#[cfg(feature = "urls")]
pub(crate) async fn fetch(
    app: &App,
    url: &str,
    most: usize,
    param: &str,
) -> Result<Bytes, ApiError> {
    use blip2_io::remote::Fetch;

    use crate::app::off_thread;

    if !app.settings().allow_urls {
        return Err(not_allowed(param));
    }
    let fetch = Fetch::default()
        .with_max_bytes(most as u64)
        .with_timeout(app.settings().limits.time);
    let leave = app.fetching().clone().acquire_owned().await;
    let (url, param) = (url.to_string(), param.to_string());
    off_thread(move || {
        let _leave = leave;
        let bytes = fetch.bytes(&url).map_err(|error| {
            // The reason may speak of the network in here.
            tracing::info!(%error, "a picture was not fetched");
            ApiError::invalid("the picture could not be fetched from its URL").with_param(&param)
        })?;
        Ok(bytes.into())
    })
    .await
}

/// Refuses: this build fetches nothing.
#[cfg(not(feature = "urls"))]
pub(crate) async fn fetch(_: &App, _: &str, _: usize, param: &str) -> Result<Bytes, ApiError> {
    Err(not_allowed(param))
}

fn not_allowed(param: &str) -> ApiError {
    ApiError::invalid("this server fetches no URLs: send the picture itself as a data: URL")
        .with_param(param)
}
