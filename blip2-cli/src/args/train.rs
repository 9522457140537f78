//! Arguments of `blip2 train` and `blip2 eval`.

use std::path::PathBuf;

use clap::Args;

use super::device::DeviceArgs;
use crate::adapters::AdapterArgs;

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The TOML file that describes the training; without it, a commented example is printed.
    pub(crate) config: Option<PathBuf>,
    /// Load everything, run a single step without saving anything, and show what would be trained
    /// and what memory and time it takes.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show the training's curves in the whole terminal.
    #[cfg(feature = "dashboard")]
    #[arg(long)]
    pub(crate) dashboard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The TOML file whose table `[validation]` says what is evaluated, and how.
    pub(crate) config: PathBuf,
    /// A Hugging Face checkpoint folder, in place of the model that the file names.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Write the answers into this file, beside the right ones and their scores: as a table, the worst
    /// first, if it ends in .csv, else as JSON lines; and tell what is most often wrong. Of a run that ends
    /// early, what was answered is in NAME.partial.ENDING.
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,
    /// Write the answers, or captions, into this file as the servers of VQA, or COCO, take them.
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,
    /// Draw the pictures with the worst answers as a contact sheet into this PNG, each with its question,
    /// its answer and the right one.
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}
