//! Weights in safetensors, and the index of shards.
#![no_main]

use blip2_fuzz::{chosen, on_disk};
use blip2_io::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((index, rest)) = chosen(bytes, &[false, true]) else {
        return;
    };
    let one = b"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}         \0\0\0\0";
    let folder = match index {
        false => on_disk(&[("model.safetensors", rest)]),
        true => on_disk(&[
            ("model.safetensors.index.json", rest),
            ("a.safetensors", one),
        ]),
    };
    let Ok(checkpoint) = Checkpoint::open(folder.path()) else {
        return;
    };
    for name in checkpoint.names() {
        assert!(!name.contains(char::is_control));
        let _ = (checkpoint.shape(name), checkpoint.dtype(name));
    }
    let _ = checkpoint.verify_finite();
    let _ = checkpoint.fingerprint(&[""], "");
});
