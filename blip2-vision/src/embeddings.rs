//! Patches, class token and positions.

use blip2_kernels::{Linear, Matrix, Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor},
};

use crate::{
    error::VisionError,
    interpolate::interpolate,
    position_cache::PositionCache,
    tower_config::{Family, TowerConfig},
};

/// Cuts a picture into patches and embeds each, with a class token before them and a position
/// added to all (`Blip2VisionEmbeddings`, `CLIPVisionEmbeddings`).
#[derive(Module, Debug)]
pub(crate) struct Embeddings {
    class_embedding: Param<Tensor<3>>,
    /// The patch convolution. Its stride is its size, so it is a product of each patch with a
    /// matrix, and is held as one.
    patch_embedding: Linear,
    position_embedding: Param<Tensor<3>>,
    interpolated: PositionCache,
    image_size: usize,
    patch_size: usize,
}

impl Embeddings {
    pub(crate) fn load(config: &TowerConfig, weights: &Weights<'_>) -> Self {
        let hidden = config.hidden_size;
        let patch = config.patch_size;
        let positions = config.num_patches() + 1;
        let kernel = weights.at("patch_embedding");
        // The same numbers under other names and shapes.
        let (class_shape, positions_name, positions_shape, biased) = match config.family {
            Family::Eva { .. } => (
                vec![1, 1, hidden],
                "position_embedding",
                vec![1, positions, hidden],
                true,
            ),
            Family::Clip => (
                vec![hidden],
                "position_embedding.weight",
                vec![positions, hidden],
                false,
            ),
        };
        Self {
            class_embedding: weights.param_as(
                "class_embedding",
                &class_shape,
                [1, 1, hidden],
                Role::Dense,
            ),
            patch_embedding: Linear::new(
                Matrix::Dense(kernel.param_as(
                    "weight",
                    &[hidden, 3, patch, patch],
                    [hidden, 3 * patch * patch],
                    Role::Dense,
                )),
                biased.then(|| kernel.param("bias", [hidden], Role::Bias)),
            ),
            position_embedding: weights.param_as(
                positions_name,
                &positions_shape,
                [1, positions, hidden],
                Role::Dense,
            ),
            interpolated: PositionCache::default(),
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
        self.check(pixel_values.dims(), interpolate_pos_encoding)?;
        let [batch, _, height, width] = pixel_values.dims();
        let patches = self.patches(pixel_values.cast(DType::F32));
        let patches = self.patch_embedding.forward_exact(patches);
        let [_, _, hidden] = patches.dims();
        let class = self.class_embedding.val().expand([batch, 1, hidden]);
        let grid = [height / self.patch_size, width / self.patch_size];
        Ok(Tensor::cat(vec![class, patches], 1) + self.positions(grid))
    }

    fn check(&self, shape: [usize; 4], any_size: bool) -> Result<(), VisionError> {
        let [batch, channels, height, width] = shape;
        let fault = |reason| Err(VisionError::PixelValues { shape, reason });
        if batch == 0 {
            return fault("the batch is empty");
        }
        if channels != 3 {
            return fault("there must be three channels, red, green and blue");
        }
        let (expected, patch_size) = (self.image_size, self.patch_size);
        if !any_size && (height, width) != (expected, expected) {
            return Err(VisionError::ImageSize {
                height,
                width,
                expected,
            });
        }
        if height < patch_size || width < patch_size {
            return Err(VisionError::TooSmall {
                height,
                width,
                patch_size,
            });
        }
        Ok(())
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
    fn positions(&self, grid: [usize; 2]) -> Tensor<3> {
        let positions = self.position_embedding.val();
        let side = self.image_size / self.patch_size;
        if grid == [side, side] {
            positions
        } else if positions.is_require_grad() {
            // Kept positions would belong to the graph of an earlier pass.
            interpolated(positions, side, grid)
        } else {
            let make = || interpolated(positions, side, grid);
            self.interpolated.get(grid, make)
        }
    }
}

/// The positions of a square of `side` by `side` patches, resized to another grid. The class
/// token's stays as it is.
fn interpolated(positions: Tensor<3>, side: usize, grid: [usize; 2]) -> Tensor<3> {
    let [_, count, hidden] = positions.dims();
    let class = positions.clone().narrow(1, 0, 1);
    let square = positions
        .narrow(1, 1, count - 1)
        .reshape([side * side, hidden]);
    let patches = interpolate(square, side, grid).unsqueeze::<3>();
    Tensor::cat(vec![class, patches], 1)
}
