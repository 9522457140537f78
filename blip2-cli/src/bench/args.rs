//! The command line of `blip2 bench`.

use std::path::PathBuf;

use blip2_core::Preset;
use clap::Args;

use crate::args::{device::DeviceArgs, memory::MemoryArgs};

#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// A Hugging Face checkpoint folder, or a file of `blip2 pack`; without it and --preset, the
    /// built-in demonstration model.
    #[arg(conflicts_with = "preset")]
    pub(super) folder: Option<PathBuf>,
    /// A model of a published model's size with random weights, which needs no checkpoint: blip2-opt-2.7b,
    /// blip2-opt-6.7b, blip2-flan-t5-xl, blip2-flan-t5-xxl, or one of the first three with -coco.
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<Preset>,
    /// The layers that each stack of a preset has, in place of its own: a model of the same widths that a
    /// small machine holds.
    #[arg(long, value_name = "N", requires = "preset", value_parser = count)]
    pub(super) layers: Option<usize>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) memory: MemoryArgs,
    /// The number of threads; without it, one for each core.
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(super) threads: Option<usize>,
    /// How many times everything is measured, after one run to warm up.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count)]
    pub(super) repeat: usize,
    /// The length of the prompt in tokens, image placeholders not counted.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = count)]
    pub(super) prompt_tokens: usize,
    /// The exact number of tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count)]
    pub(super) new_tokens: usize,
    /// The batch size: how many pictures run together.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub(super) batch: usize,
    /// The number of beams of beam search; 1 for greedy search.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub(super) beams: usize,
    /// Decode speculatively: see `blip2 answer --help`.
    #[arg(long)]
    pub(super) speculative: bool,
    /// Caption a stream of N pictures too, whose captions end between a quarter of --new-tokens and all of
    /// them, with --batch places: a caption that ends gives its place to the next picture.
    #[arg(long, value_name = "N", value_parser = count)]
    pub(super) continuous: Option<usize>,
    /// The height and width that pictures are resized to, in pixels, if it is another than the
    /// model was trained at; position embeddings are interpolated.
    #[arg(long, value_name = "PIXELS")]
    pub(super) image_size: Option<u32>,
    /// Do not measure this machine's own limits.
    #[arg(long)]
    pub(super) no_peaks: bool,
    /// Measure how time and memory grow with the batch, the prompt, beams, the picture and threads,
    /// and write plots and data points into this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "json")]
    pub(super) scaling: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// More threads than any machine has cores would be made before anything is measured.
const MOST_THREADS: usize = 1024;

fn threads(text: &str) -> Result<usize, String> {
    match count(text)? {
        threads if threads > MOST_THREADS => Err(format!("must be {MOST_THREADS} or less")),
        threads => Ok(threads),
    }
}

/// A number above zero.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be above 0".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
