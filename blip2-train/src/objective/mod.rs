//! What training makes smaller: each a function on tensors.
//!
//! | objective | of | paper |
//! |---|---|---|
//! | [`language_model_loss`] | answers after pictures and prompts | BLIP-2, section 3.3 |
//! | [`contrastive_loss`] | pictures and texts in one space (ITC) | BLIP-2, section 3.2 |
//! | [`matching_loss`] | pictures and texts read together (ITM), with [hard negatives](HardNegatives) | the same |
//! | [`first_stage_losses`] | both, and texts written under a picture's eyes (ITG), with the three masks | the same |
//! | [`cross_entropy`] | any logits | |

mod contrastive;
mod cross_entropy;
mod first_stage;
mod language_model;
mod matching;

pub use contrastive::contrastive_loss;
pub use cross_entropy::{IGNORED, cross_entropy};
pub use first_stage::{
    FirstStageLosses, Pairs, SMOOTHING, contrast_and_generation, first_stage_losses, matching,
};
pub use language_model::{Batch, language_model_loss};
pub use matching::{HardNegatives, matching_loss};
