//! Sheets as files.

use std::{io::Cursor, path::Path};

use blip2_io::write_file;
use image::{ImageFormat, RgbImage};

use crate::Failure;

/// Writes a sheet as a PNG.
pub(crate) fn save(sheet: &RgbImage, path: &Path) -> Result<(), Failure> {
    let mut png = Vec::new();
    let drawn = sheet.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("{}: {error}", path.display());
        Failure::Work(text)
    };
    drawn.map_err(|error| failed(&error))?;
    write_file(path, png).map_err(|error| failed(&error))
}
