//! The photo index.
#![no_main]

use blip2_core::PhotoIndex;
use blip2_fuzz::on_disk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = on_disk(&[("x.idx", bytes)]);
    let path = folder.path().join("x.idx");
    if let Ok(mut index) = PhotoIndex::open(&path) {
        let names: Vec<String> = index.names().map(Into::into).collect();
        let _ = index.save(&path);
        for name in names {
            index.remove(&name);
        }
    }
});
