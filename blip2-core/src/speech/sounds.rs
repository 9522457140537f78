//! From sound to what the encoder reads.

use std::{borrow::Cow, slice};

use blip2_io::{
    CheckpointFolder,
    config::GraniteSpeechConfig,
    sound::{SoundError, SoundProcessor, SoundProcessorConfig, Waveform},
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
        let (says, path) = folder.sound_processor_in()?;
        check_agrees(&says, config).map_err(|source| SoundError::File {
            path,
            source: Box::new(source),
        })?;
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

    /// How many frames the encoder reads of a sound, which may be at any rate: known before it is
    /// resampled, which takes seconds of a long one.
    pub(super) fn frames(&self, sound: &Waveform) -> Result<usize, Blip2Error> {
        let config = self.processor.config();
        let (mel, rate) = (config.melspec_kwargs, config.sample_rate());
        let (found, needed) = (sound.resampled_length(rate)?, mel.fewest_samples());
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

/// Checks that a processor makes what the encoder and the projector read.
fn check_agrees(
    says: &SoundProcessorConfig,
    config: &GraniteSpeechConfig,
) -> Result<(), SoundError> {
    let (mels, due) = (says.melspec_kwargs.n_mels, config.encoder_config.input_dim);
    let (window, rate) = (says.projector_window_size, says.projector_downsample_rate);
    let reason = |other: &str, due: usize, how: &str| {
        format!("config.json has {other} = {due}, which must be {how}")
    };
    for (key, value, agrees, reason) in [
        // Two neighbouring features are one frame.
        (
            "n_mels",
            mels,
            2 * mels == due,
            reason("encoder_config.input_dim", due, "twice as much"),
        ),
        (
            "projector_window_size",
            window,
            window == config.window_size,
            reason("window_size", config.window_size, "the same"),
        ),
        (
            "projector_downsample_rate",
            rate,
            rate == config.downsample_rate,
            reason("downsample_rate", config.downsample_rate, "the same"),
        ),
    ] {
        if !agrees {
            let value = value.to_string();
            return Err(SoundError::Config { key, value, reason });
        }
    }
    Ok(())
}
