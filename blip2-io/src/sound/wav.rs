//! The samples of a WAV.

use std::io::Read;

use hound::WavReader;

use super::{
    error::SoundError,
    format::check_wav,
    limits::SoundLimits,
    riff::{Coding, Header, header},
};

/// The samples of a WAV, its channels averaged, and their rate in Hz.
pub(super) fn decode(bytes: &[u8], limits: &SoundLimits) -> Result<(Vec<f32>, u32), SoundError> {
    limits.check_file(bytes.len() as u64)?;
    check_wav(bytes)?;
    let stated = header(bytes)?;
    limits.check_channels(stated.channels)?;
    limits.check_length(stated.length() as u64, stated.rate)?;
    let mono = match stated.coding {
        // The decoder gives signed integers of all widths, those of 8 bits less their middle.
        Coding::Integers => {
            let full = 2f64.powi(i32::from(stated.bits) - 1);
            averaged(read::<i32>(&stated)?, &stated, full)
        }
        Coding::Floats => averaged(read::<f32>(&stated)?, &stated, 1.0),
        Coding::Doubles => averaged(doubles(stated.data), &stated, 1.0),
    }?;
    Ok((mono, stated.rate))
}

/// The samples of all channels, as they are in the file.
fn read<'b, S: hound::Sample + 'b>(
    stated: &Header<'b>,
) -> Result<impl Iterator<Item = Result<S, hound::Error>> + use<'b, S>, SoundError> {
    let plain = std::io::Cursor::new(stated.plain()).chain(stated.data);
    let reader = WavReader::new(plain).map_err(SoundError::damaged)?;
    Ok(reader.into_samples())
}

/// Floats of 64 bits, which the decoder does not read.
fn doubles(data: &[u8]) -> impl Iterator<Item = Result<f64, hound::Error>> {
    let (doubles, _) = data.as_chunks::<8>();
    doubles.iter().map(|bytes| Ok(f64::from_le_bytes(*bytes)))
}

/// The mean of each sample's channels, by `full`, which is the largest value.
///
/// Sums are exact in 64 bits, so that one channel keeps its very values.
fn averaged<S: Into<f64>>(
    samples: impl Iterator<Item = Result<S, hound::Error>>,
    stated: &Header<'_>,
    full: f64,
) -> Result<Vec<f32>, SoundError> {
    let channels = stated.channels;
    let mut mono = Vec::with_capacity(stated.length());
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
