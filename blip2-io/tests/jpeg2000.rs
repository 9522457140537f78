//! JPEG 2000, as Pillow reads it.
#![cfg(feature = "jpeg2000")]
#![allow(clippy::unwrap_used)]

use std::fs;

use blip2_io::{
    ErrorKind,
    preprocessing::{DecodeOptions, ImageLimits, decode_bytes, decode_file, decode_frames},
};
use blip2_testing::fixture;

#[test]
fn all_kinds_are_read_as_pillow_reads_them() {
    for (name, tolerance) in [
        ("rgb.jp2", 0),
        ("alpha.jp2", 0),
        ("gray.j2k", 0),
        ("lossy.jp2", 2),
    ] {
        let options = DecodeOptions::default();
        let path = fixture(format!("formats/{name}"));
        let found = decode_file(&path, &options).unwrap();
        let expected = decode_file(fixture(format!("formats/{name}.png")), &options).unwrap();
        assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
        let pairs = found.as_raw().iter().zip(expected.as_raw());
        let distance = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(distance <= tolerance, "{name}: {distance}");
        assert_eq!(decode_frames(&path, &options).unwrap(), [found]);
    }
}

#[test]
fn a_cut_file_is_refused() {
    let bytes = fs::read(fixture("formats/rgb.jp2")).unwrap();
    // The last two bytes say that it ends.
    for end in 12..bytes.len() - 2 {
        let error = decode_bytes(&bytes[..end], &DecodeOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{end}: {error}");
    }
}

#[test]
fn its_header_is_held_against_the_limits() {
    let bytes = fs::read(fixture("formats/rgb.jp2")).unwrap();
    for limits in [
        ImageLimits::default().with_max_pixels(100),
        ImageLimits::default().with_max_alloc(10_000),
    ] {
        let options = DecodeOptions::default().with_limits(limits);
        assert_eq!(
            decode_bytes(&bytes, &options).unwrap_err().kind(),
            ErrorKind::Limit
        );
    }
}
