//! Files that appear whole or not at all, and never where something is read.

mod lock;
mod tensors;
mod whole;

pub use lock::FolderLock;
pub(crate) use tensors::{read_tensors, save_tensors, write_tensors};
pub use whole::{clear_partial, write_file};
pub(crate) use whole::{copy_file, read_file};
