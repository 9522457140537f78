//! What macOS keeps beside a file on disks of other systems, under its name behind `._`.

use std::{fs::File, io::Read, path::Path};

/// How such a file begins.
pub(super) const MAGIC: &[u8] = b"\0\x05\x16\x07";

/// Whether a file is no picture, whatever its name ends in, but what macOS keeps beside one (AppleDouble).
///
/// ```
/// use blip2_io::preprocessing::is_apple_double;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("._beach.jpg");
/// # std::fs::write(&path, b"\0\x05\x16\x07\0\x02\0\0")?;
/// assert!(is_apple_double(&path)); // "._beach.jpg"
/// assert!(!is_apple_double("beach.jpg"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_apple_double(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let name = path.file_name().unwrap_or_default();
    if !name.as_encoded_bytes().starts_with(b"._") || !path.is_file() {
        return false;
    }
    let mut start = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == MAGIC
}
