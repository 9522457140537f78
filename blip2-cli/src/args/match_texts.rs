//! Arguments of `blip2 match`.

use std::path::PathBuf;

use clap::Args;

use super::{model::RetrievalArgs, picture::PictureArgs};

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// The picture.
    pub(crate) image: PathBuf,
    /// The texts to compare with it.
    #[arg(required = true)]
    pub(crate) texts: Vec<String>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}
