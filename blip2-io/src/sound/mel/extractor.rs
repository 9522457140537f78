//! The computation of mel features.

use std::{f64::consts::PI, fmt, sync::Arc};

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

use crate::sound::{error::SoundError, waveform::Waveform};

use super::{
    config::MelConfig,
    features::MelFeatures,
    filters::{Band, bands},
};

/// The most numbers of the features of a batch: 2 GiB of memory.
const MAX_VALUES: usize = 1 << 29;
/// The least energy of a band, whose logarithm is still taken.
const LEAST: f64 = 1e-10;
/// How far the quietest band may lie below the loudest of a sound, in powers of ten.
const RANGE: f32 = 8.0;

/// Computes mel features as `GraniteSpeechFeatureExtractor` of `transformers` does, by
/// `MelSpectrogram` of `torchaudio`.
///
/// Samples are cut into pieces of `n_fft` around every `hop_length`th, mirrored at both ends of the
/// sound, and multiplied by a periodic Hann window. Of each piece the power of its frequencies is
/// summed in triangular bands on HTK's mel scale. The logarithm to the base of ten follows, at the
/// least 8 below the sound's largest, divided by 4 and increased by 1. Two neighbouring mel frames
/// become one frame; an odd last one is dropped.
///
/// ```
/// use blip2_io::sound::{MelConfig, MelExtractor, Waveform};
///
/// let extractor = MelExtractor::new(MelConfig::default())?;
/// let silence = Waveform::new(vec![0.0; 1_600], 16_000)?;
/// let features = extractor.extract(&silence)?;
/// assert_eq!(features.shape(), [5, 160]);
/// assert!(features.values().iter().all(|value| *value == -1.5));
/// # Ok::<(), blip2_io::sound::SoundError>(())
/// ```
#[derive(Clone)]
pub struct MelExtractor {
    config: MelConfig,
    /// The window in the middle of a transform, with zeros around it.
    window: Vec<f32>,
    bands: Vec<Band>,
    transform: Arc<dyn RealToComplex<f64>>,
}

impl fmt::Debug for MelExtractor {
    /// The configuration alone, of which everything else is made.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MelExtractor");
        shown.field("config", &self.config).finish_non_exhaustive()
    }
}

impl MelExtractor {
    /// An extractor of this configuration.
    ///
    /// # Errors
    ///
    /// As [`MelConfig::validate`].
    pub fn new(config: MelConfig) -> Result<Self, SoundError> {
        config.validate()?;
        Ok(Self {
            config,
            window: window(&config),
            bands: bands(&config),
            transform: RealFftPlanner::new().plan_fft_forward(config.n_fft),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &MelConfig {
        &self.config
    }

    /// The features of one sound by itself: `[frames, 2 * n_mels]`.
    ///
    /// # Errors
    ///
    /// [`SoundError::WrongRate`] for a sound at another rate than the configuration's,
    /// [`SoundError::TooShort`] for one that has fewer samples than
    /// [`MelConfig::fewest_samples`], [`SoundError::TooManyFeatures`].
    pub fn extract(&self, sound: &Waveform) -> Result<MelFeatures, SoundError> {
        let (values, shape) = self.extract_padded(std::slice::from_ref(sound))?;
        Ok(MelFeatures { values, shape })
    }

    /// The features of several sounds, padded with zeros to the longest, one after another, and the shape
    /// that each has.
    pub(in crate::sound) fn extract_padded(
        &self,
        sounds: &[Waveform],
    ) -> Result<(Vec<f32>, [usize; 2]), SoundError> {
        let lengths = sounds.iter().map(|sound| sound.samples().len());
        let longest = lengths.max().ok_or(SoundError::NoSound)?;
        sounds.iter().try_for_each(|sound| self.check(sound))?;
        let mel_frames = self.config.mel_frames(longest);
        let all = mel_frames
            .checked_mul(self.config.n_mels)
            .and_then(|each| each.checked_mul(sounds.len()))
            .filter(|all| *all <= MAX_VALUES);
        let too_many = || SoundError::TooManyFeatures {
            sounds: sounds.len(),
            frames: mel_frames,
            limit: MAX_VALUES,
        };
        let mut values = Vec::with_capacity(all.ok_or_else(too_many)?);
        for sound in sounds {
            self.append(sound.samples(), longest, &mut values)?;
        }
        Ok((values, [mel_frames / 2, 2 * self.config.n_mels]))
    }

    fn check(&self, sound: &Waveform) -> Result<(), SoundError> {
        let (found, wanted) = (sound.rate(), self.config.sample_rate);
        if found != wanted {
            return Err(SoundError::WrongRate { found, wanted });
        }
        let (found, needed) = (sound.samples().len(), self.config.fewest_samples());
        match found < needed {
            true => Err(SoundError::TooShort { found, needed }),
            false => Ok(()),
        }
    }

    /// Appends the features of samples that are followed by zeros up to `length`.
    fn append(
        &self,
        samples: &[f32],
        length: usize,
        values: &mut Vec<f32>,
    ) -> Result<(), SoundError> {
        let mut scratch = Scratch::new(self.transform.as_ref());
        let begin = values.len();
        let frames = self.config.mel_frames(length);
        for frame in 0..frames {
            let middle = frame * self.config.hop_length;
            self.cut(samples, length, middle, &mut scratch.piece);
            scratch.transform(self.transform.as_ref())?;
            let log = |band: &Band| band.energy(&scratch.power).max(LEAST).log10() as f32;
            values.extend(self.bands.iter().map(log));
        }
        let own = values.get_mut(begin..).unwrap_or_default();
        // The last mel frame counts here, also where it is dropped then.
        let loudest = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for value in own {
            *value = value.max(loudest - RANGE) / 4.0 + 1.0;
        }
        values.truncate(begin + frames / 2 * 2 * self.config.n_mels);
        Ok(())
    }

    /// The windowed piece around `middle` of samples that are followed by zeros up to `length` and
    /// mirrored at both ends, without the first and the last being there twice.
    fn cut(&self, samples: &[f32], length: usize, middle: usize, piece: &mut [f64]) {
        let half = self.config.n_fft / 2;
        for (n, (value, weight)) in piece.iter_mut().zip(&self.window).enumerate() {
            let place = (middle + n).abs_diff(half);
            let place = match place < length {
                true => place,
                false => (2 * (length - 1)).saturating_sub(place),
            };
            let sample = samples.get(place).copied().unwrap_or(0.0);
            *value = f64::from(sample * weight);
        }
    }
}

/// What each transform writes into.
struct Scratch {
    piece: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    within: Vec<Complex<f64>>,
    power: Vec<f64>,
}

impl Scratch {
    fn new(transform: &dyn RealToComplex<f64>) -> Self {
        let spectrum = transform.make_output_vec();
        Self {
            piece: transform.make_input_vec(),
            power: vec![0.0; spectrum.len()],
            within: transform.make_scratch_vec(),
            spectrum,
        }
    }

    /// The power of the piece's frequencies.
    fn transform(&mut self, transform: &dyn RealToComplex<f64>) -> Result<(), SoundError> {
        // Lengths are the transform's own, so that it has nothing to refuse.
        transform
            .process_with_scratch(&mut self.piece, &mut self.spectrum, &mut self.within)
            .map_err(SoundError::damaged)?;
        for (power, value) in self.power.iter_mut().zip(&self.spectrum) {
            *power = value.norm_sqr();
        }
        Ok(())
    }
}

/// A periodic Hann window of `win_length`, with zeros on both sides up to `n_fft`.
fn window(config: &MelConfig) -> Vec<f32> {
    let MelConfig {
        n_fft, win_length, ..
    } = *config;
    let before = (n_fft - win_length.min(n_fft)) / 2;
    let hann = |n: usize| (0.5 - 0.5 * (2.0 * PI * n as f64 / win_length as f64).cos()) as f32;
    let mut window = vec![0.0; n_fft];
    let inner = window.iter_mut().skip(before).take(win_length);
    for (n, value) in inner.enumerate() {
        *value = hann(n);
    }
    window
}
