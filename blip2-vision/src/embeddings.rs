//! Patches, class token and positions.

use blip2_kernels::{Linear, Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use crate::{Blip2VisionConfig, VisionError, interpolate::interpolate};

/// Cuts a picture into patches and embeds each, with a class token before them and a position
/// added to all (`Blip2VisionEmbeddings`).
#[derive(Module, Debug)]
pub(crate) struct Embeddings {
    class_embedding: Param<Tensor<3>>,
    /// The patch convolution. Its stride is its size, so it is a product of each patch with a
    /// matrix, and is held as one.
    patch_embedding: Linear,
    position_embedding: Param<Tensor<3>>,
    image_size: usize,
    patch_size: usize,
}

impl Embeddings {
    pub(crate) fn load(config: &Blip2VisionConfig, weights: &Weights<'_>) -> Self {
        let hidden = config.hidden_size;
        let patch = config.patch_size;
        let kernel = weights.at("patch_embedding");
        Self {
            class_embedding: weights.param("class_embedding", [1, 1, hidden], Role::Dense),
            patch_embedding: Linear::new(
                kernel.param_as(
                    "weight",
                    &[hidden, 3, patch, patch],
                    [hidden, 3 * patch * patch],
                    Role::Matrix,
                ),
                Some(kernel.param("bias", [hidden], Role::Bias)),
            ),
            position_embedding: weights.param(
                "position_embedding",
                [1, config.num_patches() + 1, hidden],
                Role::Dense,
            ),
            image_size: config.image_size,
            patch_size: patch,
        }
    }

    /// # Shapes
    ///
    /// - pixel_values: `[batch, 3, height, width]`
    /// - output: `[batch, patches + 1, hidden]`
    pub(crate) fn forward(
        &self,
        pixel_values: Tensor<4>,
        interpolate_pos_encoding: bool,
    ) -> Result<Tensor<3>, VisionError> {
        let shape @ [batch, channels, height, width] = pixel_values.dims();
        let fault = |reason| Err(VisionError::PixelValues { shape, reason });
        if batch == 0 {
            return fault("the batch is empty");
        }
        if channels != 3 {
            return fault("there must be three channels");
        }
        if height < self.patch_size || width < self.patch_size {
            return fault("a side is shorter than a patch");
        }
        let expected = self.image_size;
        if !interpolate_pos_encoding && (height, width) != (expected, expected) {
            return Err(VisionError::ImageSize {
                height,
                width,
                expected,
            });
        }
        let patches = self.patch_embedding.forward_exact(self.patches(pixel_values));
        let [_, count, hidden] = patches.dims();
        let class = self.class_embedding.val().expand([batch, 1, hidden]);
        let positions = self.positions(height / self.patch_size, width / self.patch_size);
        debug_assert_eq!(positions.dims()[1], count + 1);
        Ok(Tensor::cat(vec![class, patches], 1) + positions)
    }

    /// Flattened patches in reading order, `[batch, patches, 3 · patch · patch]`. Pixels beyond
    /// the last whole patch are left out, as the reference's convolution leaves them.
    fn patches(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = pixel_values.dims();
        let patch = self.patch_size;
        let (rows, columns) = (height / patch, width / patch);
        pixel_values
            .slice([0..batch, 0..channels, 0..rows * patch, 0..columns * patch])
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * patch * patch])
    }

    /// The positions of a grid of patches and its class token, `[1, 1 + rows · columns, hidden]`.
    fn positions(&self, rows: usize, columns: usize) -> Tensor<3> {
        let positions = self.position_embedding.val();
        let side = self.image_size / self.patch_size;
        if (rows, columns) == (side, side) {
            return positions;
        }
        let [_, count, hidden] = positions.dims();
        let class = positions.clone().narrow(1, 0, 1);
        let grid = positions
            .narrow(1, 1, count - 1)
            .reshape([side * side, hidden]);
        let grid = interpolate(grid, side, rows, columns).unsqueeze::<3>();
        Tensor::cat(vec![class, grid], 1)
    }
}
