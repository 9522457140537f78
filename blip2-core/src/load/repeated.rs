//! What a GPU is told once of a model that never changes.

use blip2_kernels::replay::Repeated;
use burn::tensor::Tensor;

/// The most pictures that are worth it: of more, to tell a device what to do takes less than to do it, and what
/// is kept for the next time is large.
const FEW: usize = 4;

/// The stages whose shapes are the same for every picture.
#[derive(Debug, Default)]
pub(crate) struct RepeatedStages {
    vision: Repeated<4, 3>,
    qformer: Repeated<3, 3>,
}

impl RepeatedStages {
    /// From pixels, `[batch, 3, height, width]`, to what the image encoder sees.
    pub(crate) fn vision<E>(
        &self,
        pixel_values: Tensor<4>,
        work: impl Fn(Tensor<4>) -> Result<Tensor<3>, E>,
    ) -> Result<Tensor<3>, E> {
        repeat(&self.vision, pixel_values, work)
    }

    /// From what the image encoder sees to what the language model reads.
    pub(crate) fn qformer<E>(
        &self,
        image_embeds: Tensor<3>,
        work: impl Fn(Tensor<3>) -> Result<Tensor<3>, E>,
    ) -> Result<Tensor<3>, E> {
        repeat(&self.qformer, image_embeds, work)
    }
}

fn repeat<const I: usize, E>(
    repeated: &Repeated<I, 3>,
    input: Tensor<I>,
    work: impl Fn(Tensor<I>) -> Result<Tensor<3>, E>,
) -> Result<Tensor<3>, E> {
    match input.dims()[0] <= FEW {
        true => repeated.run(input, work),
        false => work(input),
    }
}
