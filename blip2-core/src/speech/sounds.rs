//! From sound to what the encoder reads.

use std::{borrow::Cow, slice};

use blip2_io::{
    CheckpointFolder,
    config::{ConfigError, GraniteSpeechConfig},
    sound::{SoundError, SoundProcessor, Waveform},
};
use burn::tensor::{Device, Tensor};

use crate::error::Blip2Error;

/// How a speech pipeline reads sound.
#[derive(Debug)]
pub struct Sounds {
    pub(crate) processor: SoundProcessor,
}

impl Sounds {
    /// As the folder says, whose processor must make what its encoder reads.
    pub(super) fn of(
        folder: &CheckpointFolder,
        config: &GraniteSpeechConfig,
    ) -> Result<Self, Blip2Error> {
        const PART: &str = "preprocessor_config.json";
        let says = folder.sound_processor()?;
        for (key, value, wanted) in [
            // Two neighbouring features are one frame.
            (
                "2 · n_mels",
                2 * says.melspec_kwargs.n_mels,
                ("encoder_config.input_dim", config.encoder_config.input_dim),
            ),
            (
                "projector_window_size",
                says.projector_window_size,
                ("window_size", config.window_size),
            ),
            (
                "projector_downsample_rate",
                says.projector_downsample_rate,
                ("downsample_rate", config.downsample_rate),
            ),
        ] {
            let (other, due) = wanted;
            if value != due {
                let reason = format!("config.json has {other} = {due}, and both must say the same");
                return Err(ConfigError::value(PART, key, value, reason).into());
            }
        }
        let processor = SoundProcessor::new(says)?;
        Ok(Self { processor })
    }

    /// A sound at the rate that the model hears.
    pub(super) fn at_rate<'s>(&self, sound: &'s Waveform) -> Result<Cow<'s, Waveform>, Blip2Error> {
        let rate = self.processor.config().sample_rate();
        match sound.rate() == rate {
            true => Ok(Cow::Borrowed(sound)),
            false => Ok(Cow::Owned(sound.resampled(rate)?)),
        }
    }

    /// How many frames the encoder reads of a sound at the model's rate.
    pub(super) fn frames(&self, sound: &Waveform) -> Result<usize, Blip2Error> {
        let mel = self.processor.config().melspec_kwargs;
        let (found, needed) = (sound.samples().len(), mel.fewest_samples());
        if found < needed {
            return Err(SoundError::TooShort { found, needed }.into());
        }
        Ok((found / mel.hop_length.max(1)).div_ceil(2))
    }

    /// What the encoder reads of a sound at the model's rate, `[1, frames, input_dim]`.
    pub(super) fn input_features(
        &self,
        sound: &Waveform,
        device: &Device,
    ) -> Result<Tensor<3>, Blip2Error> {
        let features = self.processor.process(slice::from_ref(sound))?;
        Ok(features.tensor(device))
    }
}
