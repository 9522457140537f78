//! The examples of BLIP-2 for Rust are beside this file; run one with
//! `cargo run --release --example ask`.
