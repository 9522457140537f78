//! What the tests of all crates share: the fixtures of the workspace's folder `fixtures/`, goldens,
//! comparisons, small checkpoint folders. It is not published, and packages do without it.
//!
//! A test fails where a helper cannot do its work, so helpers panic, with the file at fault.
#![allow(clippy::unwrap_used, clippy::panic)]

mod compare;
mod fixture;
mod folder;
mod golden;
pub mod hub;
mod picture;
mod torch;
pub mod view;

pub use compare::{assert_close, assert_says, difference, floats, largest, largest_difference};
pub use fixture::{copy, fixture, json, publish_as_before, text, workspace};
pub use folder::{Stored, f32s, folder, raw_safetensors, safetensors};
pub use golden::{Golden, Goldens};
pub use picture::picture;
pub use torch::{TorchFile, TorchView, zipped};
pub use zip::CompressionMethod;
