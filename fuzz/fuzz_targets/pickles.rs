//! `.bin` files of PyTorch, in a zip and legacy.
#![no_main]

use blip2_fuzz::on_disk;
use blip2_io::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = on_disk(&[("pytorch_model.bin", bytes)]);
    if let Ok(checkpoint) = Checkpoint::open(folder.path()) {
        let _ = checkpoint.verify_finite();
    }
});
