//! Animations, all their frames, as videos.
#![no_main]

use blip2_fuzz::on_disk;
use blip2_io::{
    preprocessing::{DecodeOptions, ImageLimits},
    video::{Video, VideoOptions},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = ImageLimits::default()
        .with_max_pixels(1 << 14)
        .with_max_alloc(1 << 24);
    let options = VideoOptions::default()
        .with_decode(DecodeOptions::default().with_limits(limits))
        .with_max_frames(50)
        .with_max_total_pixels(1 << 18);
    let folder = on_disk(&[("x.gif", bytes)]);
    let _ = Video::open(folder.path().join("x.gif"), 4, &options);
});
