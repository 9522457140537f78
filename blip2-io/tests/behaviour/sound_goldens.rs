//! Sound against the goldens of `transformers` and `torchaudio`.

use blip2_io::{
    CheckpointFolder,
    sound::{MelConfig, SoundProcessor, SoundProcessorConfig, Waveform},
};
use blip2_testing::{Golden, Goldens, assert_close, fixture, json, largest_difference};
use proptest::prelude::*;

const SOUNDS: [&str; 4] = ["chirp_1300ms", "noise_713ms", "tone_40ms", "silence_300ms"];
const CHECKPOINTS: [&str; 3] = [
    "granite_speech",
    "granite_speech_untied",
    "granite_speech_lora",
];

fn sound(name: &str) -> Waveform {
    Waveform::open(fixture(format!("audio/{name}.wav"))).unwrap()
}

/// Fails unless features are the golden's within the tolerance of a stage in f32.
#[track_caller]
fn assert_features(what: &str, found: &[f32], golden: &Golden) {
    let (difference, largest) = largest_difference(found, &golden.values);
    assert!(
        difference <= 1e-4 * f32::max(1.0, largest / 10.0),
        "{what}: {difference:e}"
    );
}

/// The settings by which the goldens of `fixtures/audio` were made, beside the published ones.
fn small() -> SoundProcessorConfig {
    SoundProcessorConfig::default()
        .with_melspec_kwargs(MelConfig::default().with_n_mels(16))
        .with_projector_window_size(10)
}

#[test]
fn wav_samples_are_the_references_to_the_bit() {
    let goldens = Goldens::open(fixture("audio/golden.safetensors"));
    for name in SOUNDS {
        let found = sound(name);
        assert_eq!(found.rate(), 16_000);
        let golden = goldens.get(&format!("{name}.waveform"));
        assert_eq!(found.samples(), golden.values, "{name}");
    }
}

#[test]
fn features_and_their_sizes_are_the_references() {
    let goldens = Goldens::open(fixture("audio/golden.safetensors"));
    let sizes = &json("audio/golden.json")["sizes"];
    for (config, key, size_key) in [
        (small(), "input_features", "audio_embed_sizes"),
        (
            SoundProcessorConfig::default(),
            "input_features_published",
            "published",
        ),
    ] {
        let processor = SoundProcessor::new(config).unwrap();
        for name in SOUNDS {
            let batch = processor.process(&[sound(name)]).unwrap();
            let golden = goldens.get(&format!("{name}.{key}"));
            assert_eq!(batch.shape()[..], golden.shape[..], "{name}");
            assert_features(&format!("{name}.{key}"), batch.input_features(), golden);
            let alone = processor.extractor().extract(&sound(name)).unwrap();
            assert_eq!(alone.values(), batch.input_features());
            let size = sizes[name][size_key][0].as_u64().unwrap();
            assert_eq!(batch.audio_embed_sizes(), [size as usize], "{name}");
        }
    }
}

#[test]
fn a_padded_batch_is_the_references() {
    for name in CHECKPOINTS {
        let goldens = Goldens::open(fixture(name).join("golden.safetensors"));
        let golden_json = json(&format!("{name}/golden.json"));
        let folder = CheckpointFolder::open(fixture(name)).unwrap();
        let processor = SoundProcessor::new(folder.sound_processor().unwrap()).unwrap();
        let sounds: Vec<Waveform> = goldens
            .series("waveform")
            .into_iter()
            .map(|samples| Waveform::new(samples.values.clone(), 16_000).unwrap())
            .collect();
        let batch = processor.process(&sounds).unwrap();
        let golden = goldens.get("input_features");
        assert_eq!(batch.shape()[..], golden.shape[..]);
        assert_features(name, batch.input_features(), golden);

        let inputs = &golden_json["inputs"];
        let sizes: Vec<usize> =
            serde_json::from_value(inputs["audio_embed_sizes"].clone()).unwrap();
        assert_eq!(batch.audio_embed_sizes(), sizes);
        let mask: Vec<Vec<bool>> =
            serde_json::from_value(inputs["input_features_mask"].clone()).unwrap();
        assert_eq!(batch.input_features_mask(), mask.concat());

        let single = processor.process(&sounds[1..]).unwrap();
        let golden = goldens.get("single.input_features");
        assert_eq!(single.shape()[..], golden.shape[..]);
        assert_features(name, single.input_features(), golden);
        // What the padding changes: only frames that reach beyond the shorter sound's end.
        let (padded, alone) = (batch.input_features(), single.input_features());
        let width = batch.shape()[2];
        let second = padded.get(batch.shape()[1] * width..).unwrap();
        let same = second.iter().zip(alone).take_while(|(a, b)| a == b).count();
        let end = alone.len();
        assert!(same >= end - 2 * width && same < end, "{same} of {end}");
    }
}

#[test]
fn tensors_hold_the_features() {
    let processor = SoundProcessor::new(small()).unwrap();
    let batch = processor.process(&[sound("chirp_1300ms")]).unwrap();
    let (values, shape) = (batch.input_features().to_vec(), batch.shape());
    let tensor = batch.tensor(&blip2_io::burn::tensor::Device::flex());
    assert_eq!(tensor.dims(), shape);
    assert_eq!(blip2_testing::floats(tensor), values);
}

#[test]
fn resampled_sounds_are_the_references_to_a_millionth() {
    let goldens = Goldens::open(fixture("audio/resample.safetensors"));
    for (from, to) in [
        (8_000, 16_000),
        (44_100, 16_000),
        (48_000, 16_000),
        (22_050, 16_000),
        (16_000, 44_100),
        (11_025, 16_000),
    ] {
        let name = format!("{from}_{to}");
        let input = goldens.get(&format!("{name}.input"));
        let golden = goldens.get(&format!("{name}.output"));
        let sound = Waveform::new(input.values.clone(), from).unwrap();
        let found = sound.resampled(to).unwrap();
        assert_eq!(found.rate(), to);
        assert_close(&name, found.samples(), &golden.values, 1e-6);
    }
}

/// The level of a tone of 440 Hz, whose samples are resampled to 16 kHz.
fn tone(rate: u32) -> Vec<f32> {
    let samples = (0..rate / 5).map(|n| (n as f32 * 440.0 * 6.283_185_5 / rate as f32).sin());
    let sound = Waveform::new(samples.collect(), rate).unwrap();
    sound.resampled(16_000).unwrap().into_samples()
}

#[test]
fn a_sound_is_the_same_sound_at_every_rate() {
    let own = tone(16_000);
    for rate in [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000] {
        let other = tone(rate);
        // Its ends are cut off differently.
        let inner = 200..own.len() - 200;
        let (found, expected) = (&other[inner.clone()], &own[inner]);
        assert_close(&rate.to_string(), found, expected, 5e-3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn resampled_sounds_are_as_long_as_before(
        from in 1u32..50_000, to in 1u32..50_000, count in 1usize..400,
    ) {
        let sound = Waveform::new(vec![0.25; count], from).unwrap();
        // What few samples at a low rate become would take long.
        let to = to.min(from.saturating_mul(20));
        let found = sound.resampled(to).unwrap();
        let exact = f64::from(to) * count as f64 / f64::from(from);
        prop_assert!((found.samples().len() as f64 - exact.ceil()).abs() <= 1.0);
        prop_assert!(found.samples().iter().all(|value| value.abs() < 0.5));
    }

    #[test]
    fn frames_and_placeholders_follow_from_the_length(
        count in 257usize..6_000, half in 8usize..300, hop in 1usize..500,
        window in 1usize..20, rate in 1usize..20,
    ) {
        let mel = MelConfig::default()
            .with_n_mels(3)
            .with_n_fft(2 * half)
            .with_win_length(half)
            .with_hop_length(hop);
        let config = SoundProcessorConfig::default()
            .with_melspec_kwargs(mel)
            .with_projector_window_size(window)
            .with_projector_downsample_rate(rate.min(window));
        let samples = (0..count).map(|n| (n as f32 * 0.7).sin()).collect();
        let sound = Waveform::new(samples, 16_000).unwrap();
        let processor = SoundProcessor::new(config.clone()).unwrap();
        let found = processor.process(&[sound]);
        if count < mel.fewest_samples() {
            prop_assert!(found.is_err());
            return Ok(());
        }
        let batch = found.unwrap();
        let frames = (count / hop).div_ceil(2);
        prop_assert_eq!(batch.shape(), [1, frames, 6]);
        let windows = frames.div_ceil(window);
        prop_assert_eq!(batch.audio_embed_sizes(), [windows * (window / rate.min(window))]);
        prop_assert!(batch.input_features().iter().all(|value| value.is_finite()));
    }
}
