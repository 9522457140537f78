//! Benchmarks of BLIP-2 for Rust are beside this file; run them with
//! `cargo bench -p blip2-benches`.
