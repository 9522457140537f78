//! From recordings to mel features: decoding, and the layout of a batch.

use std::path::Path;

use blip2_core::{
    sound::{SoundBatch, Waveform},
    speech::SpeechPipeline,
};
use serde_json::Value;

use crate::{
    compare::{Compare, Comparison},
    error::VerifyError,
    golden::Golden,
    recordings::SAMPLES,
    report::Outcome,
};

/// Checks what is read of the recorded sounds, and gives how many vectors each becomes.
pub(super) fn verify(
    comparison: &mut Comparison<'_>,
    golden: &Golden,
    folder: &Path,
    speech: &SpeechPipeline,
) -> Result<Vec<usize>, VerifyError> {
    files(comparison, golden, folder, speech);
    let rate = speech.processor().config().sample_rate();
    let mut sounds = Vec::new();
    for (key, samples) in golden.series("waveform") {
        let sound = Waveform::new(samples.floats()?, rate);
        sounds.push(sound.map_err(|error| VerifyError::golden(format!("{key}: {error}")))?);
    }
    if let Some(batch) = batch(comparison, golden, speech, ("input_features", &sounds)) {
        layout(comparison, golden, &batch);
    }
    let second = sounds.get(1..).unwrap_or_default();
    batch(
        comparison,
        golden,
        speech,
        ("single.input_features", second),
    );
    sizes(golden)
}

/// The recordings beside the goldens, decoded.
fn files(comparison: &mut Comparison<'_>, golden: &Golden, folder: &Path, speech: &SpeechPipeline) {
    let names = golden.json("audio").and_then(Value::as_array);
    let names: Vec<String> = names
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_string))
        .collect();
    let rate = speech.processor().config().sample_rate();
    for (n, name) in names.iter().enumerate() {
        let path = folder.join(name);
        let golden = golden.tensor(&format!("waveform.{n}"));
        let (true, Some(golden)) = (path.is_file(), golden) else {
            continue;
        };
        let key = format!("waveform ({name})");
        let sound = speech
            .open(&path)
            .and_then(|sound| Ok(sound.resampled(rate)?));
        if let Some(sound) = comparison.run(&key, sound) {
            let samples = sound.samples();
            let outcome = SAMPLES.compare(&[samples.len()], samples, golden);
            comparison.report().push(key, outcome);
        }
    }
}

/// The mel features of sounds together.
fn batch(
    comparison: &mut Comparison<'_>,
    golden: &Golden,
    speech: &SpeechPipeline,
    (key, sounds): (&str, &[Waveform]),
) -> Option<SoundBatch> {
    let golden = golden.tensor(key)?;
    let batch = speech.processor().process(sounds);
    let batch = comparison.run(key, batch)?;
    let tolerance = comparison.tolerance();
    let outcome = tolerance.compare(&batch.shape(), batch.input_features(), golden);
    comparison.report().push(key, outcome);
    Some(batch)
}

/// How many vectors each sound becomes, and which places of the prompt's they take.
fn layout(comparison: &mut Comparison<'_>, golden: &Golden, batch: &SoundBatch) {
    let Some(inputs) = golden.json("inputs") else {
        return;
    };
    let (sizes, mask) = (&inputs["audio_embed_sizes"], &inputs["input_features_mask"]);
    let found = serde_json::json!(batch.audio_embed_sizes());
    let outcome = Outcome::equal(&found, sizes);
    comparison.report().push("audio_embed_sizes", outcome);
    if let Some(rows) = mask.as_array() {
        let expected: Vec<&Value> = rows.iter().filter_map(Value::as_array).flatten().collect();
        let expected: Vec<bool> = expected
            .iter()
            .map(|bit| **bit == true || **bit == 1)
            .collect();
        let outcome = Outcome::equal(&batch.input_features_mask(), &expected);
        comparison.report().push("input_features_mask", outcome);
    }
}

fn sizes(golden: &Golden) -> Result<Vec<usize>, VerifyError> {
    let inputs = golden.json("inputs");
    let sizes = inputs.map(|inputs| &inputs["audio_embed_sizes"]);
    let sizes = sizes.and_then(Value::as_array);
    let sizes = sizes.ok_or_else(|| VerifyError::golden("there are no audio_embed_sizes"))?;
    let size = |size: &Value| size.as_u64().and_then(|size| usize::try_from(size).ok());
    let sizes: Option<Vec<usize>> = sizes.iter().map(size).collect();
    sizes.ok_or_else(|| VerifyError::golden("audio_embed_sizes: not a list of numbers"))
}
