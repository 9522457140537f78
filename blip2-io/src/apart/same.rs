//! Two names of one file.

use std::path::Path;

/// Whether two names are of one file or folder: by a hard link, or mounted twice.
#[cfg(unix)]
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Elsewhere a file has no number that can be asked for: its real path must do.
#[cfg(not(unix))]
pub(super) fn is_same(_: &Path, _: &Path) -> bool {
    false
}
