//! BLIP-1 (Li et al., 2022): a type for each of its checkpoints, which can do different things.

mod answerer;
mod builder;
mod captioner;
mod parts;
mod retrieval;

pub use answerer::BlipAnswerer;
pub use builder::{BlipBuilder, BlipMember};
pub use captioner::BlipCaptioner;
pub use retrieval::BlipRetrieval;
