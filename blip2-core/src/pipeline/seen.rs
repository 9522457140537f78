//! What is kept of a picture that was seen.

use super::{Blip2Pipeline, encoded::EncodedImage, looked::Looked};
use crate::{error::Blip2Error, model::ImageFeatures, verbs::Seen};

impl Seen<Blip2Pipeline> {
    /// The picture as the model sees it, to be kept and taken up again by
    /// [`Blip2Pipeline::recall`].
    ///
    /// # Errors
    ///
    /// If the features cannot be read from the device.
    pub fn encoded(&self) -> Result<EncodedImage, Blip2Error> {
        EncodedImage::new(self.member().fingerprint(), self.looked())
    }

    /// The features that the language model reads in the picture's place; `None` where they
    /// depend on the question, as with InstructBLIP.
    pub fn features(&self) -> Option<&ImageFeatures> {
        match self.looked() {
            Looked::Gathered(features) => Some(features),
            Looked::Encoded { .. } => None,
        }
    }
}
