//! Pictures as cameras, editors and the web leave them: turned, with a film behind them, moving, in
//! formats and colours of all kinds.

use std::{fs, io::Cursor};

use blip2_io::{
    ErrorKind,
    preprocessing::{
        Animation, DecodeOptions, ImageError, Orientation, decode_bytes, decode_file, decode_frames,
    },
};
use blip2_testing::fixture;
use image::{
    DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, RgbaImage,
    codecs::{gif::GifEncoder, png::PngEncoder},
};
use tiff::{
    encoder::{TiffEncoder, colortype},
    tags::{PhotometricInterpretation, SampleFormat},
};

fn picture() -> RgbImage {
    RgbImage::from_fn(33, 21, |x, y| {
        Rgb([x as u8 * 7, y as u8 * 11, (x * y) as u8])
    })
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decode(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    decode_bytes(bytes, &DecodeOptions::default())
}

/// A TIFF with a picture of each gray level, and of which those from the second on may be of another kind.
fn paged(levels: &[u8], subfile: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    for (number, &level) in levels.iter().enumerate() {
        let mut page = encoder.new_image::<colortype::Gray8>(5, 4).unwrap();
        if number > 0 && subfile > 0 {
            let tags = page.encoder();
            tags.write_tag(tiff::tags::Tag::NewSubfileType, subfile)
                .unwrap();
        }
        page.write_data(&[level; 20]).unwrap();
    }
    bytes.into_inner()
}

#[test]
fn pages_of_a_tiff_are_its_frames() {
    let bytes = paged(&[10, 20, 30], 0);
    let error = decode(&bytes).unwrap_err();
    assert!(matches!(error, ImageError::Pages { found: 3 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let of = |animation| decode_bytes(&bytes, &DecodeOptions::default().with_animation(animation));
    for (animation, level) in [
        (Animation::FirstFrame, 10),
        (Animation::Frame(0), 10),
        (Animation::Frame(1), 20),
        (Animation::Frame(2), 30),
    ] {
        assert_eq!(
            of(animation).unwrap(),
            RgbImage::from_pixel(5, 4, Rgb([level; 3]))
        );
    }
    let error = of(Animation::Frame(3)).unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::NoFrame {
                wanted: 3,
                found: 3
            }
        ),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pages.tif");
    fs::write(&path, &bytes).unwrap();
    let frames = decode_frames(&path, &DecodeOptions::default()).unwrap();
    let levels: Vec<u8> = frames
        .iter()
        .map(|frame| frame.get_pixel(0, 0)[0])
        .collect();
    assert_eq!(levels, [10, 20, 30]);
    let few = blip2_io::preprocessing::ImageLimits::default().with_max_pixels(50);
    let few = DecodeOptions::default().with_limits(few);
    let error = decode_frames(&path, &few).unwrap_err();
    assert!(
        error.to_string().contains("pixels in all frames"),
        "{error}"
    );

    // A preview of the first page, and a mask, are none.
    for subfile in [1, 4] {
        let bytes = paged(&[10, 20], subfile);
        assert_eq!(decode(&bytes).unwrap().get_pixel(0, 0)[0], 10);
    }
    // One that is damaged behind its first page is a picture all the same.
    let cut = &bytes[..bytes.len() - 6];
    assert!(decode(cut).is_ok() || matches!(decode(cut), Err(ImageError::Pages { found: 2 })));
}

/// EXIF that holds an orientation alone.
fn exif(orientation: u8) -> Vec<u8> {
    [
        &b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
        &[orientation, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat()
}

/// A PNG that holds an orientation.
fn turned(orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    let picture = picture();
    let (width, height) = picture.dimensions();
    let colours = image::ExtendedColorType::Rgb8;
    encoder
        .write_image(&picture, width, height, colours)
        .unwrap();
    bytes
}

/// What Pillow's `exif_transpose` does: the methods of `Image.transpose` by the orientation's number,
/// each as where a pixel comes from.
#[test]
fn pictures_are_turned_as_their_exif_says() {
    let stored = picture();
    let (right, bottom) = (stored.width() - 1, stored.height() - 1);
    type From = fn(u32, u32, u32, u32) -> (u32, u32);
    let sources: [From; 9] = [
        |x, y, _, _| (x, y),
        |x, y, _, _| (x, y),
        |x, y, right, _| (right - x, y),
        |x, y, right, bottom| (right - x, bottom - y),
        |x, y, _, bottom| (x, bottom - y),
        |x, y, _, _| (y, x),
        |x, y, _, bottom| (y, bottom - x),
        |x, y, right, bottom| (right - y, bottom - x),
        |x, y, right, _| (right - y, x),
    ];
    for (orientation, source) in (0..).zip(sources) {
        let found = decode(&turned(orientation)).unwrap();
        let (width, height) = match orientation {
            5.. => (stored.height(), stored.width()),
            _ => stored.dimensions(),
        };
        let expected = RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = source(x, y, right, bottom);
            *stored.get_pixel(x, y)
        });
        assert_eq!(found, expected, "orientation {orientation}");
        let kept = DecodeOptions::default().with_orientation(Orientation::Ignore);
        assert_eq!(decode_bytes(&turned(orientation), &kept).unwrap(), stored);
    }
}

#[test]
fn a_cameras_jpeg_is_turned_too() {
    let path = fixture("images/exif_orient6_72x40.jpg");
    let turned = decode_file(&path, &DecodeOptions::default()).unwrap();
    let kept = DecodeOptions::default().with_orientation(Orientation::Ignore);
    let stored = decode_file(&path, &kept).unwrap();
    assert_eq!(stored.dimensions(), (72, 40));
    assert_eq!(turned, image::imageops::rotate90(&stored));
}

#[test]
fn what_stands_behind_a_jpeg_is_not_read() {
    let jpeg = encoded(ImageFormat::Jpeg);
    let expected = decode(&jpeg).unwrap();
    for behind in [
        &b"ftypmp42 a film"[..],
        &[0xff, 0xda, 0, 1, 2],
        &jpeg[..jpeg.len() / 2],
    ] {
        assert_eq!(decode(&[&jpeg[..], behind].concat()).unwrap(), expected);
        // Cut in its own data, what stands behind does not heal it.
        let cut = &jpeg[..jpeg.len() * 3 / 4];
        assert!(decode(&[cut, &behind[..5]].concat()).is_err());
    }
}

#[test]
fn icons_targas_and_qois_are_read() {
    for format in [ImageFormat::Ico, ImageFormat::Tga, ImageFormat::Qoi] {
        assert_eq!(decode(&encoded(format)).unwrap(), picture(), "{format:?}");
    }
}

/// A TIFF of one row, by the encoder of the `tiff` crate.
fn tiff<C: colortype::ColorType>(width: u32, values: &[C::Inner]) -> Vec<u8>
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<C>(width, 1, values).unwrap();
    bytes.into_inner()
}

/// As Pillow's conversion of its modes F and I to RGB clips them.
#[test]
fn gray_levels_in_floats_and_large_numbers_are_clipped() {
    let floats = [-3.0, 0.0, 0.9, 1.5, 254.99, 255.0, 1e9, f32::NAN];
    let found = decode(&tiff::<colortype::Gray32Float>(8, &floats)).unwrap();
    let levels: Vec<u8> = found.pixels().map(|pixel| pixel[1]).collect();
    assert_eq!(levels, [0, 0, 0, 1, 254, 255, 255, 0]);
    let found = decode(&tiff::<colortype::Gray32>(3, &[7, 255, 70_000])).unwrap();
    assert_eq!(found.get_pixel(2, 0).0, [255; 3]);
    assert_eq!(found.get_pixel(0, 0).0, [7; 3]);
}

/// CIELAB, which the encoder has no type for.
struct Lab8;

impl colortype::ColorType for Lab8 {
    type Inner = u8;
    const TIFF_VALUE: PhotometricInterpretation = PhotometricInterpretation::CIELab;
    const BITS_PER_SAMPLE: &'static [u16] = &[8, 8, 8];
    const SAMPLE_FORMAT: &'static [SampleFormat] = &[SampleFormat::Uint; 3];

    fn horizontal_predict(_: &[u8], _: &mut Vec<u8>) {}
}

#[test]
fn colours_that_are_not_read_are_named() {
    let error = decode(&tiff::<Lab8>(1, &[90, 120, 30])).unwrap_err();
    assert!(error.to_string().contains("TIFF in CIELAB"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // The tag that says how many pixels share a colour: 1 across and 1 down become 2 and 2.
    let mut thinned = fs::read(fixture("formats/ycbcr_deflate.tif")).unwrap();
    let tag = [0x12, 2, 3, 0, 2, 0, 0, 0, 1, 0, 1, 0];
    let place = thinned.windows(12).position(|entry| entry == tag).unwrap();
    thinned[place + 8..place + 12].copy_from_slice(&[2, 0, 2, 0]);
    let error = decode(&thinned).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("TIFF in YCbCr with thinned colours"),
        "{error}"
    );
}

/// The largest difference from what Pillow makes of a picture of `fixtures/formats`.
fn distance(name: &str) -> u8 {
    let found = decode_file(
        fixture(format!("formats/{name}")),
        &DecodeOptions::default(),
    );
    let expected = fixture(format!("formats/{name}.png"));
    let expected = decode_file(expected, &DecodeOptions::default()).unwrap();
    let found = found.unwrap();
    assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
    let pairs = found.as_raw().iter().zip(expected.as_raw());
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn tiffs_of_all_colours_are_read_as_pillow_reads_them() {
    for (name, tolerance) in [
        ("ycbcr_deflate.tif", 0),
        ("ycbcr_film.tif", 0),
        ("cmyk_lzw.tif", 0),
        ("float_turned.tif", 0),
        ("palette_1.tif", 0),
        ("palette_2.tif", 0),
        ("palette_4.tif", 0),
        ("palette_8_lzw.tif", 0),
        ("gray_alpha.tif", 0),
        ("gray_1.tif", 0),
        ("gray_1_inverted.tif", 0),
        ("gray_2.tif", 0),
        ("gray_4.tif", 0),
        ("gray_4_inverted.tif", 0),
        // Decoders of JPEG differ by a few levels.
        ("ycbcr_jpeg_444.tif", 3),
        ("ycbcr_jpeg_420.tif", 6),
    ] {
        let found = distance(name);
        assert!(found <= tolerance, "{name}: {found}");
    }
}

#[test]
fn what_git_lfs_did_not_fetch_is_told_with_the_way_out() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:5f1e\nsize 12345\n";
    let error = decode(pointer).unwrap_err();
    assert!(error.to_string().contains("git lfs pull"), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_palette_may_be_short_and_must_be_there() {
    let mut bytes = fs::read(fixture("formats/palette_4.tif")).unwrap();
    // The palette's tag, its type, and how many levels it has.
    let tag = [0x40, 1, 3, 0, 48, 0, 0, 0];
    let place = bytes.windows(8).position(|entry| entry == tag).unwrap();
    bytes[place + 4] = 6;
    let short = decode(&bytes).unwrap();
    assert!(short.pixels().any(|pixel| pixel.0 == [0; 3]));
    bytes[place] = 0x41;
    let error = decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("palette"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn a_jpeg_that_is_larger_than_its_tiff_is_refused() {
    let mut bytes = fs::read(fixture("formats/ycbcr_jpeg_420.tif")).unwrap();
    let frame = bytes.windows(2).position(|window| window == [0xff, 0xc0]);
    let height = frame.unwrap() + 5;
    bytes[height..height + 4].fill(0x3f);
    let error = decode(&bytes).unwrap_err();
    assert!(
        error.to_string().contains("larger than its place"),
        "{error}"
    );
}

#[test]
fn any_frame_of_an_animation_is_taken_or_all() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for level in [0, 90, 180] {
        let frame = RgbaImage::from_pixel(8, 8, image::Rgba([level, 0, 0, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let frame = |n| DecodeOptions::default().with_animation(Animation::Frame(n));
    for (n, level) in [0, 90, 180].into_iter().enumerate() {
        assert_eq!(
            decode_bytes(&bytes, &frame(n)).unwrap().get_pixel(0, 0)[0],
            level
        );
    }
    let error = decode_bytes(&bytes, &frame(3)).unwrap_err();
    assert!(matches!(
        error,
        ImageError::NoFrame {
            wanted: 3,
            found: 3
        }
    ));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three.gif");
    fs::write(&path, &bytes).unwrap();
    let frames = decode_frames(&path, &DecodeOptions::default()).unwrap();
    let levels: Vec<u8> = frames
        .iter()
        .map(|frame| frame.get_pixel(0, 0)[0])
        .collect();
    assert_eq!(levels, [0, 90, 180]);
}

/// A GIF of 8×8 pixels whose one frame says of itself that it has 65,535 rows and columns.
#[test]
fn a_frame_much_larger_than_its_picture_is_refused() {
    let mut bytes = b"GIF89a\x08\0\x08\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    for _ in 0..2 {
        bytes.extend(b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0");
    }
    bytes.push(0x3b);
    for animation in [
        Animation::Refuse,
        Animation::FirstFrame,
        Animation::Frame(1),
    ] {
        let options = DecodeOptions::default().with_animation(animation);
        let error = decode_bytes(&bytes, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{animation:?}: {error}");
    }
}

#[test]
fn a_colour_profile_that_unpacks_without_measure_is_passed_over() {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(vec![0; 100 << 20]).unwrap();
    let picture = picture();
    let (width, height) = picture.dimensions();
    let colours = image::ExtendedColorType::Rgb8;
    encoder
        .write_image(&picture, width, height, colours)
        .unwrap();
    assert!(bytes.len() < 1 << 20);
    assert_eq!(
        decode(&bytes).unwrap(),
        DynamicImage::ImageRgb8(picture).into_rgb8()
    );
}

/// The levels of a picture of Netpbm, as RGB.
fn netpbm(header: &str, levels: &[u8]) -> Vec<u8> {
    let bytes = [header.as_bytes(), levels].concat();
    let picture = decode_bytes(&bytes, &DecodeOptions::default());
    picture.unwrap().into_raw()
}

/// The right ones are Pillow 13's `Image.open(…).convert("RGB")`.
#[test]
fn levels_of_netpbm_up_to_any_number_are_scaled_as_pillow_does() {
    let gray = |levels: &[u8]| {
        levels
            .iter()
            .flat_map(|level| [*level; 3])
            .collect::<Vec<_>>()
    };
    let percent = [0, 10, 30, 50, 70, 99, 100, 120];
    assert_eq!(
        netpbm("P5 8 1 100\n", &percent),
        gray(&[0, 26, 76, 128, 178, 252, 255, 255])
    );
    assert_eq!(
        netpbm("P6\n# of a sensor\n2 1\n7\n", &[0, 1, 2, 3, 6, 9]),
        [0, 36, 73, 109, 219, 255]
    );
    assert_eq!(
        netpbm("P2 4 1 1000\n", b"0 1 500 1000"),
        gray(&[0, 66, 255, 255])
    );
    assert_eq!(netpbm("P3 1 1 31\n", b"1 15 31"), [8, 123, 255]);
    let deep = [0, 0, 0, 200, 1, 0, 0x12, 0x80, 0x80, 0x7f, 0xff, 0xff];
    assert_eq!(netpbm("P6 2 1 65535\n", &deep), [0, 1, 1, 18, 128, 255]);
    assert_eq!(netpbm("P6 1 1 1023\n", &[0, 5, 1, 0, 3, 255]), [1, 64, 255]);
    assert_eq!(
        netpbm("P5 4 1 511\n", &[0, 0, 0, 1, 0, 2, 1, 0]),
        gray(&[0, 128, 255, 255])
    );
    assert_eq!(netpbm("P5 2 1 65535\n", &[0, 9, 1, 9]), gray(&[9, 255]));
    let above = decode_bytes(b"P2 1 1 100\n101", &DecodeOptions::default()).unwrap_err();
    assert!(above.to_string().contains("above the highest"), "{above}");
}
