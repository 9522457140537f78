//! What the pipelines do, in one program: each of its own would take as long to build.

#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

mod common;

mod adapters;
mod bad_checkpoints;
mod batch;
mod blip1;
mod flow;
mod found_folders;
mod inspect_family;
mod instruct;
mod load;
mod memory;
mod pack;
mod photo_index;
mod pipeline;
mod precision;
mod random_models;
mod ranking;
mod retrieval;
mod speculative;
#[cfg(feature = "speech")]
mod speech;
#[cfg(feature = "speech")]
mod speech_goldens;
mod verbs;
