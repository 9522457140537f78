//! How mel features are computed.

use serde::{Deserialize, Serialize};

use crate::sound::{error::SoundError, rate::MAX_RATE};

/// The lowest rate in Hz at which speech can be told.
const MIN_RATE: u32 = 1_000;
/// The longest window and hop, in samples.
const MAX_WINDOW: usize = 1 << 16;
/// The most bands.
const MAX_BANDS: usize = 1 << 10;

/// `melspec_kwargs` of `GraniteSpeechFeatureExtractor`: what `torchaudio.transforms.MelSpectrogram` is
/// given; the defaults are those of `transformers`.
///
/// ```
/// use blip2_io::sound::MelConfig;
///
/// let config: MelConfig = serde_json::from_str(r#"{ "n_mels": 40 }"#)?;
/// config.validate()?;
/// assert_eq!((config.n_mels, config.n_fft), (40, 512));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MelConfig {
    /// How many samples a second has. Default 16,000.
    pub sample_rate: u32,
    /// The length of the Fourier transform, in samples; even, as it is centred. Default 512.
    pub n_fft: usize,
    /// The length of the Hann window in its middle, in samples. Default 400.
    pub win_length: usize,
    /// How many samples lie between a mel frame's middle and the next one's. Default 160.
    pub hop_length: usize,
    /// The number of bands. Default 80.
    pub n_mels: usize,
}

setters! { MelConfig {
    with_sample_rate(sample_rate: u32),
    with_n_fft(n_fft: usize),
    with_win_length(win_length: usize),
    with_hop_length(hop_length: usize),
    with_n_mels(n_mels: usize),
} }

impl Default for MelConfig {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            n_fft: 512,
            win_length: 400,
            hop_length: 160,
            n_mels: 80,
        }
    }
}

impl MelConfig {
    /// The fewest samples that a sound must have: half a transform is mirrored at each of its ends,
    /// and one frame is made of two mel frames.
    pub fn fewest_samples(&self) -> usize {
        (self.n_fft / 2 + 1).max(self.hop_length)
    }

    /// The number of mel frames of a sound of this number of samples, of which two become one frame.
    pub(super) fn mel_frames(&self, samples: usize) -> usize {
        samples / self.hop_length.max(1) + 1
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    ///
    /// [`SoundError::Config`] naming the key.
    pub fn validate(&self) -> Result<(), SoundError> {
        let check = |key, value: usize, least: usize, most: usize| match value {
            value if (least..=most).contains(&value) => Ok(()),
            value => Err(SoundError::Config {
                key,
                value: value.to_string(),
                reason: format!("must be from {least} to {most}"),
            }),
        };
        let rate = self.sample_rate as usize;
        check("sample_rate", rate, MIN_RATE as usize, MAX_RATE as usize)?;
        check("n_fft", self.n_fft, 2, MAX_WINDOW)?;
        check("win_length", self.win_length, 1, self.n_fft)?;
        check("hop_length", self.hop_length, 1, MAX_WINDOW)?;
        check("n_mels", self.n_mels, 1, MAX_BANDS)?;
        match self.n_fft.is_multiple_of(2) {
            true => Ok(()),
            false => Err(SoundError::Config {
                key: "n_fft",
                value: self.n_fft.to_string(),
                reason: "must be even, or frames and placeholders do not agree in number".into(),
            }),
        }
    }
}
