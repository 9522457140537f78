//! Encoded pictures that outlive the process.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{Blip2Error, model::ImageFeatures};

/// What a model saw in a picture, detached from the model: a few dozen vectors that the language
/// model reads in the picture's place.
///
/// Serialisable by serde. Only the model that made it can read it, so it carries that model's
/// fingerprint, and [`recall`](crate::Blip2Pipeline::recall) refuses any other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncodedImage {
    fingerprint: String,
    queries: usize,
    width: usize,
    values: Vec<f32>,
}

impl EncodedImage {
    pub(super) fn new(fingerprint: &str, features: &ImageFeatures) -> Result<Self, Blip2Error> {
        let tensor = features.tensor();
        let [_, queries, width] = tensor.dims();
        let values =
            tensor
                .into_data()
                .try_into_vec::<f32>()
                .map_err(|error| Blip2Error::DamagedImage {
                    reason: format!("its features cannot be read: {error:?}"),
                })?;
        Ok(Self {
            fingerprint: fingerprint.to_string(),
            queries,
            width,
            values,
        })
    }

    /// The features on `device`, if they were made by the model of this fingerprint and have the
    /// shape `[queries, width]` that it expects.
    pub(super) fn features(
        &self,
        fingerprint: &str,
        [queries, width]: [usize; 2],
        device: &Device,
    ) -> Result<ImageFeatures, Blip2Error> {
        if self.fingerprint != fingerprint {
            return Err(Blip2Error::ForeignImage {
                found: self.fingerprint.clone(),
                expected: fingerprint.to_string(),
            });
        }
        let damaged = |reason| Err(Blip2Error::DamagedImage { reason });
        if [self.queries, self.width] != [queries, width] || self.values.len() != queries * width {
            return damaged(format!(
                "it states {} vectors of width {} and holds {} numbers, where the model has \
                 {queries} vectors of width {width}",
                self.queries,
                self.width,
                self.values.len()
            ));
        }
        if let Some(position) = self.values.iter().position(|value| !value.is_finite()) {
            return damaged(format!("number {position} is {}", self.values[position]));
        }
        let data = TensorData::new(self.values.clone(), [1, queries, width]);
        Ok(ImageFeatures::new(Tensor::from_data(data, device)))
    }

    /// The fingerprint of the model that made it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
