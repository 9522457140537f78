//! Recordings against their goldens: decoding, mel features, and how many vectors each becomes.

use std::path::Path;

use blip2_core::{
    Blip2Error,
    sound::{SoundProcessor, SoundProcessorConfig, Waveform},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    compare::{Compare, Comparison},
    error::VerifyError,
    golden::{Golden, Tolerance},
    options::VerifyOptions,
    report::{Outcome, Report},
};

/// How far samples may be from the reference's: a rounding of the last bit, also where they are resampled.
pub(crate) const SAMPLES: Tolerance = Tolerance(1e-6);

pub(crate) fn verify(
    folder: &Path,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    golden.json("_meta");
    let own = golden.json("extractor").unwrap_or(&Value::Null);
    let own = SoundProcessorConfig::deserialize(own)
        .map_err(|error| VerifyError::golden(format!("extractor: {error}")))?;
    let own = SoundProcessor::new(own).map_err(Blip2Error::from)?;
    let published = SoundProcessor::new(SoundProcessorConfig::default());
    let published = published.map_err(Blip2Error::from)?;
    let sizes = golden.json("sizes").and_then(Value::as_object);
    let sizes = sizes.ok_or_else(|| VerifyError::golden("there are no sizes"))?;
    let mut comparison = Comparison::new(golden, report, options.base());
    for (name, sizes) in sizes {
        let sound = Waveform::open(folder.join(format!("{name}.wav")));
        let key = format!("{name}.waveform");
        let Some(sound) = comparison.run(&key, sound) else {
            continue;
        };
        if let Some(golden) = golden.tensor(&key) {
            let samples = sound.samples();
            let outcome = SAMPLES.compare(&[samples.len()], samples, golden);
            comparison.report().push(key, outcome);
        }
        for (processor, features, size) in [
            (&own, "input_features", "audio_embed_sizes"),
            (&published, "input_features_published", "published"),
        ] {
            let key = format!("{name}.{features}");
            let batch = processor.process(std::slice::from_ref(&sound));
            let Some(batch) = comparison.run(&key, batch) else {
                continue;
            };
            if let Some(golden) = golden.tensor(&key) {
                let (found, tolerance) = (batch.input_features(), options.base());
                let outcome = tolerance.compare(&batch.shape(), found, golden);
                comparison.report().push(key, outcome);
            }
            let outcome = Outcome::equal(&json!(batch.audio_embed_sizes()), &sizes[size]);
            comparison.report().push(format!("{name}.{size}"), outcome);
        }
    }
    Ok(())
}
