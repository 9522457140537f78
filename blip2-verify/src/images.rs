//! Image preprocessing against its goldens: decoding, resizing and pixel values.

use std::path::Path;

use blip2_core::Blip2Error;
use blip2_io::preprocessing::{
    DecodeOptions, ImageProcessor, ImageProcessorConfig, Orientation, PixelValues, Resample, Size,
    Transparency, decode_file, resize,
};
use image::RgbImage;

use crate::{
    error::VerifyError,
    golden::{Golden, GoldenTensor, Tolerance},
    report::{Outcome, Report},
};

/// How far pixel values may be from the reference's: a rounding of the last bit.
const VALUES: Tolerance = Tolerance(1e-6);
/// How far a decoded JPEG may be from libjpeg-turbo's, in levels of 255: decoders differ in how
/// they interpolate colour.
const JPEG_LEVELS: f64 = 16.0;

pub(crate) fn verify(
    folder: &Path,
    golden: &Golden,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let names: Vec<String> = match golden.json("images").and_then(|images| images.as_object()) {
        Some(images) => images
            .keys()
            .filter(|key| !key.starts_with('_'))
            .cloned()
            .collect(),
        None => Vec::new(),
    };
    for name in &names {
        let key = name.replace('.', "_");
        let decoded = format!("{key}.decoded_rgb");
        let Some(reference) = golden.tensor(&decoded) else {
            continue;
        };
        report.push(
            &decoded,
            decode(&folder.join(name), Transparency::OverWhite, reference),
        );
        let rgb = picture(reference)?;
        let legacy_key = format!("{decoded}_legacy");
        let legacy = golden.tensor(&legacy_key);
        if let Some(reference) = legacy {
            report.push(
                &legacy_key,
                decode(&folder.join(name), Transparency::Drop, reference),
            );
        }
        let legacy = legacy.map(picture).transpose()?;
        for stage in stages(golden, &key) {
            let Some(reference) = golden.tensor(&stage) else {
                continue;
            };
            match stage.rsplit('.').next() {
                Some("pil_resized_u8") => report.push(&stage, resized(&rgb, reference)?),
                Some("pil") => report.push(&stage, values(&rgb, reference, |_| {})),
                Some("pil_legacy_rgb") => {
                    let rgb = legacy.as_ref().unwrap_or(&rgb);
                    report.push(&stage, values(rgb, reference, |_| {}));
                }
                _ => report.skip(&stage, "Pillow's resampling is used, not torchvision's"),
            }
        }
    }
    options(golden, report)
}

/// The goldens of a picture, sorted.
fn stages(golden: &Golden, key: &str) -> Vec<String> {
    let prefix = format!("{key}.");
    let of_picture = golden
        .tensor_keys()
        .filter(|stage| stage.starts_with(&prefix));
    of_picture
        .filter(|stage| !stage.contains("decoded_rgb"))
        .map(str::to_string)
        .collect()
}

/// Single settings, on one picture.
fn options(golden: &Golden, report: &mut Report) -> Result<(), VerifyError> {
    let Some(reference) = golden.tensor("rgb_97x61_png.decoded_rgb") else {
        return Ok(());
    };
    let rgb = picture(reference)?;
    type Change = fn(&mut ImageProcessorConfig);
    let changes: [(&str, Change); 6] = [
        ("no_normalize", |config| config.do_normalize = false),
        ("no_rescale", |config| config.do_rescale = false),
        ("no_resize", |config| config.do_resize = false),
        ("bilinear", |config| config.resample = Resample::Bilinear),
        ("lanczos", |config| config.resample = Resample::Lanczos),
        ("nearest", |config| config.resample = Resample::Nearest),
    ];
    for (name, change) in changes {
        let key = format!("opts.{name}");
        if let Some(reference) = golden.tensor(&key) {
            report.push(key, values(&rgb, reference, change));
        }
    }
    Ok(())
}

/// A decoded file against its golden: to the bit, but for JPEG.
fn decode(path: &Path, transparency: Transparency, reference: &GoldenTensor) -> Outcome {
    // The goldens are of pictures as `Image.open` gives them, which turns none.
    let options = DecodeOptions::default()
        .with_transparency(transparency)
        .with_orientation(Orientation::Ignore);
    let found = match decode_file(path, &options) {
        Ok(found) => found,
        Err(error) => {
            return Outcome::failed(error);
        }
    };
    let is_jpeg = path.extension().is_some_and(|e| e == "jpg" || e == "jpeg");
    if is_jpeg {
        let shape = [found.height() as usize, found.width() as usize, 3];
        let levels: Vec<f32> = found
            .as_raw()
            .iter()
            .map(|&level| f32::from(level))
            .collect();
        let outcome = Tolerance(0.0).compare(&shape, &levels, reference);
        return match outcome {
            Outcome::Tensor {
                max_abs, max_rel, ..
            } => Outcome::Tensor {
                max_abs,
                max_rel,
                tolerance: JPEG_LEVELS,
            },
            other => other,
        };
    }
    match picture(reference) {
        Ok(expected) => same(&found, &expected),
        Err(error) => Outcome::failed(error),
    }
}

fn resized(rgb: &RgbImage, reference: &GoldenTensor) -> Result<Outcome, VerifyError> {
    let expected = picture(reference)?;
    let (width, height) = expected.dimensions();
    Ok(same(
        &resize(rgb, width, height, Resample::Bicubic),
        &expected,
    ))
}

fn same(found: &RgbImage, expected: &RgbImage) -> Outcome {
    let difference = if found.dimensions() != expected.dimensions() {
        Some(format!(
            "{:?} pixels instead of {:?}",
            found.dimensions(),
            expected.dimensions()
        ))
    } else {
        let pairs = found.as_raw().iter().zip(expected.as_raw());
        let (mut count, mut largest) = (0, 0);
        for (found, expected) in pairs.filter(|(found, expected)| found != expected) {
            count += 1;
            largest = largest.max(found.abs_diff(*expected));
        }
        (count > 0).then(|| format!("{count} values differ, by up to {largest} levels"))
    };
    Outcome::Exact { difference }
}

/// Pixel values against a golden `[3, height, width]`, with one setting changed.
fn values(
    rgb: &RgbImage,
    reference: &GoldenTensor,
    change: impl FnOnce(&mut ImageProcessorConfig),
) -> Outcome {
    let [_, height, width] = reference.shape[..] else {
        return Outcome::Failed {
            error: format!("the golden's shape is {:?}", reference.shape),
        };
    };
    let size = Size {
        height: height as u32,
        width: width as u32,
    };
    let mut config = ImageProcessorConfig::default().with_size(size);
    change(&mut config);
    let found = ImageProcessor::new(config).and_then(|processor| processor.process(rgb));
    match found {
        Ok(found) => compare(&found, reference),
        Err(error) => Outcome::failed(Blip2Error::from(error)),
    }
}

fn compare(found: &PixelValues, reference: &GoldenTensor) -> Outcome {
    VALUES.compare(&found.shape()[1..], found.data(), reference)
}

/// A golden `[height, width, 3]` as a picture.
fn picture(reference: &GoldenTensor) -> Result<RgbImage, VerifyError> {
    let fault = || VerifyError::golden(format!("no picture: shape {:?}", reference.shape));
    let [height, width, 3] = reference.shape[..] else {
        return Err(fault());
    };
    let levels = reference
        .ints()?
        .into_iter()
        .map(|level| level as u8)
        .collect();
    RgbImage::from_raw(width as u32, height as u32, levels).ok_or_else(fault)
}
