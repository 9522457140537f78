//! What `blip2 inspect` computes of a model whose configuration is the fuzzer's: every shape, and the
//! memory in every precision.
#![no_main]

use std::os::unix::fs::symlink;

use blip2_core::{inspect::inspect, memory::Workload};
use blip2_fuzz::{KINDS, chosen, fixture, on_disk, small_files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = chosen(bytes, &KINDS) else {
        return;
    };
    let mut files = small_files(kind);
    for (_, content) in files.iter_mut().filter(|(name, _)| name == "config.json") {
        *content = text.to_vec();
    }
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()))
        .collect();
    let folder = on_disk(&files);
    let weights = "model.safetensors";
    symlink(fixture(kind).join(weights), folder.path().join(weights)).expect("a link");
    let Ok(found) = inspect(folder.path()) else {
        return;
    };
    let _ = (found.memory(), found.parameters(), found.to_string());
    let large = Workload::default()
        .with_batch(64)
        .with_prompt_tokens(2000)
        .with_new_tokens(500);
    for work in [Workload::default(), large] {
        let _ = found.peak_memory(&work);
    }
});
