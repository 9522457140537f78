//! Arguments of the commands that read, write or check a checkpoint.

use std::path::PathBuf;

use blip2_core::lavis::Architecture;
use clap::Args;

use super::device::{DeviceArgs, PrecisionArgs};

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The checkpoint that LAVIS saved, a .pth file.
    pub(crate) file: PathBuf,
    /// The model's name in LAVIS: blip2, blip2_opt, blip2_t5, blip2_t5_instruct,
    /// blip2_vicuna_instruct, blip_caption, blip_vqa or blip_retrieval.
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Architecture,
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// The image encoder's checkpoint, eva_vit_g.pth or clip_vit_L.pth, if FILE has none.
    #[arg(long, value_name = "FILE")]
    pub(crate) vision: Option<PathBuf>,
    /// The Hugging Face folder of the frozen language model.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) language_model: Option<PathBuf>,
    /// The Hugging Face folder of the Q-Former's tokenizer, bert-base-uncased, if it reads text.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// A folder whose config.json says what the tensors do not (attention heads, activations,
    /// epsilons); without it, the published models' values.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The checkpoint folder.
    pub(crate) folder: PathBuf,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The model's folder, or the adapter's, which finds the model that it was trained on.
    pub(crate) folder: PathBuf,
    /// The folder in which PEFT or `blip2 train` saved the adapter.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint folder.
    pub(crate) folder: PathBuf,
    /// Read all weights too, and tell a tensor that holds NaN or infinity. Takes as long as the disk needs.
    #[arg(long)]
    pub(crate) numbers: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A checkpoint folder with reference outputs (golden.json), or a folder of such folders.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Check every recorded text without beams once more with the same language model in int4 writing
    /// ahead (`--speculative` of `blip2 answer`): its tokens must be the same.
    #[arg(long)]
    pub(crate) speculative: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
