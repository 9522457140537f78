//! BLIP-1's text model: BERT whose every layer also attends to something encoded, as a text encoder
//! that attends to a picture and as a decoder that writes about one.

mod lm_head;
mod model;
mod output;

pub use lm_head::BlipTextLmHeadModel;
pub use model::BlipTextModel;
pub use output::BlipTextOutput;

/// A running decode of [`BlipTextLmHeadModel`].
pub type BlipTextSession<'m> = crate::session::Session<&'m BlipTextLmHeadModel>;
