//! Videos: frames that were decoded elsewhere, a folder of frames, or an animated GIF, PNG or
//! WebP.
//!
//! A model reads a few frames of a video, chosen evenly: of `n` frames those numbered
//! `floor(i · n / count)` for `i` below `count`, as LAVIS and the examples of `transformers` choose
//! them. Video containers are not decoded; `ffmpeg -i video.mp4 frames/%05d.png` makes a folder of
//! frames.
//!
//! ```
//! use blip2_io::{
//!     image::{Rgb, RgbImage},
//!     video::Video,
//! };
//!
//! let frames = (0..10).map(|n| RgbImage::from_pixel(8, 6, Rgb([n; 3]))).collect();
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

use crate::preprocessing::{DecodeOptions, decode_bytes};

pub use error::VideoError;

/// The frames of a video, or those of it that a model reads, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    frames: Vec<RgbImage>,
}

/// How videos are decoded.
///
/// ```
/// use blip2_io::video::VideoOptions;
///
/// let options = VideoOptions::default().with_max_frames(500);
/// assert_eq!(options.max_frames, 500);
/// ```
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

setters! { VideoOptions {
    with_decode(decode: DecodeOptions),
    with_max_frames(max_frames: usize),
    with_max_total_pixels(max_total_pixels: u64),
} }

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
    ///
    /// ```
    /// use blip2_io::{
    ///     image::RgbImage,
    ///     video::{Video, VideoOptions},
    /// };
    /// # let folder = tempfile::tempdir()?;
    /// # for n in 1..=6 {
    /// #     RgbImage::new(8, 6).save(folder.path().join(format!("{n}.png")))?;
    /// # }
    /// # let path = folder.path();
    ///
    /// let video = Video::open(path, 4, &VideoOptions::default())?; // "frames/"
    /// assert_eq!(video.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Decodes `count` frames, evenly chosen, of files in memory: of one animated file, or of several
    /// pictures, one a frame. Only the chosen ones of several pictures are decoded.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use std::io::Cursor;
    ///
    /// use blip2_io::{
    ///     image::{ImageFormat, RgbImage},
    ///     video::{Video, VideoOptions},
    /// };
    ///
    /// let mut file = Cursor::new(Vec::new());
    /// RgbImage::new(8, 6).write_to(&mut file, ImageFormat::Png)?;
    /// let files = vec![file.into_inner(); 5];
    /// let video = Video::decode(&files, 4, &VideoOptions::default())?;
    /// assert_eq!(video.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(
        files: &[impl AsRef<[u8]>],
        count: usize,
        options: &VideoOptions,
    ) -> Result<Self, VideoError> {
        if let [animated] = files {
            return Self::new(animation::decode(animated.as_ref(), count, options)?);
        }
        options.check_count(files.len())?;
        let chosen = chosen(files.len(), count)?;
        let frames = chosen.map(|n| decode_bytes(files[n].as_ref(), &options.decode));
        Self::new(frames.collect::<Result<_, _>>()?)
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

    /// The frames.
    pub fn into_frames(self) -> Vec<RgbImage> {
        self.frames
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

/// The indices of `count` evenly chosen ones of `frames` frames, in their order.
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
