//! Pictures that the model has encoded.

use blip2_core::{
    Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, CancelToken, CompareOptions,
    EncodedPhoto, Options, Seen,
};

use super::shown::Shown;
use crate::model::Model;

/// A picture that was encoded once, for all that is asked about it.
#[derive(Clone)]
pub(super) enum Sight {
    Blip2(Seen<Blip2Pipeline>),
    Answerer(Seen<BlipAnswerer>),
    Captioner(Seen<BlipCaptioner>),
    Photo(Box<EncodedPhoto>),
}

impl Sight {
    /// Encodes a picture.
    pub(super) fn of(
        model: &Model,
        shown: &Shown,
        cancel: &CancelToken,
    ) -> Result<Self, Blip2Error> {
        let mut seen = Self::of_batch(model, &[shown], cancel).map_err(of_item)?;
        seen.pop().ok_or(Blip2Error::Cancelled)
    }

    /// Encodes pictures together.
    pub(super) fn of_batch(
        model: &Model,
        shown: &[&Shown],
        cancel: &CancelToken,
    ) -> Result<Vec<Self>, Blip2Error> {
        let options = Options::default().with_cancel(cancel.clone());
        let compare = CompareOptions::default().with_cancel(cancel.clone());
        let images = shown.iter().copied();
        Ok(match model {
            Model::Blip2(blip2) => all(blip2.look_batch(images, &options)?, Self::Blip2),
            Model::Answerer(blip) => all(blip.look_batch(images, &options)?, Self::Answerer),
            Model::Captioner(blip) => all(blip.look_batch(images, &options)?, Self::Captioner),
            Model::Retrieval(blip2) => all(blip2.encode_batch(images, &compare)?, photo),
            Model::Blip1Retrieval(blip) => all(blip.encode_batch(images, &compare)?, photo),
        })
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Blip2(seen) => seen.size_in_bytes(),
            Self::Answerer(seen) => seen.size_in_bytes(),
            Self::Captioner(seen) => seen.size_in_bytes(),
            Self::Photo(photo) => photo.size_in_bytes(),
        }
    }
}

/// An error of a batch of one, which does not speak of a batch.
fn of_item(error: Blip2Error) -> Blip2Error {
    match error {
        Blip2Error::Item { source, .. } => *source,
        error => error,
    }
}

fn photo(photo: EncodedPhoto) -> Sight {
    Sight::Photo(Box::new(photo))
}

fn all<T>(seen: Vec<T>, sight: impl Fn(T) -> Sight) -> Vec<Sight> {
    seen.into_iter().map(sight).collect()
}
