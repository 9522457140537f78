//! How a picture lies, as its camera wrote it down.

use image::{ImageDecoder, metadata::Orientation};

/// The orientation in EXIF, or where that has none in XMP, as Pillow's `exif_transpose` looks for it.
/// What is damaged says nothing.
pub(super) fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let stored = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    if stored != Orientation::NoTransforms {
        return stored;
    }
    let exif = decoder.exif_metadata().ok().flatten();
    if exif.is_some_and(|chunk| Orientation::from_exif_chunk(&chunk).is_some()) {
        return stored;
    }
    let xmp = decoder.xmp_metadata().ok().flatten();
    xmp.and_then(|xmp| in_xmp(&xmp)).unwrap_or(stored)
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6`.
fn in_xmp(xmp: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let place = xmp.windows(NAME.len()).position(|window| window == NAME)?;
    let rest = xmp.get(place + NAME.len()..)?;
    let value = rest
        .strip_prefix(b"=\"")
        .or_else(|| rest.strip_prefix(b">"))?;
    let digit = value.first().filter(|digit| digit.is_ascii_digit())?;
    Orientation::from_exif(digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmp_has_it_as_an_attribute_or_an_element() {
        for xmp in [
            "<a tiff:Orientation=\"6\"/>",
            "<tiff:Orientation>6</tiff:Orientation>",
        ] {
            assert_eq!(in_xmp(xmp.as_bytes()), Some(Orientation::Rotate90));
        }
        for xmp in [
            "",
            "tiff:Orientation",
            "tiff:Orientation=\"x\"",
            "tiff:Orientation=\"9\"",
        ] {
            assert_eq!(in_xmp(xmp.as_bytes()), None);
        }
    }
}
