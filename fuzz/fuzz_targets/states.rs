//! States of a training, of which one file is the fuzzer's.
#![no_main]

use std::fs;

use blip2_fuzz::chosen;
use blip2_io::{
    burn::{module::Module, tensor::Device},
    kernels::{Bias, Linear, RandomWeights},
};
use blip2_train::{AdamW, Progress, TrainPlan, Trained};
use libfuzzer_sys::fuzz_target;

#[derive(Module, Debug)]
struct Tiny {
    layer: Linear,
}

fn tiny() -> Trained<Tiny> {
    let source = RandomWeights::new(1, 0.1);
    Trained::build(&source, &Device::flex(), &TrainPlan::all(), |weights| {
        let layer = weights.linear("layer", 4, 1, Bias::With);
        Ok(Tiny { layer })
    })
    .expect("a model")
}

fuzz_target!(|bytes: &[u8]| {
    let names = [
        "progress.json",
        "trained.safetensors",
        "optimizer.safetensors",
        "contents.json",
        "average.kept.safetensors",
    ];
    let Some((name, rest)) = chosen(bytes, &names) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut trained = tiny();
    let mut optimizer = AdamW::default();
    let progress = Progress::new(0, &()).expect("no notes");
    let state = trained
        .save_state(&optimizer, &progress, folder.path())
        .expect("a state");
    if name != "contents.json" {
        // Without hashes, so that what is read gets further than the first check.
        fs::remove_file(state.join("contents.json")).expect("hashes");
    }
    fs::write(state.join(name), rest).expect("a file");
    let _ = trained.resume(&mut optimizer, folder.path());
});
