//! Explanations as pictures.

mod overlay;
mod scale;

use blip2_io::preprocessing::{PixelValues, Transparency, to_rgb};
use image::{Rgb, RgbImage, imageops};

use super::{ExplainedToken, Explanation};
use crate::{
    figure::letters::{LETTER, cut, write},
    picture::Picture,
};
use overlay::Laid;
use scale::Scale;

/// The longer side of a picture, in pixels, and that of one in a strip.
const SIDE: u32 = 384;
const SMALL: u32 = 192;
const MARGIN: u32 = 12;
/// The legend's width, and that of the numbers beside it.
const BAR: u32 = 16;
const NUMBERS: u32 = 9 * LETTER;
/// A line of text with what is above it.
const LINE: u32 = LETTER + 6;
/// The most pictures of a strip side by side.
const COLUMNS: u32 = 6;

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([32, 32, 36]);

impl Explanation {
    /// The picture, and beside it the picture in gray with the values over it and a legend: a row for
    /// each frame. The colours, cividis, are told apart by the colour-blind and in print.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// use blip2_core::explain::ExplainOptions;
    ///
    /// let why = blip2.explain_answer(&image, "what color is the shape?", &ExplainOptions::default())?;
    /// let drawn = why.heat_map(&image); // `drawn.save("why.png")`
    /// assert!(drawn.width() > drawn.height());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn heat_map<'a>(&self, picture: impl Into<Picture<'a>>) -> RgbImage {
        let frames = frames(picture.into(), SIDE);
        let (width, height) = largest(&frames);
        let (across, down) = (width + MARGIN, height + MARGIN);
        let right = MARGIN + 2 * across;
        let bottom = MARGIN + frames.len() as u32 * down;
        let mut sheet = paper(right + BAR + NUMBERS + MARGIN, bottom + LINE);
        let scale = Scale::of(&self.values);
        for (n, frame) in (0..).zip(&frames) {
            let y = MARGIN + n * down;
            put(&mut sheet, frame, MARGIN, y);
            let over = self.laid(self.frame(n as usize), scale).over(frame);
            put(&mut sheet, &over, MARGIN + across, y);
        }
        legend(&mut sheet, scale, [right, MARGIN], height);
        let line = format!("{}: {}", self.method, self.text);
        let line = cut(&line, sheet.width() - 2 * MARGIN);
        write(&mut sheet, &line, MARGIN, bottom - MARGIN / 2, INK);
        sheet
    }

    /// A heat map for each token, side by side with its text below, on one scale; of a video a row for
    /// each frame. Of a comparison, which has no tokens, it is the whole's alone.
    pub fn strip<'a>(&self, picture: impl Into<Picture<'a>>) -> RgbImage {
        let frames = frames(picture.into(), SMALL);
        let (width, height) = largest(&frames);
        let maps = self.maps();
        let columns = (maps.len() as u32).clamp(1, COLUMNS);
        let blocks = (maps.len() as u32).div_ceil(columns).max(1);
        let (across, down) = (width + MARGIN, height + MARGIN);
        let block = frames.len() as u32 * down + LINE;
        let right = MARGIN + columns * across;
        let mut sheet = paper(right + BAR + NUMBERS + MARGIN, MARGIN + blocks * block);
        let scale = Scale::of(maps.iter().flat_map(|map| map.values));
        for (n, map) in (0..).zip(&maps) {
            let [x, y] = [MARGIN + n % columns * across, MARGIN + n / columns * block];
            for (n, frame) in (0..).zip(&frames) {
                let over = self.laid(map.frame(n as usize, self.grid), scale);
                put(&mut sheet, &over.over(frame), x, y + n * down);
            }
            let text = cut(map.text, width);
            let below = y + frames.len() as u32 * down - MARGIN + 6;
            write(&mut sheet, &text, x, below, INK);
        }
        legend(&mut sheet, scale, [right, MARGIN], height);
        sheet
    }

    /// What a strip shows.
    fn maps(&self) -> Vec<Map<'_>> {
        match self.tokens.as_slice() {
            [] => vec![Map {
                text: &self.text,
                values: &self.values,
                token: None,
            }],
            tokens => tokens
                .iter()
                .map(|token| Map {
                    text: &token.text,
                    values: &token.values,
                    token: Some(token),
                })
                .collect(),
        }
    }

    fn laid<'v>(&self, values: &'v [f32], scale: Scale) -> Laid<'v> {
        Laid {
            values,
            grid: self.grid,
            region: self.region,
            scale,
        }
    }
}

/// A map of a strip.
struct Map<'e> {
    text: &'e str,
    values: &'e [f32],
    token: Option<&'e ExplainedToken>,
}

impl<'e> Map<'e> {
    fn frame(&self, frame: usize, grid: [usize; 2]) -> &'e [f32] {
        match self.token {
            Some(token) => token.frame(grid, frame),
            None => self.values,
        }
    }
}

/// The frames of a picture, fitted into a square of `side`.
fn frames(picture: Picture<'_>, side: u32) -> Vec<RgbImage> {
    let fitted = |image: &RgbImage| {
        let (width, height) = image.dimensions();
        let longest = u64::from(width.max(height).max(1));
        let scaled = |own: u32| ((u64::from(own) * u64::from(side) / longest) as u32).max(1);
        let filter = imageops::FilterType::Triangle;
        imageops::resize(image, scaled(width), scaled(height), filter)
    };
    match picture {
        Picture::Dynamic(image) => vec![fitted(&to_rgb(image, Transparency::default()))],
        Picture::Rgb(image) => vec![fitted(image)],
        Picture::Video(video) => video.frames().iter().map(fitted).collect(),
        Picture::Prepared(pixels) => of_values(pixels).iter().map(fitted).collect(),
    }
}

/// What the model sees as pictures again: by which mean and deviation they were made is not known, so
/// the darkest value is black and the lightest white.
fn of_values(pixels: &PixelValues) -> Vec<RgbImage> {
    let [_, channels, height, width] = pixels.shape();
    let size = height * width;
    let frames = pixels.data().chunks_exact((channels * size).max(1));
    let ends = |values: &[f32]| {
        let begin = (f32::INFINITY, f32::NEG_INFINITY);
        let widened = |(low, high): (f32, f32), value: &f32| (low.min(*value), high.max(*value));
        values.iter().fold(begin, widened)
    };
    let frames = frames.map(|values| {
        let (low, high) = ends(values);
        let level = |value: &f32| (255.0 * (value - low) / (high - low).max(f32::EPSILON)) as u8;
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let at = y as usize * width + x as usize;
            image::Rgb([0, 1, 2].map(|channel| values.get(channel * size + at).map_or(0, level)))
        })
    });
    frames.collect()
}

fn largest(frames: &[RgbImage]) -> (u32, u32) {
    let sides = frames.iter().map(RgbImage::dimensions);
    sides.fold((1, 1), |(width, height), (w, h)| {
        (width.max(w), height.max(h))
    })
}

fn paper(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, PAPER)
}

fn put(sheet: &mut RgbImage, image: &RgbImage, x: u32, y: u32) {
    imageops::replace(sheet, image, x.into(), y.into());
}

/// The scale as a bar, with the values of its ends and of its middle.
fn legend(sheet: &mut RgbImage, scale: Scale, [x, y]: [u32; 2], height: u32) {
    let last = height.saturating_sub(1).max(1);
    for step in 0..height {
        let color = scale::color(1.0 - step as f32 / last as f32);
        for column in 0..BAR {
            if let Some(pixel) = sheet.get_pixel_mut_checked(x + column, y + step) {
                *pixel = color;
            }
        }
    }
    let middle = (scale.low + scale.high) / 2.0;
    for (value, place) in [(scale.high, 0), (middle, last / 2), (scale.low, last)] {
        let place = place.min(height.saturating_sub(LETTER));
        write(sheet, &number(value), x + BAR + 4, y + place, INK);
    }
}

/// A number of three digits.
fn number(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        0.01..1000.0 => {
            let text = format!("{value:.3}");
            text.chars().take(if value < 0.0 { 6 } else { 5 }).collect()
        }
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Method, *};

    fn explanation(tokens: usize) -> Explanation {
        let token = |n: usize| ExplainedToken {
            id: n as u32,
            text: format!(" word{n}"),
            log_prob: -1.0,
            values: (0..6).map(|place| f32::from(place == n % 6)).collect(),
        };
        Explanation {
            method: Method::Relevance,
            text: "words".into(),
            grid: [2, 3],
            frames: 1,
            region: [0.0, 0.0, 1.0, 1.0],
            values: vec![0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
            tokens: (0..tokens).map(token).collect(),
        }
    }

    #[test]
    fn the_lightest_place_is_where_the_value_is_largest() {
        let picture = RgbImage::from_pixel(300, 200, Rgb([90; 3]));
        let drawn = explanation(1).heat_map(&picture);
        let map = imageops::crop_imm(&drawn, 2 * MARGIN + SIDE, MARGIN, SIDE, 256).to_image();
        let light =
            |(_, _, pixel): &(u32, u32, &Rgb<u8>)| pixel.0.map(u32::from).iter().sum::<u32>();
        let (x, y, _) = map.enumerate_pixels().max_by_key(light).unwrap();
        assert!(x > 2 * SIDE / 3 && y < 128, "{x} {y}");
    }

    #[test]
    fn a_strip_has_a_map_for_each_token() {
        let picture = RgbImage::new(64, 64);
        let widths = [0, 1, 3, 6, 9].map(|tokens| explanation(tokens).strip(&picture).dimensions());
        let across = |columns: u32| MARGIN + columns * (SMALL + MARGIN) + BAR + NUMBERS + MARGIN;
        let found = widths.map(|(width, _)| width);
        assert_eq!(found, [1, 1, 3, 6, 6].map(across));
        assert!(widths[4].1 > 2 * SMALL && widths[3].1 < 2 * SMALL);
    }

    #[test]
    fn pictures_of_a_line_are_drawn() {
        for (width, height) in [(1, 900), (900, 1), (1, 1)] {
            let drawn = explanation(2).heat_map(&RgbImage::new(width, height));
            assert!(drawn.width() > 2 * MARGIN);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.250"),
            (-12.3456, "-12.34"),
            (0.000_51, "5.1e-4"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
