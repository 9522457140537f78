//! The layouts in which people have their data, each from a small file, and what is said of records that
//! do not fit.

#![cfg(feature = "dataset")]
#![allow(clippy::unwrap_used)]

mod choices;
mod helpers;
mod other_forms;
mod published;
mod records;
