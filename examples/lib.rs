//! The examples of BLIP-2 for Rust are beside this file; run one with
//! `cargo run --release --example ask`.

/// Runs the examples of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Runs the examples of the page about servers.
#[cfg(doctest)]
#[doc = include_str!("../docs/server.md")]
struct Server;

/// Runs the example of the page about explanations.
#[cfg(doctest)]
#[doc = include_str!("../docs/explain.md")]
struct Explain;

/// Runs the examples of the page about answers.
#[cfg(doctest)]
#[doc = include_str!("../docs/answers.md")]
struct Answers;

/// Compiles the example of the page about sound.
#[cfg(doctest)]
#[doc = include_str!("../docs/speech.md")]
struct Speech;
