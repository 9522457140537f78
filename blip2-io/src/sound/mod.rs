//! Sound: WAV files, resampling, and the mel features of Granite Speech, as `transformers` and
//! `torchaudio` compute them.
//!
//! ```
//! use blip2_io::sound::{SoundProcessor, SoundProcessorConfig, Waveform};
//!
//! // Half a second of a tone, or `Waveform::open("speech.wav")`.
//! let tone = (0..22_050).map(|n| 0.3 * (n as f32 * 0.06).sin()).collect();
//! let recorded = Waveform::new(tone, 44_100)?;
//!
//! let processor = SoundProcessor::new(SoundProcessorConfig::default())?;
//! let sound = recorded.resampled(processor.config().sample_rate())?; // 16 kHz
//! let batch = processor.process(&[sound])?;
//! assert_eq!(batch.shape(), [1, 25, 160]); // [batch, frames, 2 · mel bands]
//! assert_eq!(batch.audio_embed_sizes(), [6]); // placeholders in the prompt
//! # Ok::<(), blip2_io::sound::SoundError>(())
//! ```
//!
//! # What is read
//!
//! WAV with integers of 8, 16, 24 or 32 bits or floats of 32, within [`SoundLimits`] that are checked
//! before anything is allocated; channels are averaged. Other formats are told by their first bytes
//! and refused by name, with how to convert them.
//!
//! # Rates
//!
//! The published models want 16 kHz. The reference takes samples at any rate for samples at its own,
//! and is wrong then without a word; here a wrong rate is an error, and
//! [`Waveform::resampled`] is the remedy.
//!
//! # Batches
//!
//! The reference pads the samples of a batch with zeros to the longest and computes features of
//! that. So does [`SoundProcessor::process`]: the last frames of a shorter sound differ from those
//! that it has alone, where its end is mirrored in place of zeros, and frames of silence follow. The
//! dynamic range of a sound is measured by its own loudest band and not by the batch's. Whoever wants
//! results that do not depend on the batch computes each sound by itself.

mod batch;
mod error;
mod format;
mod limits;
mod mel;
mod processor;
mod rate;
mod resample;
mod riff;
mod wav;
mod waveform;

pub use batch::SoundBatch;
pub use error::SoundError;
pub use limits::SoundLimits;
pub use mel::{MelConfig, MelExtractor, MelFeatures};
#[cfg(feature = "checkpoint")]
pub(crate) use processor::ProcessorParts;
pub use processor::{SoundProcessor, SoundProcessorConfig};
pub use waveform::Waveform;
