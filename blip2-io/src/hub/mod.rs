//! Models of the Hugging Face hub: those that Python has downloaded, and, with the feature `hub`,
//! downloading them.
//!
//! Wherever a folder is opened, `owner/name` or `owner/name@revision` means the model in the cache, if
//! there is no such folder. That asks nobody and needs no feature.

mod cache;
#[cfg(feature = "hub")]
mod download;
mod home;
mod id;

pub use cache::HubCache;
#[cfg(feature = "hub")]
pub use download::{Download, DownloadEvent};
pub(crate) use id::is_commit;
pub use id::{InvalidId, ModelId};

/// Whether the environment forbids to ask the hub: `HF_HUB_OFFLINE`, or else `TRANSFORMERS_OFFLINE`.
pub fn is_offline() -> bool {
    home::is_offline()
}
