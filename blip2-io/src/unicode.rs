//! Texts that are not in UTF-8.

/// What is said of a file in UTF-16.
pub(crate) const UTF_16: &str = "it is UTF-16; save it as UTF-8";

/// Whether a text is in UTF-16, as Windows' programs mark it at its beginning.
///
/// ```
/// use blip2_io::is_utf16;
///
/// assert!(is_utf16(b"\xff\xfei\0m\0"));
/// assert!(!is_utf16("im".as_bytes()));
/// ```
pub fn is_utf16(text: &[u8]) -> bool {
    text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff")
}
