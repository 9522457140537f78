//! From pictures and files to what an image encoder reads.

use std::path::Path;

use blip2_io::{
    CheckpointFolder,
    preprocessing::{
        DecodeOptions, ImageError, ImageProcessor, ImageProcessorConfig, PixelValues, Size, Sizing,
        decode_bytes, decode_file, to_rgb,
    },
    video::{Video, VideoOptions},
};
use blip2_vision::VisionOptions;
use burn::tensor::{Device, Tensor};
use image::RgbImage;

use super::Settings;
use crate::{error::Blip2Error, picture::Picture};

/// How a member reads pictures.
#[derive(Debug)]
pub struct Pictures {
    pub(crate) processor: ImageProcessor,
    size: Size,
    pub(crate) decode: DecodeOptions,
    pub(crate) vision: VisionOptions,
    /// How many frames are looked at together: those of a video, or 1.
    pub(crate) frames: usize,
}

/// The same preparation at another size. What keeps the aspect and cuts goes on to do so.
fn at_size(config: ImageProcessorConfig, side: u32) -> ImageProcessorConfig {
    let size = Size {
        height: side,
        width: side,
    };
    match (config.do_center_crop, config.size) {
        (true, Sizing::Edge { .. }) => config
            .with_size(Sizing::Edge {
                shortest_edge: side,
                longest_edge: None,
            })
            .with_crop_size(Some(size)),
        _ => config.with_size(size).with_do_center_crop(false),
    }
}

impl Pictures {
    /// As the folder and the settings say.
    pub(crate) fn of(
        folder: &CheckpointFolder,
        settings: &Settings,
        frames: usize,
    ) -> Result<Self, Blip2Error> {
        let mut config = folder.image_processor()?;
        if let Some(side) = settings.image_size {
            config = at_size(config, side);
        }
        config.resizing = settings.resizing.unwrap_or_default();
        let size = config.output_size().ok_or_else(|| ImageError::Config {
            key: "size",
            value: "pictures of many shapes".into(),
            reason: "the model looks at one shape: crop_size is missing, or another image size is to \
                     be given",
        })?;
        Ok(Self {
            size,
            processor: ImageProcessor::new(config)?,
            decode: settings.decode.unwrap_or_default(),
            vision: VisionOptions::default()
                .with_interpolate_pos_encoding(settings.image_size.is_some()),
            frames,
        })
    }

    /// The height and width that pictures are resized to.
    pub(crate) fn size(&self) -> [usize; 2] {
        let Size { height, width } = self.size;
        [height as usize, width as usize]
    }

    pub(crate) fn open(&self, path: &Path) -> Result<RgbImage, Blip2Error> {
        Ok(decode_file(path, &self.decode)?)
    }

    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<RgbImage, Blip2Error> {
        Ok(decode_bytes(bytes, &self.decode)?)
    }

    pub(crate) fn open_video(&self, path: &Path) -> Result<Video, Blip2Error> {
        let options = VideoOptions::default().with_decode(self.decode);
        let video = Video::open(path, self.frames, &options)?;
        if self.frames == 1 {
            let found = Some(video.len());
            return Err(Blip2Error::Frames { found, expected: 1 });
        }
        Ok(video)
    }

    /// What the image encoder reads of pictures, or of videos:
    /// `[batch · frames, 3, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Item`] with the place of the picture at fault.
    pub(crate) fn pixel_values(
        &self,
        pictures: &[Picture<'_>],
        device: &Device,
    ) -> Result<Tensor<4>, Blip2Error> {
        let mut batch = Vec::new();
        for (index, picture) in pictures.iter().enumerate() {
            let frames = self.prepare(picture);
            batch.extend(frames.map_err(|error| Blip2Error::item(index, error))?);
        }
        Ok(PixelValues::stack(batch)?.tensor(device))
    }

    /// A picture, or each frame of a video, prepared.
    fn prepare(&self, picture: &Picture<'_>) -> Result<Vec<PixelValues>, Blip2Error> {
        let found = match picture {
            Picture::Video(video) => Some(video.len()),
            // One is a picture's, more are a video's.
            Picture::Prepared(pixels) => Some(pixels.shape()[0]).filter(|frames| *frames != 1),
            _ => None,
        };
        // A video of one frame is no picture: the caller meant another model.
        if found != (self.frames > 1).then_some(self.frames) {
            let expected = self.frames;
            return Err(Blip2Error::Frames { found, expected });
        }
        let process = |image: &RgbImage| self.processor.process(image);
        Ok(match picture {
            Picture::Dynamic(image) => vec![process(&to_rgb(image, self.decode.transparency))?],
            Picture::Rgb(image) => vec![process(image)?],
            Picture::Video(video) => video
                .frames()
                .iter()
                .map(process)
                .collect::<Result<_, _>>()?,
            Picture::Prepared(pixels) => vec![(*pixels).clone()],
        })
    }
}
