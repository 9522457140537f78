//! Configurations of every kind of model, its preprocessing and its generation.
#![no_main]

use blip2_fuzz::{KINDS, chosen, in_memory, small_files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = chosen(bytes, &KINDS) else {
        return;
    };
    let mut files = small_files(kind);
    let Some((file, text)) = chosen(rest, &(0..files.len()).collect::<Vec<_>>()) else {
        return;
    };
    files[file].1 = text.to_vec();
    let folder = in_memory(&files);
    let _ = folder.kind();
    let _ = folder.config();
    let _ = folder.text_config();
    let _ = folder.blip_config();
    let _ = folder.clip_vision_config();
    let _ = folder.image_processor();
    let _ = folder.processor();
    let _ = folder.prompts();
    let _ = folder.generation_config::<blip2_lm::generate::GenerationConfig>();
    let _ = folder.transformers_version();
});
