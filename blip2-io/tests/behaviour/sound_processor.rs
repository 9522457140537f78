//! What a folder says of its sounds, and what is refused.

use blip2_io::{
    CheckpointFolder, ErrorKind, IoError,
    sound::{MelConfig, SoundError, SoundProcessor, SoundProcessorConfig, Waveform},
};
use blip2_testing::{assert_says, fixture};

const PREPROCESSOR: &str = "preprocessor_config.json";

fn read(files: &[(&str, &str)]) -> Result<SoundProcessorConfig, IoError> {
    let files = files.iter().map(|(name, text)| (*name, text.to_string()));
    CheckpointFolder::in_memory("speech", files).sound_processor()
}

fn silence(samples: usize, rate: u32) -> Waveform {
    Waveform::new(vec![0.0; samples], rate).unwrap()
}

#[test]
fn a_folder_says_how_its_sounds_are_prepared() {
    let folder = CheckpointFolder::open(fixture("granite_speech")).unwrap();
    let config = folder.sound_processor().unwrap();
    let mel = MelConfig::default().with_n_mels(16);
    let expected = SoundProcessorConfig::default()
        .with_melspec_kwargs(mel)
        .with_projector_window_size(10);
    assert_eq!(config, expected);
}

#[test]
fn numbers_are_read_where_either_version_wrote_them() {
    let beside = r#"{ "n_mels": 40, "sampling_rate": 8000, "projector_window_size": null }"#;
    let config = read(&[(PREPROCESSOR, beside)]).unwrap();
    assert_eq!(
        (config.melspec_kwargs.n_mels, config.sample_rate()),
        (40, 8_000)
    );
    assert_eq!(config.projector_window_size, 15);
    for part in ["audio_processor", "feature_extractor"] {
        let whole = format!(r#"{{ "audio_token": "<a>", "{part}": {{ "n_mels": 20 }} }}"#);
        let config = read(&[("processor_config.json", &whole)]).unwrap();
        assert_eq!(config.melspec_kwargs.n_mels, 20);
        assert_eq!(config.audio_token, "<a>");
    }
}

#[test]
fn the_tokenizers_own_name_for_sound_comes_first() {
    let processor = ("processor_config.json", r#"{ "audio_token": "<a>" }"#);
    let cases = [
        (r#"{ "audio_token": "<b>" }"#, "<b>"),
        (r#"{ "audio_token": { "content": "<b>" } }"#, "<b>"),
        (
            r#"{ "extra_special_tokens": { "audio_token": "<b>" } }"#,
            "<b>",
        ),
        (r#"{ "extra_special_tokens": ["<b>"] }"#, "<a>"),
        ("{}", "<a>"),
    ];
    for (tokenizer, expected) in cases {
        let tokenizer = ("tokenizer_config.json", tokenizer);
        let config = read(&[(PREPROCESSOR, "{}"), processor, tokenizer]).unwrap();
        assert_eq!(config.audio_token, expected);
    }
    let config = read(&[(PREPROCESSOR, "{}")]).unwrap();
    assert_eq!(config.audio_token, "<|audio|>");
}

#[test]
fn a_saved_configuration_is_read_again() {
    let mel = MelConfig::default().with_n_mels(24).with_hop_length(80);
    let config = SoundProcessorConfig::default()
        .with_melspec_kwargs(mel)
        .with_audio_token("<sound>".into());
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&[(PREPROCESSOR, &text)]).unwrap(), config);
}

#[test]
fn faults_name_the_file_and_the_key() {
    assert_says(read(&[]), &["speech", PREPROCESSOR, "missing"]);
    for (text, said) in [
        (r#"{ "n_mels": 0 }"#, "n_mels = 0"),
        (r#"{ "n_mels": 2000 }"#, "n_mels = 2000"),
        (r#"{ "melspec_kwargs": { "n_fft": 0 } }"#, "n_fft = 0"),
        (
            r#"{ "melspec_kwargs": { "n_fft": 513 } }"#,
            "n_fft = 513: must be even",
        ),
        (
            r#"{ "melspec_kwargs": { "n_fft": 18446744073709551615 } }"#,
            "n_fft",
        ),
        (r#"{ "win_length": 600 }"#, "win_length = 600"),
        (r#"{ "hop_length": 0 }"#, "hop_length = 0"),
        (r#"{ "sampling_rate": 0 }"#, "sample_rate = 0"),
        (r#"{ "sampling_rate": -1 }"#, "sampling_rate"),
        (
            r#"{ "projector_window_size": 0 }"#,
            "projector_window_size = 0",
        ),
        (
            r#"{ "projector_downsample_rate": 16 }"#,
            "projector_downsample_rate = 16",
        ),
        (
            r#"{ "projector_downsample_rate": 0 }"#,
            "projector_downsample_rate = 0",
        ),
        (r#"{ "audio_token": "" }"#, "audio_token"),
        (
            r#"{ "n_mels": 40, "melspec_kwargs": { "n_mels": 80 } }"#,
            "n_mels is 40, and 80",
        ),
        (r#"{ "melspec_kwargs": [1] }"#, "melspec_kwargs"),
        ("[]", "a list"),
    ] {
        assert_says(read(&[(PREPROCESSOR, text)]), &[PREPROCESSOR, said]);
        let whole = format!(r#"{{ "audio_processor": {text} }}"#);
        let within = read(&[("processor_config.json", &whole)]);
        if text.starts_with('{') {
            assert_says(within, &["processor_config.json", said]);
        }
    }
}

#[test]
fn sounds_of_another_rate_or_too_short_are_refused_with_the_way_out() {
    let processor = SoundProcessor::new(SoundProcessorConfig::default()).unwrap();
    let wrong = processor.process(&[silence(9_000, 44_100)]);
    assert_says(wrong, &["44100", "resampled(16000)"]);
    for samples in [1, 100, 256] {
        let error = processor.process(&[silence(samples, 16_000)]).unwrap_err();
        assert!(matches!(error, SoundError::TooShort { needed: 257, .. }));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        // Not even where the others' padding would do.
        let batch = [silence(9_000, 16_000), silence(samples, 16_000)];
        assert_says(processor.process(&batch), &["too short", "257"]);
    }
    let shortest = processor.process(&[silence(257, 16_000)]).unwrap();
    assert_eq!(shortest.shape(), [1, 1, 160]);
    assert!(matches!(processor.process(&[]), Err(SoundError::NoSound)));
}

#[test]
fn features_beyond_all_memory_are_refused_before_they_are_computed() {
    let mel = MelConfig::default().with_hop_length(1).with_n_mels(1024);
    let config = SoundProcessorConfig::default().with_melspec_kwargs(mel);
    let processor = SoundProcessor::new(config).unwrap();
    let error = processor
        .process(&[silence(16_000 * 60, 16_000)])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}
