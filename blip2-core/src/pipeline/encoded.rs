//! Encoded pictures that outlive the process.

use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::Looked;
use crate::error::Blip2Error;

/// What a model saw in a picture or video, detached from the model: a few dozen vectors that the
/// language model reads in the picture's place; of an InstructBLIP, whose Q-Former reads each
/// question, the vector of every patch.
///
/// Serialisable by serde. Only the model that made it can read it, so it carries that model's
/// fingerprint, and [`recall`](crate::Blip2Pipeline::recall) refuses any other.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let encoded = blip2.look(&image)?.encoded()?; // to a database …
/// let seen = blip2.recall(&encoded)?; // … and back, perhaps in another process
/// assert_eq!(seen.ask("what color is the shape?")?.text, "red");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct EncodedImage {
    fingerprint: String,
    /// Rows (frames), vectors of each, and their width.
    shape: [usize; 3],
    values: Vec<f32>,
}

impl EncodedImage {
    pub(super) fn new(fingerprint: &str, looked: &Looked) -> Result<Self, Blip2Error> {
        let tensor = looked.tensor();
        let shape = tensor.dims();
        let values =
            tensor
                .into_data()
                .try_into_vec::<f32>()
                .map_err(|error| Blip2Error::DamagedImage {
                    reason: format!("its features cannot be read: {error:?}"),
                })?;
        Ok(Self {
            fingerprint: fingerprint.to_string(),
            shape,
            values,
        })
    }

    /// The vectors on `device`, if they were made by the model of this fingerprint and have the
    /// shape that it expects.
    pub(super) fn tensor(
        &self,
        fingerprint: &str,
        expected: [usize; 3],
        device: &Device,
    ) -> Result<Tensor<3>, Blip2Error> {
        if self.fingerprint != fingerprint {
            return Err(Blip2Error::ForeignImage {
                found: self.fingerprint.clone(),
                expected: fingerprint.to_string(),
            });
        }
        let damaged = |reason| Err(Blip2Error::DamagedImage { reason });
        if self.shape != expected || self.values.len() != expected.iter().product::<usize>() {
            return damaged(format!(
                "it states vectors of the shape {:?} and holds {} numbers, where the model has \
                 vectors of the shape {expected:?}",
                self.shape,
                self.values.len()
            ));
        }
        if let Some(position) = self.values.iter().position(|value| !value.is_finite()) {
            return damaged(format!("number {position} is {}", self.values[position]));
        }
        let data = TensorData::new(self.values.clone(), expected);
        Ok(Tensor::from_data(data, device))
    }

    /// The fingerprint of the model that made it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for EncodedImage {
    /// How many numbers there are, and not the thousands that they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedImage")
            .field("fingerprint", &self.fingerprint)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
