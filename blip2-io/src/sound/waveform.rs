//! Samples of a sound.

use std::{fs, path::Path};

use crate::regular;

use super::{error::SoundError, limits::SoundLimits, rate::MAX_RATE, resample, wav};

/// The largest value that a sample may have. Floats may be a little louder than full scale; what is far
/// beyond are integers that were not divided.
const LOUDEST: f32 = 64.0;

/// A sound of one channel: samples in [-1, 1], and how many there are in a second.
///
/// ```
/// use blip2_io::sound::Waveform;
///
/// let second = Waveform::new(vec![0.0; 8_000], 8_000)?;
/// assert_eq!(second.seconds(), 1.0);
/// assert_eq!(second.resampled(16_000)?.samples().len(), 16_000);
///
/// let error = Waveform::new(vec![12_345.0], 8_000).unwrap_err();
/// assert!(error.to_string().contains("divided by 32768"));
/// # Ok::<(), blip2_io::sound::SoundError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    samples: Vec<f32>,
    rate: u32,
}

impl Waveform {
    /// These samples, of which there are `rate` in a second.
    ///
    /// Samples a little beyond [-1, 1] are taken as they are.
    ///
    /// # Errors
    ///
    /// [`SoundError::Empty`]; [`SoundError::Rate`] for a rate of zero or beyond 768 kHz;
    /// [`SoundError::Sample`] for one that is NaN, infinite, or larger than 64, as integers are that
    /// were not divided.
    pub fn new(samples: Vec<f32>, rate: u32) -> Result<Self, SoundError> {
        if rate == 0 || rate > MAX_RATE {
            return Err(SoundError::Rate { rate });
        }
        if samples.is_empty() {
            return Err(SoundError::Empty);
        }
        // What is NaN is not within.
        let is_sample = |value: &f32| value.abs() <= LOUDEST;
        match samples.iter().position(|value| !is_sample(value)) {
            None => Ok(Self { samples, rate }),
            Some(place) => {
                let value = samples.get(place).copied().unwrap_or(f32::NAN);
                Err(SoundError::Sample { place, value })
            }
        }
    }

    /// Reads a WAV: integers of 8, 16, 24 or 32 bits, each divided by the largest of its width, or
    /// floats of 32 or 64 bits; channels are averaged.
    ///
    /// One that was not finished, or was written to a pipe, does not state its true length: it is read to
    /// its end.
    ///
    /// # Errors
    ///
    /// [`SoundError`] naming the file: it cannot be read, is of another format, damaged, empty, over a limit, or holds what [`new`](Self::new) refuses.
    ///
    /// ```
    /// use blip2_io::sound::Waveform;
    ///
    /// let error = Waveform::open("nowhere.wav").unwrap_err();
    /// assert!(error.to_string().starts_with("nowhere.wav: "));
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SoundError> {
        Self::open_within(path, &SoundLimits::default())
    }

    /// As [`open`](Self::open), within other limits.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_within(path: impl AsRef<Path>, limits: &SoundLimits) -> Result<Self, SoundError> {
        let path = path.as_ref();
        let unreadable = |source| SoundError::Read {
            path: path.to_path_buf(),
            source,
        };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        limits
            .check_file(length)
            .map_err(|error| error.in_file(path))?;
        let bytes = regular::read(path, limits.max_file_bytes).map_err(unreadable)?;
        Self::from_bytes_within(&bytes, limits).map_err(|error| error.in_file(path))
    }

    /// As [`open`](Self::open), of a file's bytes.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), without a file's name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SoundError> {
        Self::from_bytes_within(bytes, &SoundLimits::default())
    }

    /// As [`from_bytes`](Self::from_bytes), within other limits.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_bytes_within(bytes: &[u8], limits: &SoundLimits) -> Result<Self, SoundError> {
        let (samples, rate) = wav::decode(bytes, limits)?;
        Self::new(samples, rate)
    }

    /// The sound with another number of samples a second, as `torchaudio.functional.resample` gives
    /// it with its defaults (`sinc_interp_hann`, a low-pass filter of width 6, a roll-off of 0.99):
    /// within 1e-6. At its own rate it is the same sound.
    ///
    /// The published models want 16 kHz. The reference does not resample by itself: there it is the
    /// caller's business, as here.
    ///
    /// # Errors
    ///
    /// [`SoundError::Rate`] for a rate of zero or beyond 768 kHz; [`SoundError::Limit`] for more samples
    /// than [`SoundLimits::max_samples`] allows by default.
    pub fn resampled(&self, rate: u32) -> Result<Self, SoundError> {
        self.resampled_within(rate, &SoundLimits::default())
    }

    /// As [`resampled`](Self::resampled), within other limits.
    ///
    /// # Errors
    ///
    /// As [`resampled`](Self::resampled).
    pub fn resampled_within(&self, rate: u32, limits: &SoundLimits) -> Result<Self, SoundError> {
        self.resampled_length_within(rate, limits)?;
        Ok(Self {
            samples: resample::resampled(&self.samples, self.rate, rate),
            rate,
        })
    }

    /// How many samples [`resampled`](Self::resampled) makes, without making them: for a program that
    /// refuses a sound before it spends time on it.
    ///
    /// ```
    /// use blip2_io::sound::Waveform;
    ///
    /// let sound = Waveform::new(vec![0.1; 44_101], 44_100)?;
    /// assert_eq!(sound.resampled_length(16_000)?, sound.resampled(16_000)?.samples().len());
    /// # Ok::<(), blip2_io::sound::SoundError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`resampled`](Self::resampled).
    pub fn resampled_length(&self, rate: u32) -> Result<usize, SoundError> {
        self.resampled_length_within(rate, &SoundLimits::default())
    }

    fn resampled_length_within(
        &self,
        rate: u32,
        limits: &SoundLimits,
    ) -> Result<usize, SoundError> {
        if rate == 0 || rate > MAX_RATE {
            return Err(SoundError::Rate { rate });
        }
        let exact = self.samples.len() as u64 * u64::from(rate) / u64::from(self.rate);
        limits.check_samples(exact)?;
        Ok(resample::length(self.samples.len(), self.rate, rate))
    }

    /// The samples.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The samples, given away.
    pub fn into_samples(self) -> Vec<f32> {
        self.samples
    }

    /// How many samples there are in a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// How long the sound is.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }
}
