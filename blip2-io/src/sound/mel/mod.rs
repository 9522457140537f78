//! Mel features: how loud a sound is in each of a number of bands, hundred times a second.

mod config;
mod extractor;
mod features;
mod filters;

pub use config::MelConfig;
pub use extractor::MelExtractor;
pub use features::MelFeatures;
