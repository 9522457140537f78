//! `blip2 bench` on a GPU, or on a driver that computes on the processor: what a token costs is accounted for.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_token_of_a_reduced_preset_is_accounted_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args("bench --device wgpu --preset blip2-opt-2.7b --layers 1 --precision int8".split(' '))
        // A driver that computes on the processor takes minutes for a picture of the usual size.
        .args("--prompt-tokens 1 --image-size 56 --new-tokens 3".split(' '))
        .args("--repeat 1 --no-peaks --json".split(' '))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (device, decode) = (&report["device"], &report["decode"]);
    assert!(!device["name"].as_str().unwrap().is_empty(), "{device}");
    let weights = device["weights_bytes"].as_f64().unwrap();
    let moved = decode["bytes_per_token"].as_f64().unwrap();
    // The image encoder and the Q-Former are held too, and read by no token.
    assert!(moved > 0.0 && moved < weights, "{decode} of {weights}");
    let [peak, predicted] =
        ["peak_memory_bytes", "predicted_peak_bytes"].map(|key| report[key].as_f64().unwrap());
    assert!(peak > weights, "{peak} of {weights}");
    assert!(
        (predicted / peak - 1.0).abs() < 0.1,
        "{peak}, {predicted} predicted"
    );
    let launches = decode["launches_per_token"].as_f64().unwrap();
    assert!(launches > 0.0 && launches <= 20.0, "{decode}");
    assert!(
        decode["seconds_per_token"].as_f64().unwrap() > 0.0,
        "{decode}"
    );
}
