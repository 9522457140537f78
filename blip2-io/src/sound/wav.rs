//! The samples of a WAV.

use hound::{SampleFormat, WavReader};

use super::{
    error::SoundError,
    format::check_wav,
    limits::SoundLimits,
    riff::{Header, header},
};

/// The samples of a WAV, its channels averaged, and their rate in Hz.
pub(super) fn decode(bytes: &[u8], limits: &SoundLimits) -> Result<(Vec<f32>, u32), SoundError> {
    limits.check_file(bytes.len() as u64)?;
    check_wav(bytes)?;
    let stated = header(bytes)?;
    limits.check_channels(stated.channels)?;
    let length = stated.data / u64::from(stated.frame.max(1));
    limits.check_length(length, stated.rate)?;
    let reader = WavReader::new(bytes).map_err(SoundError::damaged)?;
    let spec = reader.spec();
    let mono = match spec.sample_format {
        // `hound` gives signed integers of all widths, those of 8 bits less their middle.
        SampleFormat::Int => {
            let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
            averaged(reader.into_samples::<i32>(), &stated, full)
        }
        SampleFormat::Float => averaged(reader.into_samples::<f32>(), &stated, 1.0),
    }?;
    Ok((mono, stated.rate))
}

/// The mean of each sample's channels, by `full`, which is the largest value.
///
/// Sums are exact in 64 bits, so that one channel keeps its very values.
fn averaged<S: Into<f64>>(
    samples: impl Iterator<Item = Result<S, hound::Error>>,
    stated: &Header,
    full: f64,
) -> Result<Vec<f32>, SoundError> {
    let channels = stated.channels;
    let length = stated.data / u64::from(stated.frame.max(1));
    let mut mono = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    let (mut sum, mut seen) = (0f64, 0);
    for sample in samples {
        sum += sample.map_err(SoundError::damaged)?.into();
        seen += 1;
        if seen == channels {
            mono.push((sum / (f64::from(channels) * full)) as f32);
            (sum, seen) = (0.0, 0);
        }
    }
    Ok(mono)
}
