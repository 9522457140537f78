//! Blocks that models of several crates share: layers put together, with the names of their weights.

pub mod bert;
