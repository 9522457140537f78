//! What files hold, as it is read and written, in one program: each of its own would take as long to build.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(feature = "checkpoint")]
mod checkpoint_bin;
#[cfg(feature = "checkpoint")]
mod checkpoint_files;
#[cfg(feature = "checkpoint")]
mod checkpoint_weights;
#[cfg(feature = "checkpoint")]
mod config_conformer;
#[cfg(feature = "checkpoint")]
mod config_faults;
mod config_granite;
#[cfg(feature = "checkpoint")]
mod config_values;
#[cfg(feature = "dataset")]
mod dataset;
#[cfg(feature = "dataset")]
mod dataset_shards;
#[cfg(feature = "tables")]
mod dataset_tables;
#[cfg(feature = "checkpoint")]
mod folder;
#[cfg(feature = "checkpoint")]
mod found_folders;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "preprocessing")]
mod image_bad;
#[cfg(feature = "preprocessing")]
mod image_formats;
#[cfg(feature = "checkpoint")]
mod preprocessing;
#[cfg(all(feature = "sound", feature = "checkpoint"))]
mod sound_goldens;
#[cfg(all(feature = "sound", feature = "checkpoint"))]
mod sound_processor;
#[cfg(feature = "sound")]
mod sound_wav;
#[cfg(feature = "checkpoint")]
mod tokenizer_files;
#[cfg(feature = "checkpoint")]
mod tokenizer_goldens;
#[cfg(feature = "checkpoint")]
mod tokenizer_published;
#[cfg(feature = "preprocessing")]
mod video;
