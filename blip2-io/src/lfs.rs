//! What Git LFS leaves in place of a file that it did not fetch.

const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether this is how such a pointer begins.
pub(crate) fn is_pointer(content: &[u8]) -> bool {
    content.starts_with(POINTER)
}
