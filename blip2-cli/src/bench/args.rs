//! The command line of `blip2 bench`.

use std::path::PathBuf;

use blip2_core::Preset;
use clap::Args;

use crate::args::{DeviceArgs, MemoryArgs};

#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// A Hugging Face checkpoint folder or a packed file; without it and --preset, the demonstration
    /// model.
    #[arg(conflicts_with = "preset")]
    pub(super) folder: Option<PathBuf>,
    /// A published model's size with random weights made in memory: blip2-opt-2.7b,
    /// blip2-opt-6.7b, blip2-flan-t5-xl, blip2-flan-t5-xxl, or one of the first three with -coco.
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<Preset>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) memory: MemoryArgs,
    /// How many threads compute; without it, as many as there are cores.
    #[arg(long, value_parser = count)]
    pub(super) threads: Option<usize>,
    /// How many times everything is measured, after once to warm up.
    #[arg(long, default_value_t = 3, value_parser = count)]
    pub(super) repeat: usize,
    /// The length of the prompt, without the picture's places.
    #[arg(long, default_value_t = 40, value_parser = count)]
    pub(super) prompt_tokens: usize,
    /// How many tokens are generated, no fewer and no more.
    #[arg(long, default_value_t = 20, value_parser = count)]
    pub(super) new_tokens: usize,
    /// How many pictures run together.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub(super) batch: usize,
    /// Beams of the search; 1 is greedy.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub(super) beams: usize,
    /// The height and width that pictures are seen at, in pixels; without it, as configured.
    #[arg(long, value_name = "PIXELS")]
    pub(super) image_size: Option<u32>,
    /// Leave out the measurement of this machine's own limits.
    #[arg(long)]
    pub(super) no_peaks: bool,
    /// Measure how the cost grows with batch, prompt, beams, picture and threads, and write plots
    /// and points into this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    pub(super) scaling: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A number above zero.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be above 0".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
