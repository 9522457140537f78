//! WAV files, and their mel features.
#![no_main]

use std::sync::LazyLock;

use blip2_io::sound::{MelConfig, SoundLimits, SoundProcessor, SoundProcessorConfig, Waveform};
use libfuzzer_sys::fuzz_target;

/// Few bands: what is tried is the sound.
static PROCESSOR: LazyLock<SoundProcessor> = LazyLock::new(|| {
    let mel = MelConfig::default().with_n_mels(8);
    let config = SoundProcessorConfig::default().with_melspec_kwargs(mel);
    SoundProcessor::new(config).expect("settings that make sense")
});

fuzz_target!(|bytes: &[u8]| {
    // Small limits: what a long sound does is a matter of the limits' tests.
    let limits = SoundLimits::default().with_max_samples(1 << 16);
    let Ok(sound) = Waveform::from_bytes_within(bytes, &limits) else {
        return;
    };
    assert!(sound.samples().iter().all(|value| value.is_finite()));
    let Ok(heard) = sound.resampled_within(16_000, &limits) else {
        return;
    };
    if let Ok(batch) = PROCESSOR.process(&[heard]) {
        assert!(batch.input_features().iter().all(|value| value.is_finite()));
    }
});
