//! The losses that training minimises: each a function on tensors.
//!
//! | objective | of | paper |
//! |---|---|---|
//! | [`language_model_loss`] | answers after pictures and prompts | BLIP-2, section 3.3 |
//! | [`blip1_answer_loss`] | answers to questions that were read beside pictures | BLIP, section 5.3 |
//! | [`blip1_caption_loss`] | captions of pictures (LM) | BLIP, section 3.2 |
//! | [`contrastive_loss`] | pictures and texts in one space (ITC) | BLIP-2, section 3.2 |
//! | [`matching_loss`] | pictures and texts read together (ITM), with [hard negatives](HardNegatives) | the same |
//! | [`first_stage_losses`] | both, and texts that are generated from pictures (ITG), with the three attention masks | the same |
//! | [`cross_entropy`] | any logits | |
//!
//! ```
//! use blip2_train::objective::{IGNORED, cross_entropy};
//! use burn::tensor::{Device, Tensor};
//!
//! // Of two positions only the first counts.
//! let logits = Tensor::<3>::from_floats([[[2.0, 0.0], [0.0, 9.0]]], &Device::flex());
//! let loss = cross_entropy(logits, &[vec![0, IGNORED]], 0.0)?.into_scalar::<f32>();
//! assert!((loss - (1.0 + (-2f32).exp()).ln()).abs() < 1e-6);
//! # Ok::<(), blip2_train::TrainError>(())
//! ```

mod blip1;
mod contrastive;
mod cross_entropy;
mod first_stage;
mod first_stage_together;
mod language_model;
mod matching;

pub use blip1::{blip1_answer_loss, blip1_caption_loss};
pub use contrastive::contrastive_loss;
pub use cross_entropy::{IGNORED, cross_entropy};
pub use first_stage::{
    ContrastAndGeneration, FirstStageLosses, Pairs, SMOOTHING, contrast_and_generation,
    first_stage_losses, matching,
};
pub(crate) use first_stage_together::first_stage_losses_together;
pub use language_model::{Batch, language_model_loss};
pub use matching::{HardNegatives, matching_loss};
