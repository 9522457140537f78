//! Arguments of `blip2 caption`.

use std::path::PathBuf;

use clap::Args;

use super::{
    folders::FolderArgs, generation::GenerationArgs, model::ModelArgs, output::OutputArgs,
    picture::PictureArgs,
};

#[derive(Debug, Args)]
pub(crate) struct CaptionArgs {
    /// Pictures, folders of pictures, or glob patterns; for a model of videos, videos: folders of
    /// frames or animated GIFs, PNGs or WebPs. May be left out with --prompts.
    #[arg(required_unless_present = "prompts")]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: FolderArgs,
    /// The prompt that the caption continues, such as "a photo of".
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Prompts of single pictures: a .csv or .jsonl file with `image` (or `file_name`), relative to
    /// the file's folder, and `prompt`. A picture without one has --prompt, if that is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// The batch size: how many pictures are captioned together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Print JSON for a single picture too; for several it is always one JSON line each.
    #[arg(long)]
    pub(crate) json: bool,
}
