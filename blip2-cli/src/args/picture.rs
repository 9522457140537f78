//! Which pictures of a file, and how they are read.

use std::str::FromStr;

use clap::Args;

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PictureArgs {
    /// Which frame of an animated GIF, PNG or WebP, or page of a TIFF, a model of single pictures is
    /// shown: its number, from 1, or, by answer, caption, embed and index add, all of them one after another.
    /// Default: the first, with a note.
    #[arg(long, value_name = "N|all")]
    pub(crate) frame: Option<FrameChoice>,
    /// Leave pictures as their pixels are stored, whatever their EXIF says of how the camera was held.
    #[arg(long)]
    pub(crate) ignore_orientation: bool,
    /// Take pictures by their URLs (http and https) too: of public servers, up to 64 MiB each, within 30
    /// seconds.
    #[cfg(feature = "urls")]
    #[arg(long)]
    pub(crate) allow_urls: bool,
}

impl PictureArgs {
    /// Whether pictures are taken by their URLs.
    #[cfg(feature = "tables")]
    pub(crate) fn allows_urls(self) -> bool {
        #[cfg(feature = "urls")]
        let allows = self.allow_urls;
        #[cfg(not(feature = "urls"))]
        let allows = false;
        allows
    }
}

/// Frames of an animation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameChoice {
    /// One of them, counted from 0.
    One(usize),
    All,
}

impl FromStr for FrameChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse::<usize>()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(number @ 1..)) => Ok(Self::One(number - 1)),
            _ => Err("give a frame's number, from 1, or all"),
        }
    }
}
