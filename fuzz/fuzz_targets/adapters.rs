//! Adapters of PEFT: the configuration, and the weights in either format.
#![no_main]

use std::fs;

use blip2_fuzz::{chosen, fixture, on_disk};
use blip2_io::Adapter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let names = [
        "adapter_config.json",
        "adapter_model.safetensors",
        "adapter_model.bin",
    ];
    let Some((name, rest)) = chosen(bytes, &names) else {
        return;
    };
    let whole = |name: &str| fs::read(fixture("peft/opt_saved").join(name)).expect("a fixture");
    let (config, weights) = (whole(names[0]), whole(names[1]));
    let folder = match name {
        "adapter_config.json" => on_disk(&[(name, rest), (names[1], &weights)]),
        _ => on_disk(&[(names[0], &config), (name, rest)]),
    };
    let Ok(adapter) = Adapter::open(folder.path()) else {
        return;
    };
    let _ = adapter.base();
    for layer in adapter.layers() {
        let _ = adapter.shape(layer);
    }
    let _ = adapter.fingerprint(&[""]);
});
