//! The header of a WAV: what its chunks state, checked against the file before it is decoded.

use super::{error::SoundError, rate::MAX_RATE};

/// The tag of a format whose own tag is in an extension.
const EXTENSIBLE: u16 = 0xfffe;
/// Where the extension's count of valid bits and its tag are in the chunk `fmt `.
const VALID_BITS: usize = 18;
const SUBFORMAT: usize = 24;

/// What a WAV states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) channels: u16,
    pub(super) rate: u32,
    /// The bytes of all channels of one sample.
    pub(super) frame: u16,
    /// The bytes of the samples, all of which are there.
    pub(super) data: u64,
}

/// Reads the chunks up to the samples; the first 12 bytes are known to be a WAV's.
pub(super) fn header(bytes: &[u8]) -> Result<Header, SoundError> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut format = None;
    loop {
        let (kind, stated, content) = chunk(rest)?;
        match &kind {
            b"fmt " => format = Some(stated_format(content)?),
            b"data" => {
                let format = format
                    .ok_or_else(|| SoundError::damaged("samples come before their format"))?;
                return with_data(format, stated, content.len() as u64);
            }
            _ => {}
        }
        // No byte fills up a chunk of an odd length here, as the decoder has it.
        let length = usize::try_from(stated).unwrap_or(usize::MAX);
        rest = content
            .get(length..)
            .ok_or_else(|| SoundError::damaged("it ends before its samples"))?;
    }
}

/// The first chunk: its name, the length that it states, and all that follows.
fn chunk(bytes: &[u8]) -> Result<([u8; 4], u64, &[u8]), SoundError> {
    let ended = || SoundError::damaged("it ends before its samples");
    let (kind, rest) = bytes.split_first_chunk::<4>().ok_or_else(ended)?;
    let (length, content) = rest.split_first_chunk::<4>().ok_or_else(ended)?;
    Ok((*kind, u32::from_le_bytes(*length).into(), content))
}

/// The header that the chunk `fmt ` states, without samples yet.
fn stated_format(chunk: &[u8]) -> Result<Header, SoundError> {
    let Some(&[t0, t1, c0, c1, r0, r1, r2, r3, _, _, _, _, f0, f1, b0, b1]) =
        chunk.first_chunk::<16>()
    else {
        return Err(SoundError::damaged("its format is cut short"));
    };
    let stated = Header {
        channels: u16::from_le_bytes([c0, c1]),
        rate: u32::from_le_bytes([r0, r1, r2, r3]),
        frame: u16::from_le_bytes([f0, f1]),
        data: 0,
    };
    let bits = u16::from_le_bytes([b0, b1]);
    check_coding(u16::from_le_bytes([t0, t1]), bits, chunk)?;
    if stated.channels == 0 {
        return Err(SoundError::damaged("it states zero channels"));
    }
    if stated.rate == 0 || stated.rate > MAX_RATE {
        return Err(SoundError::Rate { rate: stated.rate });
    }
    if u32::from(stated.frame) != u32::from(stated.channels) * u32::from(bits / 8) {
        let reason = format!(
            "it states {} bytes for a sample of {} channels of {bits} bits",
            stated.frame, stated.channels
        );
        return Err(SoundError::damaged(reason));
    }
    Ok(stated)
}

/// Refuses how samples may be written and are not read, by name.
fn check_coding(tag: u16, bits: u16, chunk: &[u8]) -> Result<(), SoundError> {
    let short = |place: usize| {
        let bytes = chunk.get(place..)?.first_chunk::<2>()?;
        Some(u16::from_le_bytes(*bytes))
    };
    let extended = tag == EXTENSIBLE;
    let tag = match extended {
        true => short(SUBFORMAT)
            .ok_or_else(|| SoundError::damaged("its format's extension is cut short"))?,
        false => tag,
    };
    if let Some(valid) = short(VALID_BITS).filter(|_| extended)
        && valid != 0
        && valid != bits
    {
        let format = format!("WAV with {valid} valid bits in {bits}");
        return Err(SoundError::unsupported(format));
    }
    match (tag, bits) {
        (1, 8 | 16 | 24 | 32) | (3, 32) => Ok(()),
        (1, bits) => Err(SoundError::unsupported(format!(
            "WAV with integers of {bits} bits"
        ))),
        (3, bits) => Err(SoundError::unsupported(format!(
            "WAV with floats of {bits} bits"
        ))),
        (2 | 0x11, _) => Err(SoundError::unsupported("WAV in ADPCM")),
        (6, _) => Err(SoundError::unsupported("WAV in A-law")),
        (7, _) => Err(SoundError::unsupported("WAV in μ-law")),
        (0x50 | 0x55, _) => Err(SoundError::unsupported("WAV with MP3 in it")),
        (tag, _) => Err(SoundError::unsupported(format!(
            "WAV in the coding {tag:#06x}"
        ))),
    }
}

/// The header of a WAV whose samples state `stated` bytes, where `found` follow.
fn with_data(format: Header, stated: u64, found: u64) -> Result<Header, SoundError> {
    if stated == 0 {
        return Err(SoundError::Empty);
    }
    if stated > found {
        return Err(SoundError::Truncated { stated, found });
    }
    if !stated.is_multiple_of(format.frame.into()) {
        return Err(SoundError::damaged("its last sample is cut short"));
    }
    Ok(Header {
        data: stated,
        ..format
    })
}
