//! The header of a WAV: what its chunks state, checked against the file before it is decoded.

use super::{error::SoundError, rate::MAX_RATE};

/// The tag of a format whose own tag is in an extension.
const EXTENSIBLE: u16 = 0xfffe;
/// Where the extension's count of valid bits and its tag are in the chunk `fmt `.
const VALID_BITS: usize = 18;
const SUBFORMAT: usize = 24;

/// The length that a program writes who cannot know it yet, such as one that writes to a pipe.
const ENDLESS: u64 = 0xffff_ffff;

/// How a sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Integers,
    Floats,
    /// Floats of 64 bits.
    Doubles,
}

/// What a WAV states, and its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header<'b> {
    pub(super) channels: u16,
    pub(super) rate: u32,
    /// The bytes of all channels of one sample.
    pub(super) frame: u16,
    pub(super) bits: u16,
    pub(super) coding: Coding,
    /// The bytes of the samples, a whole number of frames.
    pub(super) data: &'b [u8],
}

impl<'b> Header<'b> {
    /// How many samples a channel has.
    pub(super) fn length(&self) -> usize {
        self.data.len() / usize::from(self.frame.max(1))
    }

    /// The bytes of a WAV of these samples alone, up to the samples: integers, or floats of 32 bits.
    ///
    /// The decoder reads files of one writer's form. What other writers put between, around and into the
    /// chunks that matter was read here already.
    pub(super) fn plain(&self) -> Vec<u8> {
        let tag: u16 = match self.coding {
            Coding::Integers => 1,
            Coding::Floats | Coding::Doubles => 3,
        };
        let data = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        let second = self.rate.wrapping_mul(self.frame.into());
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend(second.to_le_bytes());
        bytes.extend(self.frame.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(data.to_le_bytes());
        bytes
    }
}

/// Reads the chunks up to the samples; the first 12 bytes are known to be a WAV's.
pub(super) fn header(bytes: &[u8]) -> Result<Header<'_>, SoundError> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut format = None;
    loop {
        let (kind, stated, content) = chunk(rest)?;
        match &kind {
            b"fmt " => format = Some(stated_format(content)?),
            b"data" => {
                let format = format
                    .ok_or_else(|| SoundError::damaged("samples come before their format"))?;
                return with_data(format, stated, content);
            }
            _ => {}
        }
        rest = behind(content, stated)
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

/// What follows a chunk of the stated length.
///
/// A byte fills up a chunk of an odd length, as RIFF requires; some writers leave it out, which shows in
/// the name of a chunk where that byte should be.
fn behind(content: &[u8], stated: u64) -> Option<&[u8]> {
    let next = content.get(usize::try_from(stated).ok()?..)?;
    let padded = match next.get(1..) {
        Some(padded) if !stated.is_multiple_of(2) => padded,
        _ => return Some(next),
    };
    // The end of such a name and the length behind it may look like a name, too.
    let is_wanted = next.starts_with(b"data") || next.starts_with(b"fmt ");
    match is_wanted || (begins_chunk(next) && !begins_chunk(padded)) {
        true => Some(next),
        false => Some(padded),
    }
}

/// Whether bytes look like the start of a chunk: a name in letters, and a length that is there.
fn begins_chunk(bytes: &[u8]) -> bool {
    let Ok((kind, stated, content)) = chunk(bytes) else {
        return false;
    };
    let is_name = kind.iter().all(|byte| matches!(byte, b' '..=b'~'));
    is_name && (kind == *b"data" || stated <= content.len() as u64)
}

/// The header that the chunk `fmt ` states, without samples yet.
fn stated_format(chunk: &[u8]) -> Result<Header<'static>, SoundError> {
    let Some(&[t0, t1, c0, c1, r0, r1, r2, r3, _, _, _, _, f0, f1, b0, b1]) =
        chunk.first_chunk::<16>()
    else {
        return Err(SoundError::damaged("its format is cut short"));
    };
    let bits = u16::from_le_bytes([b0, b1]);
    let stated = Header {
        channels: u16::from_le_bytes([c0, c1]),
        rate: u32::from_le_bytes([r0, r1, r2, r3]),
        frame: u16::from_le_bytes([f0, f1]),
        bits,
        coding: coding(u16::from_le_bytes([t0, t1]), bits, chunk)?,
        data: &[],
    };
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

/// How samples are written; what is not read is refused by name.
fn coding(tag: u16, bits: u16, chunk: &[u8]) -> Result<Coding, SoundError> {
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
    let valid = short(VALID_BITS).filter(|valid| extended && *valid != 0);
    if let Some(valid) = valid.filter(|valid| *valid > bits) {
        let reason = format!("it states {valid} valid bits in {bits}");
        return Err(SoundError::damaged(reason));
    }
    let unsupported = |what: String| Err(SoundError::unsupported(format!("WAV {what}")));
    match (tag, bits) {
        // Fewer valid bits are the highest of them, and the others zero: nothing changes by them.
        (1, 8 | 16 | 24 | 32) => Ok(Coding::Integers),
        (3, 32) => Ok(Coding::Floats),
        (3, 64) => Ok(Coding::Doubles),
        (1, bits) => unsupported(format!("with integers of {bits} bits")),
        (3, bits) => unsupported(format!("with floats of {bits} bits")),
        (2 | 0x11, _) => unsupported("in ADPCM".into()),
        (6, _) => unsupported("in A-law".into()),
        (7, _) => unsupported("in μ-law".into()),
        (0x50 | 0x55, _) => unsupported("with MP3 in it".into()),
        (tag, _) => unsupported(format!("in the coding {tag:#06x}")),
    }
}

/// The header of a WAV whose samples state `stated` bytes, where `found` follow.
///
/// A recorder that was stopped leaves a length of zero, or one that is not reached; a program that writes
/// to a pipe, the largest. Then all that follows is samples.
fn with_data<'b>(
    format: Header<'static>,
    stated: u64,
    found: &'b [u8],
) -> Result<Header<'b>, SoundError> {
    let frame = usize::from(format.frame.max(1));
    let is_finished = stated > 0 && stated <= found.len() as u64;
    // Behind no samples there may be other chunks.
    if stated == 0 && begins_chunk(found) {
        return Err(SoundError::Empty);
    }
    if !is_finished {
        let whole = found.len() - found.len() % frame;
        if whole == 0 {
            return Err(without_samples(stated, found.len() as u64));
        }
        let data = found.get(..whole).unwrap_or_default();
        return Ok(Header { data, ..format });
    }
    if !stated.is_multiple_of(frame as u64) {
        return Err(SoundError::damaged("its last sample is cut short"));
    }
    let length = usize::try_from(stated).unwrap_or(usize::MAX);
    let data = found.get(..length).unwrap_or_default();
    Ok(Header { data, ..format })
}

/// A WAV of which not one sample is there.
fn without_samples(stated: u64, found: u64) -> SoundError {
    match stated {
        0 | ENDLESS => SoundError::Empty,
        _ => SoundError::Truncated { stated, found },
    }
}
