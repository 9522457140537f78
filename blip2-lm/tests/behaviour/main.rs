//! What the language models and decoding do, in one program: each of its own would take as long to build.

#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used)]

mod generate_support;
mod models_support;

mod generate_arguments;
mod generate_batch;
mod generate_properties;
mod generate_sampling;
mod generate_search;
mod generate_stream;
mod generate_top;
mod heads;
mod models_errors;
mod models_reference;
mod models_sessions;
mod models_shapes;
mod owned_sessions;
mod speculative;
