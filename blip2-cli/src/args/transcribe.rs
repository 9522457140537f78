//! Arguments of `blip2 transcribe`.

use std::path::PathBuf;

use clap::Args;

use super::{device::DeviceArgs, memory::MemoryArgs};
use crate::adapters::AdapterArgs;

#[derive(Debug, Args)]
pub(crate) struct TranscribeArgs {
    /// WAV files, at any rate; several channels are averaged.
    #[arg(value_name = "SOUND", required = true)]
    pub(crate) sounds: Vec<PathBuf>,
    /// Ask this about each recording, or have it done ("translate the speech to French"), in place of having it
    /// written down.
    #[arg(long, value_name = "TEXT")]
    pub(crate) question: Option<String>,
    /// Continue this prompt as it is, with <|audio|> where the recording goes.
    #[arg(long, value_name = "TEXT", conflicts_with = "question")]
    pub(crate) prompt: Option<String>,
    /// The maximum number of tokens to generate for a recording; without it, 200, or of a recording of more than 20
    /// seconds 10 for each, which is more than anybody says. A text that was cut is told of.
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// The number of beams of beam search; 1 for greedy search.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) beams: usize,
    /// A Hugging Face checkpoint folder of Granite Speech, such as granite-speech-3.3-2b, or its id on the Hugging Face
    /// hub.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_SPEECH_MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Write ahead with the same language model in int4 and check several tokens at once: the same texts,
    /// sooner where a model is held in f32, f16 or bf16, for the memory of the int4 one.
    #[arg(long)]
    pub(crate) speculative: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// Print each text with its tokens, log-probabilities and timings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
