//! Arguments of `blip2 download` and `blip2 models`.

#[cfg(feature = "hub")]
use blip2_io::hub::ModelId;
use clap::Args;

#[cfg(feature = "hub")]
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The model's id, such as Salesforce/blip2-opt-2.7b, or with @ and a branch, tag or commit.
    pub(crate) id: ModelId,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}
