//! Videos from folders and animated files: which frames are taken, and what is refused.

use std::{fs, path::Path};

use blip2_io::{
    preprocessing::ImageError,
    video::{Video, VideoError, VideoOptions},
};
use image::{
    Delay, Frame, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::gif::{GifEncoder, Repeat},
};

/// The level that tells frame `n` apart.
fn level(n: usize) -> u8 {
    (n * 20) as u8
}

fn save_gif(path: &Path, frames: usize) {
    let mut encoder = GifEncoder::new(fs::File::create(path).unwrap());
    encoder.set_repeat(Repeat::Infinite).unwrap();
    for n in 0..frames {
        let image = RgbaImage::from_pixel(9, 7, Rgba([level(n), 0, 0, 255]));
        let delay = Delay::from_numer_denom_ms(40, 1);
        let frame = Frame::from_parts(image, 0, 0, delay);
        encoder.encode_frame(frame).unwrap();
    }
}

fn levels(video: &Video) -> Vec<u8> {
    let level = |frame: &RgbImage| frame.get_pixel(0, 0)[0];
    video.frames().iter().map(level).collect()
}

fn open(path: &Path, count: usize) -> Result<Video, VideoError> {
    Video::open(path, count, &VideoOptions::default())
}

/// The fault behind the name of the file.
fn fault(result: Result<Video, VideoError>, path: &Path) -> VideoError {
    let error = result.unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    match error {
        VideoError::File { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_is_sampled_in_the_order_of_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..11 {
        RgbImage::from_pixel(5, 4, Rgb([level(n); 3]))
            .save(folder.path().join(format!("frame{n}.png")))
            .unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "no frame").unwrap();
    let video = open(folder.path(), 4).unwrap();
    // floor(i · 11 / 4)
    assert_eq!(levels(&video), [0, 2, 5, 8].map(level));
    assert_eq!((video.len(), video.is_empty()), (4, false));
    let fewer = video.sample(2).unwrap();
    assert_eq!(levels(&fewer), [0, 5].map(level));
    assert!(matches!(
        video.sample(5),
        Err(VideoError::TooFew {
            found: 4,
            wanted: 5
        })
    ));
}

#[test]
fn an_animation_gives_its_frames_as_they_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moves.gif");
    save_gif(&path, 10);
    let video = open(&path, 4).unwrap();
    assert_eq!(levels(&video), [0, 2, 5, 7].map(level));
    assert_eq!(video.frames()[0].dimensions(), (9, 7));
}

#[test]
fn what_is_no_video_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);

    fs::create_dir(at("empty")).unwrap();
    let error = fault(open(&at("empty"), 4), &at("empty"));
    assert!(matches!(error, VideoError::NoPictures), "{error}");

    save_gif(&at("short.gif"), 3);
    let error = fault(open(&at("short.gif"), 4), &at("short.gif"));
    assert!(
        matches!(
            error,
            VideoError::TooFew {
                found: 3,
                wanted: 4
            }
        ),
        "{error}"
    );

    for name in ["still.png", "still.webp"] {
        RgbImage::new(4, 4).save(at(name)).unwrap();
        let error = fault(open(&at(name), 4), &at(name));
        assert!(matches!(error, VideoError::UnknownFormat), "{error}");
    }

    fs::write(at("film.mp4"), "\0\0\0\x18ftypmp42").unwrap();
    let error = fault(open(&at("film.mp4"), 4), &at("film.mp4"));
    assert!(error.to_string().contains("ffmpeg"), "{error}");

    let error = fault(open(&at("nowhere.gif"), 4), &at("nowhere.gif"));
    assert!(matches!(error, VideoError::Read(_)), "{error}");

    save_gif(&at("cut.gif"), 6);
    let bytes = fs::read(at("cut.gif")).unwrap();
    fs::write(at("cut.gif"), &bytes[..20]).unwrap();
    assert!(open(&at("cut.gif"), 4).is_err());
}

/// What Pillow shows, by `fixtures/formats/make_webp.py`, laid over white.
#[test]
fn a_frame_that_is_taken_away_leaves_nothing() {
    let path = blip2_testing::fixture("formats").join("taken_away.webp");
    let video = open(&path, 3).unwrap();
    let [red, blue, green, white] = [[200, 30, 20], [20, 40, 220], [10, 250, 10], [255; 3]];
    let shown = [
        [red; 8],
        [red, red, blue, blue, blue, blue, red, red],
        [green, green, white, white, white, white, red, red],
    ];
    for (frame, shown) in video.frames().iter().zip(shown) {
        let diagonal: Vec<[u8; 3]> = (0..8).map(|at| frame.get_pixel(at, at).0).collect();
        assert_eq!(diagonal, shown);
    }
}

#[test]
fn limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moves.gif");
    save_gif(&path, 10);
    let mut options = VideoOptions::default();
    options.max_frames = 9;
    let error = fault(Video::open(&path, 4, &options), &path);
    assert!(
        matches!(
            error,
            VideoError::Limit {
                option: "max_frames",
                ..
            }
        ),
        "{error}"
    );

    let mut options = VideoOptions::default();
    options.max_total_pixels = 9 * 7 * 5;
    let error = fault(Video::open(&path, 4, &options), &path);
    assert!(
        matches!(
            error,
            VideoError::Limit {
                option: "max_total_pixels",
                ..
            }
        ),
        "{error}"
    );

    let mut options = VideoOptions::default();
    options.decode.limits.max_width = 8;
    let error = fault(Video::open(&path, 4, &options), &path);
    let VideoError::Frame(ImageError::Limit { option, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(option, "max_width");

    let mut options = VideoOptions::default();
    options.decode.limits.max_file_bytes = 10;
    let error = fault(Video::open(&path, 4, &options), &path);
    assert!(error.to_string().contains("max_file_bytes"), "{error}");
}
