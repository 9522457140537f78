//! Pictures, still and animated, of every format.
#![no_main]

use blip2_io::preprocessing::{Animation, DecodeOptions, ImageLimits, decode_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Small limits: what a large picture does is a matter of the limits' tests.
    let limits = ImageLimits::default()
        .with_max_pixels(1 << 16)
        .with_max_alloc(1 << 24);
    for animation in [
        Animation::Refuse,
        Animation::FirstFrame,
        Animation::Frame(1),
    ] {
        let options = DecodeOptions::default()
            .with_limits(limits)
            .with_animation(animation);
        let _ = decode_bytes(bytes, &options);
    }
});
