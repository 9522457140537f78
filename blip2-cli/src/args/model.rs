//! Which model, and how it is loaded.

use std::path::PathBuf;

use blip2_core::preprocessing::Resizing;
use clap::Args;

use super::{device::DeviceArgs, memory::MemoryArgs};
use crate::adapters::AdapterArgs;

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A Hugging Face checkpoint folder, a file of `blip2 pack`, or an id on the Hugging Face hub,
    /// such as Salesforce/blip2-opt-2.7b; without it, the built-in demonstration model.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_MODEL")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Write ahead with the same language model in int4 and check several tokens at once: the same answers,
    /// sooner where a model is held in f32, f16 or bf16, for the memory of the int4 one.
    #[arg(long)]
    pub(crate) speculative: bool,
    /// The height and width that pictures are resized to, in pixels, if it is another than the
    /// model was trained at; position embeddings are interpolated.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) image_size: Option<u32>,
    #[command(flatten)]
    pub(crate) loading: LoadingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
}

impl ModelArgs {
    /// The folders and files that are read of it.
    pub(crate) fn read(&self) -> impl Iterator<Item = &PathBuf> + Clone {
        self.model.iter().chain(self.adapter.read())
    }
}

#[derive(Debug, Args)]
pub(crate) struct RetrievalArgs {
    /// A Hugging Face checkpoint folder of BLIP-2 for retrieval, such as blip2-itm-vit-g; for
    /// `blip2 match` also of BLIP-1. Or its id on the Hugging Face hub.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_RETRIEVAL_MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) loading: LoadingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LoadingArgs {
    /// Copy the weights into memory in place of mapping their files: for shared storage, where
    /// another program may cut a file while it is in use, which would end this one.
    #[arg(long)]
    pub(crate) no_mmap: bool,
    /// Whose arithmetic resizes pictures: pillow, torchvision (what transformers 5 uses), or folder
    /// (whichever the model's own processor names).
    #[arg(long, value_name = "NAME", default_value = "pillow")]
    pub(crate) resizing: Resizing,
}
