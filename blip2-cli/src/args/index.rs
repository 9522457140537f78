//! Arguments of `blip2 index`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{folders::FolderArgs, model::RetrievalArgs, picture::PictureArgs};
use crate::examples;

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) command: IndexCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Add pictures to an index, which is created if it does not exist; pictures that it holds
    /// already are skipped.
    #[command(after_help = examples::INDEX)]
    Add(IndexAddArgs),
    /// Remove pictures from an index, by the names that `blip2 index list` prints.
    #[command(after_help = examples::INDEX)]
    Remove(IndexRemoveArgs),
    /// List the pictures of an index.
    #[command(after_help = examples::INDEX)]
    List(IndexListArgs),
    /// Write the embeddings of an index as a NumPy file, for a vector database.
    #[command(after_help = examples::INDEX)]
    Export(IndexExportArgs),
    /// Find the pictures that a text describes best, or that are most similar to a picture.
    #[command(after_help = examples::INDEX)]
    Search(IndexSearchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IndexAddArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// Pictures, folders of pictures, or glob patterns.
    #[arg(required_unless_present = "from")]
    pub(crate) images: Vec<PathBuf>,
    /// A file of vectors that the same model made before, of `blip2 embed`, `blip2 map --embed` or `blip2 index
    /// export` (.npy, .parquet); may be given several times. These pictures are found by similarity alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Vec<PathBuf>,
    /// Encode pictures anew that the index holds already, in place of what it has of them: where files have changed.
    #[arg(long)]
    pub(crate) replace: bool,
    /// The batch size: how many pictures are encoded together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) folders: FolderArgs,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IndexRemoveArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// The pictures' names.
    #[arg(required_unless_present = "missing")]
    pub(crate) names: Vec<String>,
    /// Remove the pictures whose files are no longer there. Names are looked for from the folder in which it is run, as
    /// they were when they were added.
    #[arg(long, conflicts_with = "names")]
    pub(crate) missing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IndexListArgs {
    /// The index file.
    pub(crate) index: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct IndexExportArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// The NumPy file to write, [pictures, queries, width]; the pictures' names stand beside it in
    /// NAME.names.json.
    #[arg(short, long, value_name = "FILE.npy")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct IndexSearchArgs {
    /// The index file; or a file of vectors of `blip2 embed` or `blip2 map --embed` (.npy, .parquet),
    /// which is searched by similarity alone.
    pub(crate) index: PathBuf,
    /// What the pictures should show.
    #[arg(required_unless_present = "image", conflicts_with = "image")]
    pub(crate) text: Option<String>,
    /// The picture that they should be similar to, in place of a text.
    #[arg(long, value_name = "PICTURE")]
    pub(crate) image: Option<PathBuf>,
    /// How many pictures to find.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,
    /// How many of the most similar pictures are reranked by image-text matching; 0 for none.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 128,
        conflicts_with = "image"
    )]
    pub(crate) rerank: usize,
    /// Draw the pictures that were found as a contact sheet into this PNG.
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}
