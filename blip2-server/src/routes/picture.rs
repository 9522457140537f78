//! The pictures that requests bring.

use bytes::Bytes;

use crate::{
    app::{App, off_thread},
    error::ApiError,
    http::fetch::fetch,
    picture::{Source, Upload, source},
};

/// The picture of a request, in its body or beside it.
pub(crate) async fn picture(
    app: &App,
    url: Option<String>,
    file: Option<Bytes>,
) -> Result<Upload, ApiError> {
    match (url, file) {
        (Some(url), None) => by_url(app, url, "image").await,
        (None, Some(bytes)) => off_thread(move || Ok(Upload::new(bytes))).await,
        (None, None) => Err(ApiError::invalid("there is no picture").with_param("image")),
        (Some(_), Some(_)) => Err(ApiError::invalid("send one picture").with_param("image")),
    }
}

/// A picture by a URL that holds it or says where it is.
pub(crate) async fn by_url(
    app: &App,
    url: String,
    param: &'static str,
) -> Result<Upload, ApiError> {
    let read = off_thread(move || {
        Ok(match source(&url, param)? {
            Source::Data(upload) => Ok(upload),
            Source::Remote => Err(url),
        })
    });
    match read.await? {
        Ok(upload) => Ok(upload),
        Err(url) => fetch(app, &url, param).await,
    }
}
