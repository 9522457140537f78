//! Pictures that the model has encoded.

use blip2_core::{
    Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, CancelToken, CompareOptions,
    EncodedPhoto, Options, Seen,
    image::RgbImage,
    preprocessing::{DecodeOptions, decode_bytes},
};

use crate::{model::Model, picture::Upload};

/// A picture that was encoded once, for all that is asked about it.
#[derive(Clone)]
pub(super) enum Sight {
    Blip2(Seen<Blip2Pipeline>),
    Answerer(Seen<BlipAnswerer>),
    Captioner(Seen<BlipCaptioner>),
    Photo(Box<EncodedPhoto>),
}

impl Sight {
    /// Decodes a picture within limits, and encodes it.
    pub(super) fn of(
        model: &Model,
        upload: &Upload,
        decode: &DecodeOptions,
        cancel: &CancelToken,
    ) -> Result<Self, Blip2Error> {
        let image = decode_bytes(&upload.bytes, decode)?;
        encode(model, &image, cancel)
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

fn encode(model: &Model, image: &RgbImage, cancel: &CancelToken) -> Result<Sight, Blip2Error> {
    let options = Options::default().with_cancel(cancel.clone());
    let compare = CompareOptions::default().with_cancel(cancel.clone());
    Ok(match model {
        Model::Blip2(blip2) => Sight::Blip2(blip2.look_with(image, &options)?),
        Model::Answerer(blip) => Sight::Answerer(blip.look_with(image, &options)?),
        Model::Captioner(blip) => Sight::Captioner(blip.look_with(image, &options)?),
        Model::Retrieval(blip2) => Sight::Photo(Box::new(blip2.encode_with(image, &compare)?)),
        Model::Blip1Retrieval(blip) => Sight::Photo(Box::new(blip.encode_with(image, &compare)?)),
    })
}
