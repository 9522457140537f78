//! States of a training, of which one file is the fuzzer's.
#![no_main]

use std::{fs, sync::LazyLock};

use blip2_fuzz::{Named, chosen};
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

/// A model, and the folder and files of a whole state of it.
static WHOLE: LazyLock<(Trained<Tiny>, String, Named)> = LazyLock::new(|| {
    let source = RandomWeights::new(1, 0.1);
    let trained = Trained::build(&source, &Device::flex(), &TrainPlan::all(), |weights| {
        let layer = weights.linear("layer", 4, 1, Bias::With);
        Ok(Tiny { layer })
    });
    let trained = trained.expect("a model");
    let folder = tempfile::tempdir().expect("a folder");
    let progress = Progress::new(0, &()).expect("no notes");
    let state = trained
        .save_state(&AdamW::default(), &progress, folder.path())
        .expect("a state");
    let files = fs::read_dir(&state).expect("a folder").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        (name, fs::read(entry.path()).expect("a file"))
    });
    let name = state.file_name().and_then(|name| name.to_str());
    let name = name.expect("a name").to_string();
    (trained, name, files.collect())
});

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
    let (trained, state, files) = &*WHOLE;
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join(state);
    fs::create_dir_all(&state).expect("a folder");
    for (file, content) in files {
        // Without hashes, so that what is read gets further than the first check.
        let content = match file.as_str() {
            "contents.json" => br#"{"files":{}}"#.as_slice(),
            _ => content.as_slice(),
        };
        fs::write(state.join(file), content).expect("a file");
    }
    fs::write(state.join(name), rest).expect("a file");
    let _ = trained.clone().resume(&mut AdamW::default(), folder.path());
});
