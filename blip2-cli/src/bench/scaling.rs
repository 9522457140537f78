//! How the cost grows with what is asked, one thing at a time.
//!
//! Each point is measured by a process of its own, so that its peak memory is its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use blip2_core::{Blip2Config, CheckpointFolder};
use blip2_io::write_file;
use serde::Serialize;
use serde_json::Value;

use super::{BenchArgs, plot};
use crate::{Failure, demo, model};

/// What is varied, by the name of its option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Axis {
    Batch,
    PromptTokens,
    Beams,
    ImageSize,
    Threads,
}

impl Axis {
    const ALL: [Self; 5] = [
        Self::Batch,
        Self::PromptTokens,
        Self::Beams,
        Self::ImageSize,
        Self::Threads,
    ];

    /// The option's name, and that of the plot.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::PromptTokens => "prompt-tokens",
            Self::Beams => "beams",
            Self::ImageSize => "image-size",
            Self::Threads => "threads",
        }
    }

    /// What is measured on this axis.
    fn values(self, config: &Blip2Config) -> Vec<usize> {
        match self {
            Self::Batch => vec![1, 2, 4, 8],
            Self::PromptTokens => vec![16, 64, 256, 1024],
            Self::Beams => vec![1, 2, 4, 8],
            Self::ImageSize => {
                let vision = &config.vision_config;
                let side = |halves: usize| {
                    let pixels = vision.image_size * halves / 2;
                    pixels - pixels % vision.patch_size
                };
                vec![side(2), side(3), side(4), side(6)]
            }
            Self::Threads => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                (0..)
                    .map(|n| 1 << n)
                    .take_while(|threads| *threads < cores)
                    .chain([cores])
                    .collect()
            }
        }
    }
}

/// One measurement; or why there is none.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Point {
    pub(super) axis: Axis,
    pub(super) value: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Medians in seconds, and bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Figures {
    pub(super) vision: f64,
    pub(super) qformer: f64,
    /// Of OPT the prefill, of T5 the encoder.
    pub(super) prompt: f64,
    pub(super) decode_per_token: f64,
    pub(super) caption: f64,
    pub(super) peak_memory_bytes: f64,
    pub(super) predicted_peak_bytes: f64,
}

impl Figures {
    /// The names of the columns, in the order of [`values`](Self::values).
    const NAMES: [&str; 7] = [
        "vision",
        "qformer",
        "prompt",
        "decode_per_token",
        "caption",
        "peak_memory_bytes",
        "predicted_peak_bytes",
    ];

    fn values(&self) -> [f64; 7] {
        [
            self.vision,
            self.qformer,
            self.prompt,
            self.decode_per_token,
            self.caption,
            self.peak_memory_bytes,
            self.predicted_peak_bytes,
        ]
    }

    /// From the JSON of a measurement.
    fn of(report: &Value) -> Option<Self> {
        let stages = report.get("stages")?;
        let seconds = |stage: &str| stages.get(stage)?.get("seconds")?.as_f64();
        let bytes = |key: &str| report.get(key).and_then(Value::as_f64);
        Some(Self {
            vision: seconds("vision")?,
            qformer: seconds("qformer")?,
            prompt: seconds("prefill").or_else(|| seconds("encoder"))?,
            decode_per_token: stages.pointer("/decode/seconds_per_token")?.as_f64()?,
            caption: seconds("caption")?,
            peak_memory_bytes: bytes("peak_memory_bytes").unwrap_or(f64::NAN),
            predicted_peak_bytes: bytes("predicted_peak_bytes")?,
        })
    }
}

pub(super) fn run(args: &BenchArgs, folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::Work(format!("{}: cannot be written: {error}", path.display()))
    };
    if args.new_tokens < 2 {
        return Err(Failure::usage("--scaling needs --new-tokens of at least 2"));
    }
    let config = config(args)?;
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let axes = Axis::ALL.map(|axis| (axis, axis.values(&config)));
    let bar = model::bar(axes.iter().map(|(_, values)| values.len()).sum());
    let mut points = Vec::new();
    for (axis, values) in axes {
        let measured = points.len();
        for value in values {
            points.push(measure(args, axis, value)?);
            bar.inc(1);
        }
        if let Some(points) = points.get(measured..) {
            plot::draw(&folder.join(format!("{}.svg", axis.name())), axis, points)?;
        }
    }
    bar.finish_and_clear();
    let json = serde_json::to_string_pretty(&points).map_err(Failure::work)?;
    for (name, text) in [("points.json", json), ("points.csv", csv(&points))] {
        let path: PathBuf = folder.join(name);
        write_file(&path, text).map_err(|error| failed(&path, error))?;
        say!("{}", path.display());
    }
    for point in &points {
        if let Some(error) = &point.error {
            note!("note: {} {}: {error}", point.axis.name(), point.value);
        }
    }
    Ok(())
}

/// The configuration of the model that is measured.
fn config(args: &BenchArgs) -> Result<Blip2Config, Failure> {
    match (&args.folder, args.preset) {
        (Some(folder), _) => CheckpointFolder::open(folder).and_then(|folder| folder.config()),
        (None, Some(preset)) => return Ok(super::config(preset, args.layers)),
        (None, None) => demo::folder().config(),
    }
    .map_err(Failure::work)
}

/// Measures one point in a process of its own.
fn measure(args: &BenchArgs, axis: Axis, value: usize) -> Result<Point, Failure> {
    let program = std::env::current_exe().map_err(Failure::work)?;
    let output = Command::new(program)
        .args(arguments(args, axis, value))
        .output()
        .map_err(Failure::work)?;
    let report = serde_json::from_slice(&output.stdout).ok();
    let figures = report.as_ref().and_then(Figures::of);
    let error = figures.is_none().then(|| {
        let text = String::from_utf8_lossy(&output.stderr);
        text.trim().trim_start_matches("error: ").to_string()
    });
    Ok(Point {
        axis,
        value,
        figures,
        error,
    })
}

/// The command line of one point: as asked, but for what the axis varies.
fn arguments(args: &BenchArgs, axis: Axis, value: usize) -> Vec<String> {
    let mut all: Vec<String> = vec!["bench".into(), "--json".into(), "--no-peaks".into()];
    if let Some(folder) = &args.folder {
        all.push(folder.to_string_lossy().into_owned());
    }
    let number = |own: Axis, asked: Option<usize>| if own == axis { Some(value) } else { asked };
    let image_size = args.image_size.map(|side| side as usize);
    let options = [
        ("preset", args.preset.map(|preset| preset.to_string())),
        ("layers", args.layers.map(|layers| layers.to_string())),
        ("device", Some(args.device.device.clone())),
        (
            "memory-limit",
            args.memory.memory_limit.map(|gb| gb.to_string()),
        ),
        ("repeat", Some(args.repeat.to_string())),
        ("new-tokens", Some(args.new_tokens.to_string())),
    ];
    let varied = [
        (Axis::Threads, args.threads),
        (Axis::PromptTokens, Some(args.prompt_tokens)),
        (Axis::Batch, Some(args.batch)),
        (Axis::Beams, Some(args.beams)),
        (Axis::ImageSize, image_size),
    ]
    .map(|(own, asked)| (own.name(), number(own, asked).map(|n| n.to_string())));
    let precisions = args.device.precision.options();
    for (name, text) in options.into_iter().chain(varied).chain(precisions) {
        if let Some(text) = text {
            all.extend([format!("--{name}"), text]);
        }
    }
    all
}

fn csv(points: &[Point]) -> String {
    let mut text = format!("axis,value,{}\n", Figures::NAMES.join(","));
    for point in points {
        if let Some(figures) = &point.figures {
            let values = figures.values().map(|value| value.to_string()).join(",");
            text.push_str(&format!("{},{},{values}\n", point.axis.name(), point.value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use blip2_core::Preset;

    use super::*;

    #[test]
    fn values_suit_the_model() {
        let config = Preset::Blip2Opt2_7b.config();
        assert_eq!(Axis::ImageSize.values(&config), [224, 336, 448, 672]);
        for axis in Axis::ALL {
            let values = axis.values(&config);
            assert!(values.is_sorted() && values[0] > 0, "{axis:?}: {values:?}");
        }
    }
}
