//! Servers on loopback, asked as clients ask them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod adapters;
mod batching;
mod client;
mod explain;
mod family;
mod guard;
mod leaving;
mod native;
mod openai;
mod page;
mod refusals;
mod stopping;
