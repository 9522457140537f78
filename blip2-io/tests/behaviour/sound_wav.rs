//! WAV files: of every kind that is read, and those that are refused.

use std::io::Cursor;

use blip2_io::{
    ErrorKind,
    sound::{SoundError, SoundLimits, Waveform},
};
use blip2_testing::{assert_says, workspace};
use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;

fn spec(channels: u16, bits: u16, sample_format: SampleFormat) -> WavSpec {
    WavSpec {
        channels,
        sample_rate: 22_050,
        bits_per_sample: bits,
        sample_format,
    }
}

fn wav<S: hound::Sample>(spec: WavSpec, samples: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// A WAV with a plain header of its own.
fn plain(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let frame = channels * (bits / 8);
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
    for short in [tag, channels] {
        bytes.extend(short.to_le_bytes());
    }
    for long in [rate, rate.wrapping_mul(frame.into())] {
        bytes.extend(long.to_le_bytes());
    }
    for short in [frame, bits] {
        bytes.extend(short.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn integers_of_every_width_are_divided_by_their_largest() {
    for bits in [8u16, 16, 24, 32] {
        let full = 1i64 << (bits - 1);
        let values = [-full, -full / 2, -1, 0, 1, full / 4, full - 1];
        let samples = values.map(|value| value as i32);
        let found = Waveform::from_bytes(&wav(spec(1, bits, SampleFormat::Int), samples)).unwrap();
        let expected = values.map(|value| (value as f64 / full as f64) as f32);
        assert_eq!(found.samples(), expected, "{bits} bits");
        assert_eq!(found.rate(), 22_050);
    }
    // In a plain header, too, where bytes are unsigned.
    let found = Waveform::from_bytes(&plain(1, 1, 8_000, 8, &[0, 128, 192])).unwrap();
    assert_eq!(found.samples(), [-1.0, 0.0, 0.5]);
}

#[test]
fn floats_are_taken_as_they_are() {
    let samples = [0.1f32, -1.0, 1.25, f32::MIN_POSITIVE];
    let bytes = wav(spec(1, 32, SampleFormat::Float), samples);
    assert_eq!(Waveform::from_bytes(&bytes).unwrap().samples(), samples);
}

#[test]
fn channels_are_averaged() {
    let samples = [100i16, 300, -32_768, 32_767, 0, 0];
    let bytes = wav(spec(2, 16, SampleFormat::Int), samples);
    let found = Waveform::from_bytes(&bytes).unwrap();
    assert_eq!(found.samples(), [200.0 / 32_768.0, -0.5 / 32_768.0, 0.0]);
    let three = wav(spec(3, 32, SampleFormat::Float), [0.5f32, 0.25, 0.0]);
    assert_eq!(Waveform::from_bytes(&three).unwrap().samples(), [0.25]);
}

#[test]
fn other_chunks_are_passed_over() {
    let bytes = plain(1, 1, 8_000, 16, &[0, 64]);
    let (head, tail) = bytes.split_at(12);
    let list = b"LIST\x06\0\0\0INFOab";
    let noted = [head, list, tail, b"more behind the samples"].concat();
    assert_eq!(Waveform::from_bytes(&noted).unwrap().samples(), [0.5]);
}

/// A WAV of one channel of 16 bits at 8 kHz, of chunks that are written out.
fn of_chunks(chunks: &[&[u8]]) -> Vec<u8> {
    let head = plain(1, 1, 8_000, 16, &[]);
    [&head[..36], &chunks.concat()].concat()
}

/// RIFF fills up a chunk of an odd length with a byte, which some writers leave out.
#[test]
fn chunks_of_an_odd_length_are_passed_over_with_and_without_their_padding() {
    let data = b"data\x04\0\0\0\0\x40\0\xc0";
    // A length behind `data` that could be the end of a name.
    let long = [&b"data\x30\0\0\0"[..], &[0, 64].repeat(24)].concat();
    let odd: [&[u8]; 3] = [
        b"LIST\x05\0\0\0INFOa",
        b"id3 \x01\0\0\0x",
        b"bext\x03\0\0\0\0\0\0",
    ];
    for chunk in odd {
        for padding in [&b"\0"[..], b"x", b""] {
            let sound = Waveform::from_bytes(&of_chunks(&[chunk, padding, data])).unwrap();
            assert_eq!(sound.samples(), [0.5, -0.5], "{padding:?}");
            let sound = Waveform::from_bytes(&of_chunks(&[chunk, padding, &long])).unwrap();
            assert_eq!(sound.samples(), [0.5; 24], "{padding:?}");
            let more = [chunk, padding, b"LIST\x04\0\0\0INFO", data];
            let sound = Waveform::from_bytes(&of_chunks(&more)).unwrap();
            assert_eq!(sound.samples(), [0.5, -0.5], "{padding:?}");
        }
    }
    let all = [odd[0], b"\0", odd[1], b"\0", odd[2], b"\0", data];
    let sound = Waveform::from_bytes(&of_chunks(&all)).unwrap();
    assert_eq!(sound.samples(), [0.5, -0.5]);
}

/// As recorders leave it that were stopped, and programs that write to a pipe.
#[test]
fn samples_of_an_unknown_number_are_read_to_the_end() {
    let samples = b"\0\x40\0\xc0\0\x20";
    for stated in [0, 9, 100, u32::MAX - 1, u32::MAX] {
        let head = [b"data", &stated.to_le_bytes()[..]].concat();
        let sound = Waveform::from_bytes(&of_chunks(&[&head, samples])).unwrap();
        assert_eq!(sound.samples(), [0.5, -0.5, 0.25], "{stated}");
        // What is there of a last sample is left out.
        let sound = Waveform::from_bytes(&of_chunks(&[&head, samples, b"\x7f"])).unwrap();
        assert_eq!(sound.samples()[..2], [0.5, -0.5], "{stated}");
        for none in [&b""[..], b"\0"] {
            let empty = Waveform::from_bytes(&of_chunks(&[&head, none]));
            let told = match stated {
                0 | u32::MAX => "is empty".to_string(),
                _ => format!("has {}", none.len()),
            };
            assert_says(empty, &[&told]);
        }
    }
    let followed = of_chunks(&[b"data\0\0\0\0", b"LIST\x04\0\0\0INFO"]);
    let empty = Waveform::from_bytes(&followed).unwrap_err();
    assert!(matches!(empty, SoundError::Empty), "{empty}");
}

#[test]
fn a_wav_that_is_cut_short_has_its_whole_frames() {
    let bytes = wav(spec(2, 16, SampleFormat::Int), (0..200).map(|n| n as i16));
    let whole = Waveform::from_bytes(&bytes).unwrap();
    for cut in 0..bytes.len() {
        let found = Waveform::from_bytes(&bytes[..cut]);
        match cut.saturating_sub(44) / 4 {
            0 => assert!(found.is_err(), "{cut}"),
            frames => assert_eq!(found.unwrap().samples(), &whole.samples()[..frames]),
        }
    }
    let error = Waveform::from_bytes(&bytes[..45]).unwrap_err();
    assert!(matches!(error, SoundError::Truncated { .. }), "{error}");
    assert_says(Err::<(), _>(error), &["400", "has 1", "cut short"]);
}

/// Fewer valid bits are the highest of a sample.
#[test]
fn an_extended_format_may_have_fewer_valid_bits() {
    let integers = "0100000000001000800000aa00389b71";
    let guid = (0..16).map(|n| u8::from_str_radix(&integers[2 * n..2 * n + 2], 16).unwrap());
    let guid: Vec<u8> = guid.collect();
    for (bits, valid, sample) in [
        (32u16, 24u16, &[0, 0, 0, 0x40][..]),
        (24, 20, &[0, 0, 0x40]),
        (16, 0, &[0, 0x40]),
    ] {
        let bytes = plain(0xfffe, 1, 8_000, bits, &sample.repeat(2));
        let extension = [
            &22u16.to_le_bytes()[..],
            &valid.to_le_bytes(),
            &[4, 0, 0, 0],
        ];
        let extension = extension.concat();
        let mut extended = [&bytes[..36], &extension, &guid, &bytes[36..]].concat();
        extended[16] = 40;
        let sound = Waveform::from_bytes(&extended).unwrap();
        assert_eq!(sound.samples(), [0.5, 0.5], "{valid} in {bits}");
    }
}

#[test]
fn floats_of_64_bits_are_read() {
    let samples = [0.1f64, -1.0, 0.5, 0.25];
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let sound = Waveform::from_bytes(&plain(3, 1, 8_000, 64, &data)).unwrap();
    assert_eq!(sound.samples(), samples.map(|value| value as f32));
    let sound = Waveform::from_bytes(&plain(3, 2, 8_000, 64, &data)).unwrap();
    assert_eq!(sound.samples(), [-0.45, 0.375]);
    let none = plain(3, 1, 8_000, 64, &f64::MAX.to_le_bytes());
    assert_says(Waveform::from_bytes(&none), &["sample 0", "inf"]);
}

#[test]
fn samples_that_are_no_numbers_are_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 32_000.0] {
        let bytes = wav(spec(1, 32, SampleFormat::Float), [0.0, 0.5, value]);
        let error = Waveform::from_bytes(&bytes).unwrap_err();
        assert!(matches!(error, SoundError::Sample { place: 2, .. }));
        let told = match value.is_finite() {
            true => "divided by 32768",
            false => "is no sample",
        };
        assert_says(Err::<(), _>(error), &[told]);
        assert!(Waveform::new(vec![0.0, value], 8_000).is_err());
    }
    assert!(matches!(
        Waveform::new(vec![], 8_000),
        Err(SoundError::Empty)
    ));
    for rate in [0, 800_000, u32::MAX] {
        assert_says(Waveform::new(vec![0.0], rate), &["rate", "Hz"]);
        assert_says(
            Waveform::new(vec![0.0], 8_000).unwrap().resampled(rate),
            &["Hz"],
        );
    }
}

#[test]
fn each_limit_names_itself_and_its_option() {
    let bytes = plain(1, 2, 8_000, 16, &[0; 4 * 16_001]);
    type Change = fn(SoundLimits) -> SoundLimits;
    let cases: [(Change, &str); 4] = [
        (|limits| limits.with_max_file_bytes(10), "max_file_bytes"),
        (|limits| limits.with_max_seconds(2), "max_seconds"),
        (|limits| limits.with_max_samples(16_000), "max_samples"),
        (|limits| limits.with_max_channels(1), "max_channels"),
    ];
    for (change, option) in cases {
        let limits = change(SoundLimits::default());
        let error = Waveform::from_bytes_within(&bytes, &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_says(Err::<(), _>(error), &[option]);
    }
    let one = SoundLimits::default().with_max_channels(1);
    assert_says(
        Waveform::from_bytes_within(&bytes, &one),
        &["mix them down"],
    );
    let sound = Waveform::from_bytes(&bytes).unwrap();
    let limits = SoundLimits::default().with_max_samples(20_000);
    assert_says(sound.resampled_within(16_000, &limits), &["max_samples"]);
}

#[test]
fn an_error_from_a_file_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("speech.wav");
    let missing = Waveform::open(&path).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    std::fs::write(&path, "fLaC").unwrap();
    assert_says(Waveform::open(&path), &["speech.wav: ", "FLAC", "ffmpeg"]);
    assert_says(Waveform::open(folder.path()), &["it is a folder"]);
    let bytes = plain(1, 1, 8_000, 16, &[0, 64]);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(Waveform::open(&path).unwrap().samples(), [0.5]);
}

/// Files of `bad/files`, which `bad/make.py` writes, what must be said of each, and what is at fault.
const BAD: [(&str, &str, ErrorKind); 24] = [
    ("empty.wav", "empty", ErrorKind::Malformed),
    ("magic.wav", "ends before its samples", ErrorKind::Malformed),
    ("no_data.wav", "empty", ErrorKind::Malformed),
    ("no_format.wav", "before their format", ErrorKind::Malformed),
    (
        "short_format.wav",
        "format is cut short",
        ErrorKind::Malformed,
    ),
    ("cut.wav", "100 bytes", ErrorKind::Malformed),
    ("endless.wav", "empty", ErrorKind::Malformed),
    (
        "endless_chunk.wav",
        "ends before its samples",
        ErrorKind::Malformed,
    ),
    ("half.wav", "last sample", ErrorKind::Malformed),
    ("no_channels.wav", "zero channels", ErrorKind::Malformed),
    ("channels.wav", "max_channels", ErrorKind::Limit),
    ("no_rate.wav", "0 Hz", ErrorKind::Invalid),
    ("rate.wav", "4294967295 Hz", ErrorKind::Invalid),
    ("frame.wav", "3 bytes", ErrorKind::Malformed),
    ("seconds.wav", "max_seconds", ErrorKind::Limit),
    ("bits.wav", "12 bits", ErrorKind::Unsupported),
    (
        "half_floats.wav",
        "floats of 16 bits",
        ErrorKind::Unsupported,
    ),
    ("valid.wav", "40 valid bits in 32", ErrorKind::Malformed),
    ("mu_law.wav", "μ-law", ErrorKind::Unsupported),
    ("adpcm.wav", "ADPCM", ErrorKind::Unsupported),
    ("nan.wav", "sample 1 ", ErrorKind::Invalid),
    ("flac.wav", "FLAC", ErrorKind::Unsupported),
    ("mp3.wav", "MP3", ErrorKind::Unsupported),
    ("pointer.wav", "git lfs pull", ErrorKind::NotFound),
];

#[test]
fn spoilt_files_are_refused_by_name() {
    for (name, said, kind) in BAD {
        let path = workspace().join("bad/files").join(name);
        let error = Waveform::open(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_says(Err::<(), _>(error), &[name, said]);
    }
    let mut listed: Vec<String> = BAD.iter().map(|(name, ..)| name.to_string()).collect();
    let entries = std::fs::read_dir(workspace().join("bad/files")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<String> = names.filter(|name| name.ends_with(".wav")).collect();
    listed.sort();
    there.sort();
    assert_eq!(there, listed);
}

proptest! {
    #[test]
    fn spoilt_bytes_never_panic(
        place in 0usize..70, byte: u8, cut in 0usize..130, tail in any::<[u8; 8]>(),
    ) {
        let samples = [0.25f32; 8];
        for mut bytes in [
            wav(spec(2, 24, SampleFormat::Int), 0..8),
            wav(spec(1, 32, SampleFormat::Float), samples),
            plain(1, 1, 8_000, 16, &tail),
        ] {
            if let Some(there) = bytes.get_mut(place) {
                *there = byte;
            }
            bytes.truncate(cut);
            bytes.extend(tail);
            if let Ok(sound) = Waveform::from_bytes(&bytes) {
                prop_assert!(sound.samples().iter().all(|value| value.is_finite()));
            }
        }
    }
}
