//! Pictures changed at random, so that a model sees more of them than there are.

use image::{
    RgbImage,
    imageops::{self, crop_imm},
};
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Serialize};

use super::order::{below, unit};
use crate::preprocessing::{Resample, resize};

/// What is done to pictures in training; nothing by default.
///
/// Pictures are left as they are where a question or an answer [depends on
/// position](depends_on_position), but for shifts.
///
/// ```
/// use blip2_io::dataset::Augmentation;
///
/// let augmentation: Augmentation = serde_json::from_str(r#"{ "flip": true, "shift": 2 }"#)?;
/// assert!(augmentation.crop.is_none());
/// assert_eq!(Augmentation::paper().crop.map(|crop| crop.scale), Some([0.5, 1.0]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Augmentation {
    /// A random part of the picture is taken for the whole.
    pub crop: Option<Crop>,
    /// Half of the pictures are mirrored, left to right.
    pub flip: bool,
    /// Pictures are rotated by a random multiple of 90°.
    pub quarter_turns: bool,
    /// The most pixels that pictures are shifted by in each direction; their edges are replicated.
    pub shift: u32,
}

setters! { Augmentation {
    with_crop(crop: Option<Crop>),
    with_flip(flip: bool),
    with_quarter_turns(quarter_turns: bool),
    with_shift(shift: u32),
} }

/// A random resized crop (Szegedy et al., 2015; `RandomResizedCrop` of torchvision).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Crop {
    /// The least and the largest part of the picture's area.
    pub scale: [f64; 2],
    /// The least and the largest ratio of width to height.
    #[serde(default = "usual_ratio")]
    pub ratio: [f64; 2],
}

setters! { Crop {
    with_scale(scale: [f64; 2]),
    with_ratio(ratio: [f64; 2]),
} }

fn usual_ratio() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

impl Augmentation {
    /// What BLIP-2 is trained with: a crop of half the area or more, and a flip.
    pub fn paper() -> Self {
        let crop = Crop {
            scale: [0.5, 1.0],
            ratio: usual_ratio(),
        };
        Self {
            crop: Some(crop),
            flip: true,
            ..Self::default()
        }
    }

    /// Whether nothing is done.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn apply(
        &self,
        image: RgbImage,
        moves: bool,
        random: &mut impl RngCore,
    ) -> RgbImage {
        let mut image = image;
        if moves {
            if let Some(crop) = self.crop {
                image = crop.apply(&image, random);
            }
            if self.flip && below(random, 2) == 1 {
                imageops::flip_horizontal_in_place(&mut image);
            }
            if self.quarter_turns {
                image = match below(random, 4) {
                    0 => image,
                    1 => imageops::rotate90(&image),
                    2 => imageops::rotate180(&image),
                    _ => imageops::rotate270(&image),
                };
            }
        }
        match self.shift {
            0 => image,
            shift => shifted(&image, shift, random),
        }
    }
}

impl Crop {
    /// Takes a part of the picture, resized to the size of the whole. As in torchvision ten shapes
    /// are tried before the middle is taken.
    fn apply(&self, image: &RgbImage, random: &mut impl RngCore) -> RgbImage {
        let (width, height) = image.dimensions();
        let area = f64::from(width) * f64::from(height);
        let within = |[low, high]: [f64; 2], part: f64| low + (high - low) * part;
        for _ in 0..10 {
            let target = area * within(self.scale, unit(random));
            let logs = self.ratio.map(f64::ln);
            let ratio = within(logs, unit(random)).exp();
            let w = (target * ratio).sqrt().round() as u32;
            let h = (target / ratio).sqrt().round() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let x = below(random, (width - w + 1) as usize) as u32;
                let y = below(random, (height - h + 1) as usize) as u32;
                let part = crop_imm(image, x, y, w, h).to_image();
                return resize(&part, width, height, Resample::Bicubic);
            }
        }
        image.clone()
    }
}

/// The picture shifted at random, with its edge pixels replicated.
fn shifted(image: &RgbImage, shift: u32, random: &mut impl RngCore) -> RgbImage {
    let (width, height) = image.dimensions();
    let range = i64::from(shift);
    let mut offset = || below(random, 2 * shift as usize + 1) as i64 - range;
    let (dx, dy) = (offset(), offset());
    let from = |place: u32, by: i64, size: u32| {
        (i64::from(place) + by).clamp(0, i64::from(size) - 1) as u32
    };
    RgbImage::from_fn(width, height, |x, y| {
        *image.get_pixel(from(x, dx, width), from(y, dy, height))
    })
}

/// Whether a text speaks of where things are, so that a mirrored or cropped picture would make it
/// wrong.
///
/// ```
/// use blip2_io::dataset::depends_on_position;
///
/// assert!(depends_on_position("What is left of the cup?"));
/// assert!(!depends_on_position("How many cups are there?"));
/// ```
pub fn depends_on_position(text: &str) -> bool {
    const WORDS: [&str; 38] = [
        "above",
        "behind",
        "below",
        "beneath",
        "beside",
        "between",
        "bottom",
        "center",
        "centre",
        "clock",
        "column",
        "corner",
        "direction",
        "down",
        "east",
        "first",
        "front",
        "last",
        "left",
        "letter",
        "lower",
        "middle",
        "near",
        "next",
        "north",
        "over",
        "position",
        "read",
        "right",
        "row",
        "side",
        "south",
        "time",
        "top",
        "under",
        "up",
        "upper",
        "where",
    ];
    text.split(|character: char| !character.is_alphanumeric())
        .any(|word| WORDS.contains(&word.to_lowercase().as_str()))
}
