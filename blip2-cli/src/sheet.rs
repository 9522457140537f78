//! Sheets as files.

use std::{io::Cursor, path::Path};

use blip2_io::write_file;
use image::{ImageFormat, RgbImage};

use crate::Failure;

/// Writes a sheet as a PNG.
pub(crate) fn save(sheet: &RgbImage, path: &Path) -> Result<(), Failure> {
    write_file(path, png(sheet, path)?).map_err(|error| failed(path, &error))
}

/// A sheet as the PNG of this name.
pub(crate) fn png(sheet: &RgbImage, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut png = Vec::new();
    let drawn = sheet.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    drawn.map_err(|error| failed(path, &error))?;
    Ok(png)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Work(format!("{}: {error}", path.display()))
}
