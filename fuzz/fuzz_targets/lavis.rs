//! Checkpoints that LAVIS saved, and their conversion.
#![no_main]

use blip2_fuzz::{chosen, fixture, on_disk};
use blip2_io::lavis::{Architecture, Conversion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let architectures = [
        Architecture::Retrieval,
        Architecture::Opt,
        Architecture::T5,
        Architecture::InstructT5,
        Architecture::InstructVicuna,
        Architecture::Blip1Caption,
    ];
    let Some((architecture, rest)) = chosen(bytes, &architectures) else {
        return;
    };
    let folder = on_disk(&[("x.pth", rest)]);
    let _ = Conversion::new(folder.path().join("x.pth"), architecture)
        .language_model(fixture("blip2_opt"))
        .tokenizer(fixture("blip2_itr"))
        .write(folder.path().join("out"));
});
