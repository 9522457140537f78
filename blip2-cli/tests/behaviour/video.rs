//! The program with a model of videos, from end to end.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use image::{
    Delay, Frame, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::gif::{GifEncoder, Repeat},
};
use serde_json::Value;

const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../fixtures/instructblipvideo_t5"
);

/// Runs the program in a folder.
fn blip2(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("BLIP2_MODEL")
        .output()
        .unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fails(output: &Output, parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

/// The same video as a folder `frames` and as `moves.gif`.
fn videos(folder: &Path) {
    fs::create_dir(folder.join("frames")).unwrap();
    let mut gif = GifEncoder::new(fs::File::create(folder.join("moves.gif")).unwrap());
    gif.set_repeat(Repeat::Infinite).unwrap();
    for n in 0..6u8 {
        let level = 40 * n;
        RgbImage::from_pixel(20, 16, Rgb([level, 0, 255 - level]))
            .save(folder.join(format!("frames/{n}.png")))
            .unwrap();
        let frame = RgbaImage::from_pixel(20, 16, Rgba([level, 0, 255 - level, 255]));
        let delay = Delay::from_numer_denom_ms(40, 1);
        gif.encode_frame(Frame::from_parts(frame, 0, 0, delay))
            .unwrap();
    }
}

#[test]
fn a_folder_and_an_animation_of_the_same_frames_get_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    videos(folder.path());
    let answer = |video| {
        let arguments = ["answer", video, "what happens?", "--model", MODEL, "--json"];
        let text = stdout(&blip2(folder.path(), &arguments));
        serde_json::from_str::<Value>(&text).unwrap()["tokens"].clone()
    };
    assert_eq!(answer("frames"), answer("moves.gif"));

    let arguments = ["caption", "frames", "moves.gif", "--model", MODEL];
    let captions = stdout(&blip2(folder.path(), &arguments));
    let captions: Vec<Value> = captions
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(captions.len(), 2);
    assert_eq!(captions[0]["caption"], captions[1]["caption"]);
}

#[test]
fn what_is_no_video_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    videos(folder.path());
    RgbImage::new(8, 8)
        .save(folder.path().join("still.png"))
        .unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let answer = |video| {
        let arguments = ["answer", video, "what happens?", "--model", MODEL];
        blip2(folder.path(), &arguments)
    };
    fails(&answer("still.png"), &["still.png", "not an animated"]);
    fails(&answer("empty"), &["empty", "no picture"]);
    fails(&answer("nowhere"), &["nowhere"]);
    fs::remove_file(folder.path().join("frames/0.png")).unwrap();
    fs::remove_file(folder.path().join("frames/1.png")).unwrap();
    fs::remove_file(folder.path().join("frames/2.png")).unwrap();
    fails(&answer("frames"), &["3 frames", "4 are wanted"]);

    // The demonstration model looks at pictures.
    let output = blip2(folder.path(), &["answer", "frames", "what happens?"]);
    fails(&output, &["frames", "single pictures"]);
}

#[test]
fn inspect_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(&blip2(folder.path(), &["inspect", MODEL]));
    for part in ["InstructBlipVideoForConditionalGeneration", "t5", "videos"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}
