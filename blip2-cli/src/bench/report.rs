//! What was measured, as JSON and as a table.

use std::fmt;

use blip2_core::PrecisionPlan;
use serde::Serialize;

use super::{continuous::Continuous, machine::Machine};

/// Everything about one measurement.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) precision: Precisions,
    pub(super) threads: usize,
    pub(super) batch: usize,
    pub(super) beams: usize,
    pub(super) prompt_tokens: usize,
    pub(super) new_tokens: usize,
    pub(super) image_size: usize,
    pub(super) machine: Machine,
    /// The GPU that computed, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<Adapter>,
    /// What a token costs the GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decode: Option<Step>,
    pub(super) stages: Stages,
    /// A stream of pictures, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) continuous: Option<Continuous>,
    /// The most memory that the process held, the model's and its own; on a GPU, the most that tensors
    /// took of its memory.
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) weights_bytes: u64,
    pub(super) predicted_peak_bytes: u64,
}

/// A GPU.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Adapter {
    pub(super) name: String,
    /// What loading the model took of the device's memory.
    pub(super) weights_bytes: u64,
    /// Bytes read and written in copying the device's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) copy_gb_per_second: Option<f64>,
    /// The most operations in the language model's precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) product_gflops: Option<f64>,
}

/// What a step of decoding costs a GPU.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    pub(super) seconds_per_token: f64,
    /// What our kernels read and write, by the shapes of their operands.
    pub(super) bytes_per_token: f64,
    pub(super) launches_per_token: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Precisions {
    vision: String,
    language_model: String,
}

impl From<PrecisionPlan> for Precisions {
    fn from(plan: PrecisionPlan) -> Self {
        Self {
            vision: plan.vision.to_string(),
            language_model: plan.language_model.to_string(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Stages {
    pub(super) load: Times,
    pub(super) preprocess: Times,
    pub(super) vision: Rated,
    pub(super) qformer: Rated,
    #[serde(flatten)]
    pub(super) prompt: Prompt,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decode: Option<Decode>,
    pub(super) caption: Caption,
}

/// Reading the prompt.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Prompt {
    /// A decoder-only model's first step.
    Prefill(Rated),
    /// An encoder-decoder's encoder, without the decoder's first step.
    Encoder(Rated),
}

/// The times of a stage, in seconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Times {
    /// The median.
    pub(super) seconds: f64,
    /// All, in the order in which they were taken.
    pub(super) runs: Vec<f64>,
}

impl Times {
    pub(super) fn of(runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
        let seconds = if sorted.len().is_multiple_of(2) {
            (at(middle.saturating_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self { seconds, runs }
    }

    /// The times of one of `parts` equal parts.
    pub(super) fn divided(&self, parts: f64) -> Self {
        Self::of(self.runs.iter().map(|run| run / parts).collect())
    }
}

/// A stage whose operations were counted.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rated {
    #[serde(flatten)]
    pub(super) times: Times,
    pub(super) gflops: f64,
    /// The share of the peak of the stage's own precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of_peak: Option<f64>,
}

/// Generating, but for the first token.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Decode {
    /// The time of one step, which gives every row a token.
    pub(super) seconds_per_token: f64,
    /// The tokens of all prompts together; of a beam search, those of the best beam.
    pub(super) tokens_per_second: f64,
    /// The weights that a step reads, by its time.
    pub(super) gb_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of_streaming_peak: Option<f64>,
    /// What the kernels of a GPU read and write in a step, by the shapes of their operands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_token: Option<f64>,
    /// The share of the tokens written ahead that held, with speculative decoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<f64>,
    /// The launches of a step on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) launches_per_token: Option<f64>,
    /// The times of a step in each run.
    pub(super) runs: Vec<f64>,
}

/// The whole journey, from decoded pictures to text.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Caption {
    pub(super) tokens: usize,
    #[serde(flatten)]
    pub(super) times: Times,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Precisions {
            vision,
            language_model,
        } = &self.precision;
        writeln!(
            f,
            "{}: {vision} vision, {language_model} language model",
            self.model
        )?;
        writeln!(
            f,
            "{} threads, batch {}, beams {}, pictures of {}x{}, {} prompt tokens, {} new tokens",
            self.threads,
            self.batch,
            self.beams,
            self.image_size,
            self.image_size,
            self.prompt_tokens,
            self.new_tokens
        )?;
        let stages = &self.stages;
        plain(f, "load", &stages.load)?;
        plain(f, "preprocess", &stages.preprocess)?;
        rated(f, "vision", &stages.vision, vision)?;
        rated(f, "qformer", &stages.qformer, "f32")?;
        match &stages.prompt {
            Prompt::Prefill(stage) => rated(f, "prefill", stage, language_model)?,
            Prompt::Encoder(stage) => rated(f, "encoder", stage, language_model)?,
        }
        if let Some(decode) = &stages.decode {
            write!(
                f,
                "  {:12} {:>10.4} s per token {:>9.2} tokens/s {:>8.2} GB/s",
                "decode", decode.seconds_per_token, decode.tokens_per_second, decode.gb_per_second
            )?;
            let of = if self.device.is_some() {
                "copying"
            } else {
                "streaming"
            };
            share(f, decode.of_streaming_peak, of)?;
            if let Some(accepted) = decode.accepted {
                let percent = 100.0 * accepted;
                writeln!(
                    f,
                    "  {:12} {percent:>10.1} % of the tokens written ahead held",
                    "draft"
                )?;
            }
            if let (Some(bytes), Some(launches)) =
                (decode.bytes_per_token, decode.launches_per_token)
            {
                // What must move is what the step reads of weights, by its rate and its time.
                let must = decode.gb_per_second * decode.seconds_per_token * 1e9;
                writeln!(
                    f,
                    "  {:12} {launches:.0} launches, {} moved where weights are {}",
                    "a token",
                    gigabytes(bytes as u64),
                    gigabytes(must as u64)
                )?;
            }
        }
        plain(f, "caption", &stages.caption.times)?;
        if let Some(stream) = &self.continuous {
            let [least, most] = stream.tokens;
            writeln!(
                f,
                "  {:12} {:>10.4} s a picture of {}, {least} to {most} tokens each; {:.4} in batches: {:.2} \
                 times as fast",
                "stream",
                stream.seconds_per_picture,
                stream.pictures,
                stream.in_batches_seconds_per_picture,
                stream.gain
            )?;
        }
        let peak = self.peak_memory_bytes.map_or("unknown".into(), gigabytes);
        writeln!(
            f,
            "  {:12} {peak} at the peak ({} predicted), {} of it weights",
            "memory",
            gigabytes(self.predicted_peak_bytes),
            gigabytes(self.weights_bytes)
        )?;
        if let Some(device) = &self.device {
            writeln!(
                f,
                "  {:12} {}, which holds {} of weights",
                "device",
                device.name,
                gigabytes(device.weights_bytes)
            )?;
        }
        write!(
            f,
            "  {:12} {}, {} cores, {}; kernels by {}",
            "machine",
            self.machine.cpu,
            self.machine.cores,
            self.machine.isa.join(" "),
            self.machine.kernels
        )?;
        if let Some(peaks) = self.machine.peaks {
            write!(
                f,
                "; at most {:.0} GFLOP/s of f32, {:.0} of {vision}, {:.0} of {language_model} and {:.1} GB/s \
                 with these threads",
                peaks.f32_gflops,
                peaks.vision_gflops,
                peaks.language_model_gflops,
                peaks.streaming_gb_per_second
            )?;
        }
        Ok(())
    }
}

fn plain(f: &mut fmt::Formatter<'_>, name: &str, times: &Times) -> fmt::Result {
    writeln!(f, "  {name:12} {:>10.4} s", times.seconds)
}

fn rated(f: &mut fmt::Formatter<'_>, name: &str, stage: &Rated, precision: &str) -> fmt::Result {
    let (seconds, gflops) = (stage.times.seconds, stage.gflops);
    write!(f, "  {name:12} {seconds:>10.4} s {gflops:>19.2} GFLOP/s")?;
    share(f, stage.of_peak, precision)
}

fn share(f: &mut fmt::Formatter<'_>, share: Option<f64>, of: &str) -> fmt::Result {
    match share {
        Some(share) => writeln!(f, "  {:.0} % of the {of} peak", 100.0 * share),
        None => writeln!(f),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(Times::of(vec![3.0, 1.0, 2.0]).seconds, 2.0);
        assert_eq!(Times::of(vec![4.0, 1.0, 2.0, 9.0]).seconds, 3.0);
        assert_eq!(Times::of(vec![5.0]).divided(5.0).seconds, 1.0);
    }
}
