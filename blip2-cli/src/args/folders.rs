//! How folders of pictures are searched.

use clap::Args;

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FolderArgs {
    /// Look for pictures in the subfolders of folders too.
    #[arg(short, long)]
    pub(crate) recursive: bool,
}
