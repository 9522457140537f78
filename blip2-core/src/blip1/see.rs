//! What a BLIP-1 keeps of pictures.

use std::fmt;

use blip2_lm::generate::CancelToken;
use blip2_vision::VisionModel;
use burn::tensor::{Tensor, TensorData};

use crate::{
    error::Blip2Error,
    load::{Load, Loaded, Pictures},
    memory::{MemoryLimit, MemoryPrediction, Workload},
    picture::Picture,
    verbs::{Timings, stage},
};

/// Encoded pictures, `[batch, patches + 1, vision_hidden]`.
#[derive(Clone)]
pub struct Sight(pub(super) Tensor<3>);

impl Sight {
    /// Encodes pictures.
    pub(super) fn of<P>(
        loaded: &Loaded<P>,
        vision_model: &VisionModel,
        pictures: &[Picture<'_>],
        cancel: &CancelToken,
    ) -> Result<(Self, Timings), Blip2Error>
    where
        P: Load<Pictures = Pictures, Memory = MemoryLimit>,
    {
        let (reading, device) = (&loaded.pictures, &loaded.device);
        let pixels = pictures.iter().map(Picture::pixels).max();
        let work = Workload::default()
            .with_batch(pictures.len())
            .with_picture_pixels(pixels.unwrap_or(0))
            .with_image_size(reading.size());
        loaded.memory.check(&work, MemoryPrediction::image_peak)?;
        let mut timings = Timings::default();
        let pixel_values = stage(
            device,
            cancel,
            "preprocess",
            &mut timings.preprocess,
            || reading.pixel_values(pictures, device),
        )?;
        let embeds = stage(device, cancel, "vision", &mut timings.vision, || {
            let output = vision_model.forward(pixel_values, &reading.vision)?;
            Ok(output.last_hidden_state)
        })?;
        Ok((Self(embeds), timings))
    }

    /// The pictures at these places, in that order; any may come more than once.
    pub(super) fn select(&self, places: &[usize]) -> Self {
        let [count, ..] = self.0.dims();
        if places.iter().copied().eq(0..count) {
            return self.clone();
        }
        let rows: Vec<i64> = places.iter().map(|&place| place as i64).collect();
        let rows = TensorData::new(rows, [places.len()]);
        let rows = Tensor::from_data(rows, &self.0.device());
        Self(self.0.clone().select(0, rows))
    }

    /// Pictures that were encoded one by one, together.
    pub(super) fn join(sights: &[&Self]) -> Result<Self, Blip2Error> {
        if sights.is_empty() {
            return Err(Blip2Error::Rows {
                reason: "there are no pictures".into(),
            });
        }
        let embeds = sights.iter().map(|sight| sight.0.clone()).collect();
        Ok(Self(Tensor::cat(embeds, 0)))
    }

    /// The only picture, `count` times.
    pub(super) fn repeat(&self, count: usize) -> Self {
        self.select(&vec![0; count])
    }
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sight").field(&self.0.dims()).finish()
    }
}
