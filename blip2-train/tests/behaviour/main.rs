//! What training does, in one program: each of its own would take as long to build.

#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod epochs;
mod evaluated;
mod first_stage;
mod held_out;
mod lora;
mod losses;
mod lost;
mod merge;
mod retrieval;
mod run;
mod scores;
mod together;
mod together_models;
