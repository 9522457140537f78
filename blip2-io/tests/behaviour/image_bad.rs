//! Pictures that are none: each fault has its own error, and nothing panics.

use std::io::Cursor;

use blip2_io::ErrorKind;
use blip2_io::preprocessing::{
    Animation, DecodeOptions, ImageError, ImageLimits, Transparency, decode_bytes, decode_file,
};
use image::{
    Delay, Frame, ImageFormat, RgbImage, RgbaImage,
    codecs::gif::{GifEncoder, Repeat},
};

fn picture() -> RgbImage {
    RgbImage::from_fn(33, 21, |x, y| {
        image::Rgb([x as u8 * 7, y as u8 * 11, (x * y) as u8])
    })
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn gif(frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(Repeat::Infinite).unwrap();
    for n in 0..frames {
        let image = RgbaImage::from_pixel(8, 8, image::Rgba([n as u8 * 90, 0, 0, 255]));
        let delay = Delay::from_numer_denom_ms(100, 1);
        encoder
            .encode_frame(Frame::from_parts(image, 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    bytes
}

fn decode(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    decode_bytes(bytes, &DecodeOptions::default())
}

#[test]
fn whole_pictures_decode() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        assert_eq!(decode(&encoded(format)).unwrap(), picture(), "{format:?}");
    }
    assert_eq!(
        decode(&encoded(ImageFormat::Jpeg)).unwrap().dimensions(),
        (33, 21)
    );
    assert_eq!(decode(&gif(1)).unwrap().dimensions(), (8, 8));
}

#[test]
fn nothing_and_no_picture() {
    assert!(matches!(decode(b""), Err(ImageError::Empty)));
    for bytes in [&b"just some text"[..], &[0; 100], b"%PDF-1.7", b"\x89PN"] {
        assert!(
            matches!(decode(bytes), Err(ImageError::UnknownFormat)),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_picture_that_is_cut_short_anywhere_is_an_error() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::WebP,
    ] {
        let bytes = encoded(format);
        for cut in [
            bytes.len() / 8,
            bytes.len() / 3,
            bytes.len() / 2,
            bytes.len() * 9 / 10,
        ] {
            let error = decode(&bytes[..cut]).unwrap_err();
            let told = matches!(error, ImageError::Decode { .. } | ImageError::UnknownFormat);
            assert!(told, "{format:?} cut at {cut}: {error}");
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ] {
        let bytes = encoded(format);
        for position in (0..bytes.len()).step_by(bytes.len() / 200 + 1) {
            let mut bytes = bytes.clone();
            bytes[position] ^= 0xff;
            // Some flips are harmless; none may end the process.
            let _ = decode(&bytes);
        }
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_decoding() {
    // A PNG's width and height are big-endian at bytes 16 to 24; the header's checksum follows.
    let mut bytes = encoded(ImageFormat::Png);
    bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = crc32(&bytes[12..29]).to_be_bytes();
    bytes[29..33].copy_from_slice(&crc);
    match decode(&bytes).unwrap_err() {
        ImageError::Limit { found, option, .. } => {
            assert_eq!((found, option), (60_000 * 60_000, "max_pixels"));
        }
        other => panic!("{other}"),
    }
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn each_limit_names_itself_and_its_option() {
    let bytes = encoded(ImageFormat::Png);
    type Change = fn(&mut ImageLimits);
    let cases: [(Change, &str); 5] = [
        (|limits| limits.max_file_bytes = 10, "max_file_bytes"),
        (|limits| limits.max_width = 32, "max_width"),
        (|limits| limits.max_height = 20, "max_height"),
        (|limits| limits.max_pixels = 33 * 21 - 1, "max_pixels"),
        (|limits| limits.max_alloc = 1000, "max_alloc"),
    ];
    for (change, option) in cases {
        let mut limits = ImageLimits::default();
        change(&mut limits);
        let options = DecodeOptions::default().with_limits(limits);
        let error = decode_bytes(&bytes, &options).unwrap_err().to_string();
        assert!(error.contains(option), "{error}");
    }
}

#[test]
fn an_animation_is_refused_unless_its_first_frame_is_meant() {
    let bytes = gif(3);
    assert!(matches!(
        decode(&bytes),
        Err(ImageError::Animated { format: "GIF" })
    ));
    let options = DecodeOptions::default().with_animation(Animation::FirstFrame);
    assert_eq!(
        decode_bytes(&bytes, &options).unwrap().get_pixel(0, 0).0,
        [0, 0, 0]
    );
}

#[test]
fn faults_are_told_apart_by_kind() {
    let kind = |bytes: &[u8]| decode(bytes).unwrap_err().kind();
    assert_eq!(kind(b""), ErrorKind::Malformed);
    assert_eq!(kind(b"just some text"), ErrorKind::Unsupported);
    assert_eq!(kind(&gif(2)), ErrorKind::Unsupported);
    let png = encoded(ImageFormat::Png);
    let cut = decode(&png[..png.len() / 2]).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Malformed);
    let source = std::error::Error::source(&cut).unwrap().to_string();
    assert!(cut.to_string().ends_with(&source), "{cut}: {source}");
    let small = DecodeOptions::default().with_limits(ImageLimits::default().with_max_width(3));
    let large = decode_bytes(&png, &small).unwrap_err();
    assert_eq!(large.kind(), ErrorKind::Limit);
    let missing = decode_file("nowhere.png", &small).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn an_error_from_a_file_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("beach.jpg");
    let options = DecodeOptions::default().with_transparency(Transparency::Drop);
    let missing = decode_file(&path, &options).unwrap_err();
    assert!(
        matches!(missing, ImageError::Read { .. }) && missing.to_string().contains("beach.jpg")
    );
    std::fs::write(&path, "text").unwrap();
    let wrong = decode_file(&path, &options).unwrap_err();
    assert!(matches!(wrong, ImageError::File { .. }) && wrong.to_string().contains("beach.jpg"));
}
