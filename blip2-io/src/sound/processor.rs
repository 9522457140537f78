//! What a folder says of its sounds, and the preparation by it.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    batch::SoundBatch,
    error::SoundError,
    mel::{MelConfig, MelExtractor},
    waveform::Waveform,
};

/// The longest window of the projector, in frames: far beyond any model.
const MAX_WINDOW: usize = 1 << 16;

/// `GraniteSpeechFeatureExtractor`, as `preprocessor_config.json` has it, and the token that stands for
/// sound; the defaults are those of `transformers`.
///
/// The numbers of the features are read from `melspec_kwargs`, where the reference saves them, or from
/// beside it; a file in which the two differ is refused.
///
/// ```
/// use blip2_io::sound::SoundProcessorConfig;
///
/// let config: SoundProcessorConfig = serde_json::from_str(
///     r#"{ "sampling_rate": 16000, "melspec_kwargs": { "n_mels": 40 }, "projector_window_size": 10 }"#,
/// )?;
/// config.validate()?;
/// assert_eq!((config.sample_rate(), config.melspec_kwargs.n_mels), (16_000, 40));
/// assert_eq!(config.embed_size(16_000), 10); // placeholders for a second
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SoundProcessorConfig {
    /// How mel features are computed.
    pub melspec_kwargs: MelConfig,
    /// How many frames of the encoder the projector's Q-Former looks at together. Default 15.
    pub projector_window_size: usize,
    /// How many frames become one embedding. Default 5.
    pub projector_downsample_rate: usize,
    /// The token that stands for a sound in a text. Default `<|audio|>`.
    pub audio_token: String,
}

setters! { SoundProcessorConfig {
    with_melspec_kwargs(melspec_kwargs: MelConfig),
    with_projector_window_size(projector_window_size: usize),
    with_projector_downsample_rate(projector_downsample_rate: usize),
    with_audio_token(audio_token: String),
} }

impl Default for SoundProcessorConfig {
    fn default() -> Self {
        Self {
            melspec_kwargs: MelConfig::default(),
            projector_window_size: 15,
            projector_downsample_rate: 5,
            audio_token: "<|audio|>".into(),
        }
    }
}

impl<'de> Deserialize<'de> for SoundProcessorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        raw.read().map_err(D::Error::custom)
    }
}

impl SoundProcessorConfig {
    /// The rate at which the model hears, in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.melspec_kwargs.sample_rate
    }

    /// How many embeddings the projector makes of a sound of this number of samples, which is how many
    /// placeholders it has in the prompt.
    ///
    /// Two of its `samples / hop_length + 1` mel frames are one frame of the encoder, and every window
    /// of those that is begun becomes `projector_window_size / projector_downsample_rate` embeddings.
    pub fn embed_size(&self, samples: usize) -> usize {
        let hop = self.melspec_kwargs.hop_length.max(1);
        let frames = (samples / hop).div_ceil(2);
        let window = self.projector_window_size.max(1);
        frames.div_ceil(window) * (window / self.projector_downsample_rate.max(1))
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    ///
    /// [`SoundError::Config`] naming the key.
    pub fn validate(&self) -> Result<(), SoundError> {
        self.melspec_kwargs.validate()?;
        let (window, rate) = (self.projector_window_size, self.projector_downsample_rate);
        let fault = |key, value: String, reason: String| SoundError::Config { key, value, reason };
        if !(1..=MAX_WINDOW).contains(&window) {
            let reason = format!("must be from 1 to {MAX_WINDOW}");
            return Err(fault("projector_window_size", window.to_string(), reason));
        }
        if !(1..=window).contains(&rate) {
            let reason = format!("must be from 1 to projector_window_size = {window}");
            return Err(fault("projector_downsample_rate", rate.to_string(), reason));
        }
        if self.audio_token.is_empty() {
            let reason = "must be the text of a token".into();
            return Err(fault("audio_token", "\"\"".into(), reason));
        }
        Ok(())
    }
}

/// The file's form: numbers of the features stand in `melspec_kwargs` or beside it.
#[derive(Deserialize)]
struct Raw {
    melspec_kwargs: Option<RawMel>,
    sampling_rate: Option<u32>,
    n_fft: Option<usize>,
    win_length: Option<usize>,
    hop_length: Option<usize>,
    n_mels: Option<usize>,
    projector_window_size: Option<usize>,
    projector_downsample_rate: Option<usize>,
    audio_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawMel {
    sample_rate: Option<u32>,
    n_fft: Option<usize>,
    win_length: Option<usize>,
    hop_length: Option<usize>,
    n_mels: Option<usize>,
}

impl Raw {
    fn read(self) -> Result<SoundProcessorConfig, String> {
        let default = SoundProcessorConfig::default();
        let mel = self.melspec_kwargs.unwrap_or_default();
        let known = default.melspec_kwargs;
        let melspec_kwargs = MelConfig {
            sample_rate: one(
                "sampling_rate",
                mel.sample_rate,
                self.sampling_rate,
                known.sample_rate,
            )?,
            n_fft: one("n_fft", mel.n_fft, self.n_fft, known.n_fft)?,
            win_length: one(
                "win_length",
                mel.win_length,
                self.win_length,
                known.win_length,
            )?,
            hop_length: one(
                "hop_length",
                mel.hop_length,
                self.hop_length,
                known.hop_length,
            )?,
            n_mels: one("n_mels", mel.n_mels, self.n_mels, known.n_mels)?,
        };
        Ok(SoundProcessorConfig {
            melspec_kwargs,
            projector_window_size: self
                .projector_window_size
                .unwrap_or(default.projector_window_size),
            projector_downsample_rate: self
                .projector_downsample_rate
                .unwrap_or(default.projector_downsample_rate),
            audio_token: self.audio_token.unwrap_or(default.audio_token),
        })
    }
}

/// The number that `melspec_kwargs` says, or what stands beside it, if they do not say two.
fn one<T: Copy + PartialEq + std::fmt::Display>(
    key: &str,
    within: Option<T>,
    beside: Option<T>,
    default: T,
) -> Result<T, String> {
    match (within, beside) {
        (Some(within), Some(beside)) if within != beside => Err(format!(
            "{key} is {beside}, and {within} in melspec_kwargs; say the same in both places"
        )),
        (within, beside) => Ok(within.or(beside).unwrap_or(default)),
    }
}

/// What `processor_config.json` says of sound.
#[cfg(feature = "checkpoint")]
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessorParts {
    audio_processor: Option<SoundProcessorConfig>,
    feature_extractor: Option<SoundProcessorConfig>,
    pub(crate) audio_token: Option<String>,
}

#[cfg(feature = "checkpoint")]
impl ProcessorParts {
    /// How sounds are prepared, if the file says it.
    pub(crate) fn sound(&mut self) -> Option<SoundProcessorConfig> {
        let named = self.audio_processor.take();
        named.or_else(|| self.feature_extractor.take())
    }
}

/// Prepares sounds: mel features, padded to one batch.
///
/// ```
/// use blip2_io::sound::{SoundProcessor, SoundProcessorConfig, Waveform};
///
/// let processor = SoundProcessor::new(SoundProcessorConfig::default())?;
/// let second = Waveform::new(vec![0.1; 16_000], 16_000)?;
/// let half = Waveform::new(vec![0.1; 8_000], 16_000)?;
/// let batch = processor.process(&[second, half])?;
/// assert_eq!(batch.shape(), [2, 50, 160]);
/// assert_eq!(batch.audio_embed_sizes(), [12, 6]);
/// # Ok::<(), blip2_io::sound::SoundError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SoundProcessor {
    config: SoundProcessorConfig,
    extractor: MelExtractor,
}

impl SoundProcessor {
    /// A processor of this configuration.
    ///
    /// # Errors
    ///
    /// As [`SoundProcessorConfig::validate`].
    pub fn new(config: SoundProcessorConfig) -> Result<Self, SoundError> {
        config.validate()?;
        let extractor = MelExtractor::new(config.melspec_kwargs)?;
        Ok(Self { config, extractor })
    }

    /// The configuration.
    pub fn config(&self) -> &SoundProcessorConfig {
        &self.config
    }

    /// What computes the features.
    pub fn extractor(&self) -> &MelExtractor {
        &self.extractor
    }

    /// Prepares a batch of sounds as the reference does: samples are padded with zeros to the longest,
    /// which is heard at the end of the shorter ones ([more](super#batches)).
    ///
    /// # Errors
    ///
    /// As [`MelExtractor::extract`] for each sound, also where it would be long enough by its padding;
    /// [`SoundError::NoSound`], [`SoundError::TooManyFeatures`].
    pub fn process(&self, sounds: &[Waveform]) -> Result<SoundBatch, SoundError> {
        let (values, [frames, width]) = self.extractor.extract_padded(sounds)?;
        let size = |sound: &Waveform| self.config.embed_size(sound.samples().len());
        Ok(SoundBatch {
            values,
            shape: [sounds.len(), frames, width],
            sizes: sounds.iter().map(size).collect(),
        })
    }
}
