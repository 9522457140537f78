//! Where a picture's bytes are: in a file, or at a URL where those are allowed.

use std::path::Path;

use blip2_core::preprocessing::{
    DecodeOptions, ImageError, decode_bytes, decode_file, decode_frames, decode_frames_bytes,
};
use image::RgbImage;

use crate::{Failure, args::picture::PictureArgs};

/// A picture that can be decoded.
pub(crate) enum Source<'p> {
    File(&'p Path),
    Fetched(&'p Path, Vec<u8>),
}

impl<'p> Source<'p> {
    /// The file, or what is fetched from the URL.
    pub(crate) fn open(path: &'p Path, args: PictureArgs) -> Result<Self, Failure> {
        match url(path) {
            None => Ok(Self::File(path)),
            Some(url) => fetched(url, args).map(|bytes| Self::Fetched(path, bytes)),
        }
    }

    pub(crate) fn decode(&self, options: &DecodeOptions) -> Result<RgbImage, ImageError> {
        match self {
            Self::File(path) => decode_file(path, options),
            Self::Fetched(path, bytes) => decode_bytes(bytes, options).map_err(within(path)),
        }
    }

    pub(crate) fn frames(&self, options: &DecodeOptions) -> Result<Vec<RgbImage>, ImageError> {
        match self {
            Self::File(path) => decode_frames(path, options),
            Self::Fetched(path, bytes) => decode_frames_bytes(bytes, options).map_err(within(path)),
        }
    }
}

/// A path as the URL that it is, unless it is a file.
pub(crate) fn url(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let scheme = text.split_once("://")?.0.to_ascii_lowercase();
    let is_url = ["http", "https"].contains(&scheme.as_str());
    (is_url && !path.exists()).then_some(text)
}

fn within(path: &Path) -> impl Fn(ImageError) -> ImageError {
    |error| ImageError::File {
        path: path.to_path_buf(),
        source: Box::new(error),
    }
}

#[cfg(feature = "urls")]
fn fetched(url: &str, args: PictureArgs) -> Result<Vec<u8>, Failure> {
    use blip2_io::remote::Fetch;

    match args.allow_urls {
        true => Fetch::default().bytes(url).map_err(Failure::work),
        false => Err(Failure::Work(format!(
            "{url}: a URL, which is fetched only with --allow-urls"
        ))),
    }
}

#[cfg(not(feature = "urls"))]
fn fetched(url: &str, _: PictureArgs) -> Result<Vec<u8>, Failure> {
    Err(Failure::Work(format!(
        "{url}: a URL, and this build of the program fetches none; download the picture first"
    )))
}
