//! Files that appear whole or not at all.

mod tensors;
mod whole;

pub(crate) use tensors::{read_tensors, save_tensors, write_tensors};
pub(crate) use whole::write_file;
