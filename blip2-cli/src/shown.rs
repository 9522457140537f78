//! What a command is shown: a picture, or a video where the model looks at videos.

use std::path::Path;

use blip2_core::{
    CheckpointFolder, Picture, Video, open_image,
    video::{VideoError, VideoOptions},
};
use image::RgbImage;

use crate::{Failure, args::ModelArgs};

/// A picture or a video.
pub(crate) enum Shown {
    Picture(RgbImage),
    Video(Video),
}

/// How many frames the model of `--model` looks at together. Known before the model is loaded for
/// minutes, so that a picture that cannot be opened is refused before that too. What is wrong with
/// the folder is left to loading to tell.
pub(crate) fn frames(args: &ModelArgs) -> usize {
    let Some(folder) = &args.model else {
        return 1;
    };
    CheckpointFolder::open(folder)
        .and_then(|folder| folder.config())
        .map_or(1, |config| config.model_type.num_frames())
}

impl Shown {
    /// Opens a picture, or `frames` frames of a folder of frames or an animated file.
    pub(crate) fn open(path: &Path, frames: usize) -> Result<Self, Failure> {
        if frames > 1 {
            let video = Video::open(path, frames, &VideoOptions::default());
            return video
                .map(Self::Video)
                .map_err(|error: VideoError| Failure::work(error));
        }
        if path.is_dir() {
            return Err(Failure::Work(format!(
                "{}: a folder, but the model looks at single pictures; give it one, or a model of \
                 videos",
                path.display()
            )));
        }
        open_image(path).map(Self::Picture).map_err(Failure::work)
    }
}

impl<'s> From<&'s Shown> for Picture<'s> {
    fn from(shown: &'s Shown) -> Self {
        match shown {
            Shown::Picture(image) => image.into(),
            Shown::Video(video) => video.into(),
        }
    }
}
