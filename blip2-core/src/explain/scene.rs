//! A picture as it is explained.

use blip2_io::config::Blip2VisionConfig;
use blip2_kernels::Keep;
use blip2_lm::generate::CancelToken;
use burn::tensor::{Device, Tensor};
use image::GenericImageView;

use super::trail::Trail;
use crate::{error::Blip2Error, load::Pictures, picture::Picture};

/// A picture prepared for the image encoder, and how its patches lie.
pub(crate) struct Prepared {
    /// `[frames, 3, height, width]`.
    pub(super) pixels: Tensor<4>,
    pub(super) grid: [usize; 2],
    /// The side of a patch, in pixels.
    pub(super) patch: usize,
    /// Where in the picture the grid lies, as [`Explanation::region`](super::Explanation::region).
    pub(super) region: [f32; 4],
}

impl Prepared {
    pub(super) fn of(
        picture: Picture<'_>,
        reading: &Pictures,
        vision: &Blip2VisionConfig,
        device: &Device,
    ) -> Result<Self, Blip2Error> {
        let pixels = reading
            .pixel_values(&[picture], device)
            .map_err(Blip2Error::of_item)?;
        let ([_, _, height, width], patch) = (pixels.dims(), vision.patch_size.max(1));
        let grid = [height / patch, width / patch];
        let seen = reading.processor.seen(size(picture))?;
        Ok(Self {
            pixels,
            grid,
            patch,
            region: covered(seen, grid, patch, [height, width]),
        })
    }

    /// The picture with the pass that scores it, until that is stopped.
    pub(super) fn scene<'f>(&self, forward: Forward<'f>, cancel: &'f CancelToken) -> Scene<'f> {
        Scene {
            forward,
            pixels: self.pixels.clone(),
            grid: self.grid,
            patch: self.patch,
            cancel,
        }
    }
}

/// Runs `[batch · frames, 3, height, width]`, of which each is scored alike.
type Forward<'f> = &'f dyn Fn(Tensor<4>, Keep) -> Result<Trail, Blip2Error>;

/// A picture, and the pass that scores it.
pub(super) struct Scene<'f> {
    pub(super) forward: Forward<'f>,
    /// `[frames, 3, height, width]`.
    pub(super) pixels: Tensor<4>,
    pub(super) grid: [usize; 2],
    pub(super) patch: usize,
    pub(super) cancel: &'f CancelToken,
}

/// The part of what is seen that whole patches cover.
fn covered(
    [left, top, right, bottom]: [f32; 4],
    [rows, columns]: [usize; 2],
    patch: usize,
    [height, width]: [usize; 2],
) -> [f32; 4] {
    let share = |patches: usize, all: usize| (patches * patch) as f32 / all.max(1) as f32;
    [
        left,
        top,
        left + (right - left) * share(columns, width),
        top + (bottom - top) * share(rows, height),
    ]
}

fn size(picture: Picture<'_>) -> (u32, u32) {
    match picture {
        Picture::Dynamic(image) => image.dimensions(),
        Picture::Rgb(image) => image.dimensions(),
        Picture::Video(video) => {
            let first = video.frames().first();
            first.map_or((0, 0), |frame| frame.dimensions())
        }
        Picture::Prepared(pixels) => {
            let [_, _, height, width] = pixels.shape().map(|size| size as u32);
            (width, height)
        }
    }
}
