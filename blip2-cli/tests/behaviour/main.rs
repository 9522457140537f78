//! What the program does, in one: each of its own would take as long to build.

#![allow(clippy::panic, clippy::unwrap_used)]

mod answers;
mod bench;
mod embed;
mod hub;
mod messages;
mod outputs;
mod pictures;
mod program;
mod records;
mod search;
mod shell;
#[cfg(unix)]
mod streams;
#[cfg(feature = "speech")]
mod transcribe;
mod video;
