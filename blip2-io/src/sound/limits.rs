//! How long a sound may be.

use super::error::SoundError;

/// How long a sound may be. All are checked against the header, before any sample is decoded.
///
/// ```
/// use blip2_io::sound::{SoundLimits, Waveform};
///
/// let limits = SoundLimits::default().with_max_seconds(30);
/// let error = Waveform::open_within("nowhere.wav", &limits).unwrap_err();
/// assert!(error.to_string().starts_with("nowhere.wav: "));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoundLimits {
    /// The most bytes of a file. Default 1 GiB.
    pub max_file_bytes: u64,
    /// The most seconds. Default 3,600.
    pub max_seconds: u64,
    /// The most samples of one channel, each of which takes 4 bytes. Default 200 million: more than an
    /// hour at 48 kHz.
    pub max_samples: u64,
    /// The most channels. Default 64.
    pub max_channels: u16,
}

setters! { SoundLimits {
    with_max_file_bytes(max_file_bytes: u64),
    with_max_seconds(max_seconds: u64),
    with_max_samples(max_samples: u64),
    with_max_channels(max_channels: u16),
} }

impl Default for SoundLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: 1 << 30,
            max_seconds: 3_600,
            max_samples: 200_000_000,
            max_channels: 64,
        }
    }
}

impl SoundLimits {
    pub(super) fn check_file(&self, bytes: u64) -> Result<(), SoundError> {
        let (limit, option) = (self.max_file_bytes, "max_file_bytes");
        within("size in bytes", bytes, limit, option)
    }

    pub(super) fn check_channels(&self, channels: u16) -> Result<(), SoundError> {
        let (limit, option) = (self.max_channels.into(), "max_channels");
        within("number of channels", channels.into(), limit, option)
    }

    /// Checks how many samples a channel has; the rate is not zero.
    pub(super) fn check_length(&self, samples: u64, rate: u32) -> Result<(), SoundError> {
        self.check_samples(samples)?;
        let seconds = samples.div_ceil(u64::from(rate.max(1)));
        let (limit, option) = (self.max_seconds, "max_seconds");
        within("length in seconds", seconds, limit, option)
    }

    pub(super) fn check_samples(&self, samples: u64) -> Result<(), SoundError> {
        let (limit, option) = (self.max_samples, "max_samples");
        within("number of samples", samples, limit, option)
    }
}

fn within(
    what: &'static str,
    found: u64,
    limit: u64,
    option: &'static str,
) -> Result<(), SoundError> {
    match found > limit {
        false => Ok(()),
        true => Err(SoundError::Limit {
            what,
            found,
            limit,
            option,
        }),
    }
}
