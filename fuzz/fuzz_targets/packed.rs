//! Files of `blip2 pack`.
#![no_main]

use blip2_fuzz::on_disk;
use blip2_io::CheckpointFolder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = on_disk(&[("p.safetensors", bytes)]);
    let Ok(packed) = CheckpointFolder::open(folder.path().join("p.safetensors")) else {
        return;
    };
    let _ = packed.config();
    let _ = packed.tokenizer();
    if let Ok(checkpoint) = packed.checkpoint() {
        for name in checkpoint.names() {
            let _ = (checkpoint.shape(name), checkpoint.packed_format(name));
        }
        let _ = checkpoint.verify_finite();
    }
});
