//! What a command is shown: a picture, or a video where the model looks at videos.

use std::path::Path;

use blip2_core::{
    CheckpointFolder, Picture, Video,
    video::{VideoError, VideoOptions},
};
use image::RgbImage;

use crate::{
    Failure,
    args::{model::ModelArgs, picture::PictureArgs},
    pictures, source,
};

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
    /// Opens what a model of `frames` frames is shown of a file: a video of a folder of frames or an
    /// animated file, or a picture; of an animation all frames one after another, if that is asked for.
    pub(crate) fn open(
        path: &Path,
        frames: usize,
        args: PictureArgs,
        note: impl Fn(&str),
    ) -> Result<Vec<Self>, Failure> {
        if let (true, Some(url)) = (frames > 1, source::url(path)) {
            let text =
                "a URL of one picture, but the model looks at videos; give it a file or a folder";
            return Err(Failure::Work(format!("{url}: {text}")));
        }
        if frames > 1 {
            let decode = pictures::options(args);
            let options = VideoOptions::default().with_decode(decode);
            let video = Video::open(path, frames, &options);
            return video
                .map(|video| vec![Self::Video(video)])
                .map_err(|error: VideoError| Failure::work(error));
        }
        if path.is_dir() {
            return Err(Failure::Work(format!(
                "{}: a folder, but the model looks at single pictures; give it one, or a model of \
                 videos",
                path.display()
            )));
        }
        let opened = pictures::open(path, args, note)?;
        Ok(opened.into_iter().map(Self::Picture).collect())
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
