//! Checkpoints that LAVIS saved, and their conversion.
#![no_main]

use blip2_fuzz::{chosen, fixture, on_disk};
use blip2_io::lavis::{Architecture, Conversion};
use libfuzzer_sys::fuzz_target;

/// The fixture whose language model and configuration go with an architecture.
fn partner(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::T5 => "blip2_t5",
        Architecture::InstructT5 => "instructblip_t5",
        Architecture::InstructVicuna => "instructblip_llama",
        _ => "blip2_opt",
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((architecture, rest)) = chosen(bytes, &Architecture::ALL) else {
        return;
    };
    let folder = on_disk(&[("x.pth", rest)]);
    let _ = Conversion::new(folder.path().join("x.pth"), architecture)
        .language_model(fixture(partner(architecture)))
        .tokenizer(fixture("blip2_itr"))
        .vision(fixture("lavis/eva_vit.pth"))
        .write(folder.path().join("out"));
});
