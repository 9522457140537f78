//! Which format bytes are of, when they are no WAV.

use crate::lfs;

use super::error::SoundError;

/// Formats that are known by their first bytes and not read, at the place where those begin.
const NOT_READ: [(usize, &[u8], &str); 26] = [
    (0, b"fLaC", "FLAC"),
    (0, b"ID3", "MP3"),
    (28, b"OpusHead", "Opus"),
    (28, b"\x01vorbis", "Ogg Vorbis"),
    (0, b"OggS", "Ogg"),
    (4, b"ftypM4A", "M4A (AAC or ALAC)"),
    (4, b"ftypM4B", "M4B (AAC)"),
    (4, b"ftyp3g", "3GP"),
    (4, b"ftypqt", "QuickTime film"),
    (4, b"ftyp", "MP4"),
    (0, b"ADIF", "AAC"),
    (0, b"#!AMR", "AMR"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"RF64", "RF64 (WAV of more than 4 GB)"),
    (0, b"BW64", "BW64 (WAV of more than 4 GB)"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
    (0, b"RIFX", "RIFX (WAV with the largest byte first)"),
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF-C"),
    (8, b"AVI ", "AVI film"),
    (0, b"MThd", "MIDI"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
];

/// That bytes begin as a WAV does.
///
/// # Errors
///
/// [`SoundError::Empty`], [`SoundError::GitLfs`], [`SoundError::UnsupportedFormat`] naming a format
/// that is not read, or [`SoundError::UnknownFormat`].
pub(super) fn check_wav(bytes: &[u8]) -> Result<(), SoundError> {
    if bytes.is_empty() {
        return Err(SoundError::Empty);
    }
    if lfs::is_pointer(bytes) {
        return Err(SoundError::GitLfs);
    }
    let has = |place: usize, magic: &[u8]| {
        bytes
            .get(place..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    if has(0, b"RIFF") && has(8, b"WAVE") {
        return Ok(());
    }
    let known = NOT_READ.iter().find(|(place, magic, _)| has(*place, magic));
    match (known, bytes) {
        (Some((_, _, format)), _) => Err(SoundError::unsupported(*format)),
        (None, [0xff, second, ..]) => frames(*second),
        (None, _) => Err(SoundError::UnknownFormat),
    }
}

/// What begins with a frame of MPEG audio, which has 11 bits set: its version and layer follow.
fn frames(second: u8) -> Result<(), SoundError> {
    match (second & 0xe0, second & 0x06) {
        // Layer 0 is not of MPEG audio: AAC in ADTS has it.
        (0xe0, 0x00) if second & 0xf0 == 0xf0 => Err(SoundError::unsupported("AAC")),
        (0xe0, 0x02) => Err(SoundError::unsupported("MP3")),
        (0xe0, 0x04 | 0x06) => Err(SoundError::unsupported("MPEG audio")),
        _ => Err(SoundError::UnknownFormat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_not_read_are_named_with_the_way_to_convert_them() {
        for (bytes, name) in [
            (&b"fLaC\0\0\0\x22"[..], "FLAC"),
            (b"ID3\x04\0\0", "MP3"),
            (b"\xff\xfb\x90\x64", "MP3"),
            (b"\xff\xf1\x50\x80", "AAC"),
            (b"\0\0\0\x20ftypM4A ", "M4A"),
            (b"FORM\0\0\0\x10AIFFCOMM", "AIFF"),
            (b"RF64\xff\xff\xff\xffWAVE", "RF64"),
            (b"OggS\0\x02", "Ogg"),
        ] {
            let error = check_wav(bytes).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("ffmpeg"), "{error}");
        }
        let mut opus = [0; 40];
        opus[..4].copy_from_slice(b"OggS");
        opus[28..36].copy_from_slice(b"OpusHead");
        let error = check_wav(&opus).unwrap_err().to_string();
        assert!(error.contains("Opus"), "{error}");
    }

    #[test]
    fn what_is_no_sound_is_told_apart() {
        assert!(matches!(check_wav(b""), Err(SoundError::Empty)));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        assert!(matches!(check_wav(pointer), Err(SoundError::GitLfs)));
        for bytes in [
            &b"RIFF"[..],
            b"RIFF\0\0\0\0WEBP",
            b"words",
            &[0xff; 9],
            &[0; 64],
        ] {
            let found = check_wav(bytes);
            let named = matches!(
                found,
                Err(SoundError::UnknownFormat | SoundError::UnsupportedFormat { .. })
            );
            assert!(named, "{bytes:?}: {found:?}");
        }
        assert!(check_wav(b"RIFF\0\0\0\0WAVE").is_ok());
    }
}
