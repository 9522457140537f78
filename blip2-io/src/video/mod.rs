//! Videos: frames that were decoded elsewhere, a folder of frames, or an animated GIF, PNG or
//! WebP.
//!
//! A model looks at a few frames of a video, chosen evenly: of `n` frames those numbered
//! `floor(i · n / count)` for `i` below `count`, as LAVIS and the examples of `transformers` choose
//! them. Video containers are not decoded; `ffmpeg -i video.mp4 frames/%05d.png` makes a folder of
//! frames.
//!
//! ```
//! use blip2_io::video::Video;
//!
//! let frames = (0..10).map(|n| image::RgbImage::from_pixel(8, 6, image::Rgb([n; 3]))).collect();
//! let seen = Video::new(frames)?.sample(4)?;
//! let levels: Vec<u8> = seen.frames().iter().map(|frame| frame.get_pixel(0, 0)[0]).collect();
//! assert_eq!(levels, [0, 2, 5, 7]);
//! # Ok::<(), blip2_io::video::VideoError>(())
//! ```

mod animation;
mod error;
mod folder;

use std::path::Path;

use image::RgbImage;

use crate::image::DecodeOptions;

pub use error::VideoError;

/// The frames of a video, or those that a model is to look at, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    frames: Vec<RgbImage>,
}

/// How videos are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoOptions {
    /// How each frame is decoded, and how large it may be.
    pub decode: DecodeOptions,
    /// The most frames of a file or folder. Default 10,000.
    pub max_frames: usize,
    /// The most pixels of all frames of a file together, which bounds the time that counting them
    /// takes. Default 2 billion: 1,000 frames of 1080p.
    pub max_total_pixels: u64,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self {
            decode: DecodeOptions::default(),
            max_frames: 10_000,
            max_total_pixels: 2_073_600_000,
        }
    }
}

impl VideoOptions {
    /// These options with frames decoded so.
    #[must_use]
    pub fn decode(mut self, decode: DecodeOptions) -> Self {
        self.decode = decode;
        self
    }

    fn check_count(&self, frames: usize) -> Result<(), VideoError> {
        if frames > self.max_frames {
            return Err(VideoError::Limit {
                what: "frames",
                limit: self.max_frames as u64,
                option: "max_frames",
            });
        }
        Ok(())
    }
}

impl Video {
    /// A video of decoded frames.
    ///
    /// # Errors
    ///
    /// [`VideoError::Empty`] without frames.
    pub fn new(frames: Vec<RgbImage>) -> Result<Self, VideoError> {
        if frames.is_empty() {
            return Err(VideoError::Empty);
        }
        Ok(Self { frames })
    }

    /// Opens `count` frames, evenly chosen, of a folder of frames or an animated file. Only those
    /// are decoded of a folder, and only those are kept of a file.
    ///
    /// The frames of a folder are its pictures in the order of their names, with the numbers in
    /// them compared as numbers; other files are passed over.
    ///
    /// # Errors
    ///
    /// [`VideoError`], which tells apart what is no video, holds fewer frames than are wanted, is
    /// over a limit, and is damaged.
    pub fn open(
        path: impl AsRef<Path>,
        count: usize,
        options: &VideoOptions,
    ) -> Result<Self, VideoError> {
        let path = path.as_ref();
        let opened = if path.is_dir() {
            folder::open(path, count, options)
        } else {
            animation::open(path, count, options)
        };
        opened
            .and_then(Self::new)
            .map_err(|error| error.in_file(path))
    }

    /// `count` of the frames, evenly chosen.
    ///
    /// # Errors
    ///
    /// [`VideoError::TooFew`] if there are fewer, and [`VideoError::Empty`] if `count` is 0.
    pub fn sample(&self, count: usize) -> Result<Self, VideoError> {
        let chosen = chosen(self.frames.len(), count)?;
        Self::new(chosen.map(|n| self.frames[n].clone()).collect())
    }

    /// The frames.
    pub fn frames(&self) -> &[RgbImage] {
        &self.frames
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no frames; never true of a constructed value.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// The numbers of `count` evenly chosen ones of so many frames, in their order.
fn chosen(frames: usize, count: usize) -> Result<impl Iterator<Item = usize>, VideoError> {
    if frames < count {
        return Err(VideoError::TooFew {
            found: frames,
            wanted: count,
        });
    }
    Ok((0..count).map(move |i| i * frames / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `np.arange(0, frames, frames / 4).astype(int)`.
    #[test]
    fn frames_are_chosen_as_the_reference_chooses_them() {
        for (frames, expected) in [
            (4, [0, 1, 2, 3]),
            (5, [0, 1, 2, 3]),
            (7, [0, 1, 3, 5]),
            (10, [0, 2, 5, 7]),
            (31, [0, 7, 15, 23]),
            (1000, [0, 250, 500, 750]),
        ] {
            let found: Vec<_> = chosen(frames, 4).unwrap().collect();
            assert_eq!(found, expected, "{frames}");
        }
        assert!(chosen(3, 4).is_err());
        assert!(matches!(Video::new(vec![]), Err(VideoError::Empty)));
    }
}
