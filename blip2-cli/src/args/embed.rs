//! Arguments of `blip2 embed`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{folders::FolderArgs, model::ModelArgs, picture::PictureArgs};
use crate::embed::VectorFile;

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Pictures, folders of pictures, or glob patterns.
    #[arg(required_unless_present_any = ["text", "texts"])]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: FolderArgs,
    /// A text, in place of pictures; may be given several times. Needs a retrieval checkpoint.
    #[arg(long, value_name = "TEXT", conflicts_with = "images")]
    pub(crate) text: Vec<String>,
    /// A text file of texts, one a line; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "text"])]
    pub(crate) texts: Option<PathBuf>,
    /// Which features. Default: what the model compares pictures and texts by (projected), or else
    /// its queries, or else the image encoder's vector of each picture (pooled).
    #[arg(long, value_name = "NAME", conflicts_with_all = ["text", "texts"])]
    pub(crate) features: Option<Feature>,
    /// The file to write: .npy (NumPy; the names beside it in NAME.names.json), .safetensors (the
    /// tensor `features`, the names in its metadata) or .jsonl; - for JSON lines on standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: VectorFile,
    /// The batch size: how many pictures or texts are encoded together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// Which features of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Feature {
    /// The image encoder's last hidden state: a vector for each patch, the class token first.
    Vision,
    /// The image encoder's vector of the whole picture.
    Pooled,
    /// The Q-Former's vector for each query.
    Queries,
    /// The queries as the language model reads them.
    Language,
    /// In the space that pictures share with texts, of length 1: a vector for each query, of BLIP-1 one.
    Projected,
}
