//! Adapters of PEFT: the configuration, and the weights in either format.
#![no_main]

use std::{fs, sync::LazyLock};

use blip2_fuzz::{chosen, fixture, on_disk};
use blip2_io::Adapter;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
];

/// The configuration and the weights of a whole adapter.
static WHOLE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let read = |name| fs::read(fixture("peft/opt_saved").join(name)).expect("a fixture");
    [read(NAMES[0]), read(NAMES[1])]
});

fuzz_target!(|bytes: &[u8]| {
    let Some((name, rest)) = chosen(bytes, &NAMES) else {
        return;
    };
    let [config, weights] = &*WHOLE;
    let folder = match name {
        "adapter_config.json" => on_disk(&[(name, rest), (NAMES[1], weights)]),
        _ => on_disk(&[(NAMES[0], config), (name, rest)]),
    };
    let Ok(adapter) = Adapter::open(folder.path()) else {
        return;
    };
    let _ = adapter.base();
    for layer in adapter.layers() {
        if let Some([outputs, inputs]) = adapter.shape(layer) {
            let _ = adapter.low_rank(layer, [outputs, inputs]);
            let _ = adapter.magnitude(layer, outputs);
        }
    }
    let _ = adapter.fingerprint(&[""]);
});
