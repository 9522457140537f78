//! BLIP-1 (Li et al., 2022): a type for each of its checkpoints, which can do different things.

mod answerer;
mod captioner;
mod groups;
mod load;
mod retrieval;
mod see;

pub use answerer::BlipAnswerer;
pub use captioner::BlipCaptioner;
pub use retrieval::BlipRetrieval;
