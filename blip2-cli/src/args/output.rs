//! Where the records of many pictures go.

use clap::Args;

use crate::records::Output;

/// Where the records of many pictures go.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Where to write: a file that ends in .jsonl or .csv; `beside` for a .txt beside each picture
    /// (`blip2 caption`); - for standard output. What the file holds already is skipped, so that a run
    /// that was stopped goes on where it was.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FILE|beside|-",
        default_value = "-"
    )]
    pub(crate) to: Output,
    /// Try again what failed before, as the --output file says; otherwise it counts as done.
    #[arg(long)]
    pub(crate) retry: bool,
}
