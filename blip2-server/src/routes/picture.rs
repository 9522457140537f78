//! The pictures and videos that requests bring.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::generation::few;
use crate::{
    app::{App, off_thread},
    error::ApiError,
    http::{
        fetch::fetch,
        fields::{FromValue, wrong},
    },
    picture::{Source, Upload, source},
};

/// The most pictures of a video: a model reads a few of them.
pub(crate) const FRAMES: usize = 64;

/// A picture as a data: URL; for a model of videos an animated one, or one for each frame.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Image {
    One(String),
    Frames(Vec<String>),
}

impl Image {
    fn into_urls(self) -> Vec<String> {
        match self {
            Self::One(url) => vec![url],
            Self::Frames(urls) => urls,
        }
    }
}

impl FromValue for Image {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        match value {
            Value::String(url) => Ok(Self::One(url)),
            Value::Array(_) => Vec::from_value(value, at).map(Self::Frames),
            other => Err(wrong(at, "a data: URL or a list of them", &other)),
        }
    }
}

/// The picture, or video, of a request: in its body, or beside it.
pub(crate) async fn picture(
    app: &App,
    image: Option<Image>,
    files: Vec<Bytes>,
) -> Result<Upload, ApiError> {
    let urls = image.map(Image::into_urls).unwrap_or_default();
    match (urls.is_empty(), files.is_empty()) {
        (false, true) => by_urls(app, urls, "image").await,
        (true, false) => {
            check_count(app, files.len(), "image")?;
            off_thread(move || Ok(Upload::new(files))).await
        }
        (true, true) => Err(ApiError::invalid("there is no picture").with_param("image")),
        (false, false) => Err(ApiError::invalid("send one picture").with_param("image")),
    }
}

/// A picture, or video, by URLs that hold its files or say where they are.
pub(crate) async fn by_urls(
    app: &App,
    urls: Vec<String>,
    param: &'static str,
) -> Result<Upload, ApiError> {
    check_count(app, urls.len(), param)?;
    let limits = app.settings().limits;
    // What is fetched is no part of the body, and all of it together is bounded as that is.
    let mut room = limits.body_bytes;
    let read = async {
        let mut files = Vec::with_capacity(urls.len());
        for url in urls {
            let bytes = by_url(app, url, room, param).await?;
            room = room.saturating_sub(bytes.len());
            files.push(bytes);
        }
        off_thread(move || Ok(Upload::new(files))).await
    };
    timeout(limits.time, read)
        .await
        .unwrap_or_else(|_| Err(ApiError::timeout()))
}

async fn by_url(
    app: &App,
    url: String,
    most: usize,
    param: &'static str,
) -> Result<Bytes, ApiError> {
    let read = off_thread(move || {
        Ok(match source(&url, param)? {
            Source::Data(bytes) => Ok(bytes),
            Source::Remote => Err(url),
        })
    });
    match read.await? {
        Ok(bytes) => Ok(bytes),
        Err(url) => fetch(app, &url, most, param).await,
    }
}

/// Refuses several pictures for a model that looks at one.
fn check_count(app: &App, count: usize, param: &str) -> Result<(), ApiError> {
    // All models are one, with other adapters.
    let frames = app
        .models()
        .first()
        .map_or(1, |served| served.model.frames());
    match frames {
        1 if count > 1 => Err(ApiError::invalid(
            "there are several pictures, and this model looks at one at a time",
        )
        .with_param(param)),
        _ => few(param, "pictures", count, FRAMES).map(drop),
    }
}
