//! An adapter in the matrices of its base.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::Adapter;
use crate::error::IoError;

impl Adapter {
    /// A layer's matrix `W`, `[outputs, inputs]`, with the adapter in it, in the number format that it
    /// has; the layer by this adapter's name for it.
    ///
    /// `W + s·B·A` (Hu et al., 2021); with DoRA `m ⊙ (W + s·B·A) / ‖W + s·B·A‖` by the norms of rows (Liu et
    /// al., 2024, equation 5). It is computed in `f32` on `device`.
    ///
    /// ```
    /// use blip2_io::{Adapter, CheckpointFolder};
    /// use burn::tensor::Device;
    ///
    /// let adapter = Adapter::open("../fixtures/peft/opt_list")?;
    /// let base = CheckpointFolder::open("../fixtures/blip2_opt")?.checkpoint()?;
    /// let layer = "language_model.model.decoder.layers.0.self_attn.q_proj";
    /// let matrix = base.tensor(&format!("{layer}.weight")).ok_or("no such layer")?;
    /// let merged = adapter.merged(layer, matrix.clone(), &Device::flex())?;
    /// assert_eq!(merged.shape(), matrix.shape());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`low_rank`](Self::low_rank).
    pub fn merged(
        &self,
        layer: &str,
        matrix: TensorData,
        device: &Device,
    ) -> Result<TensorData, IoError> {
        let &[outputs, inputs] = matrix.shape().as_slice() else {
            let reason = format!("`{layer}` is no linear layer of the model");
            return Err(self.mismatch(reason));
        };
        let low_rank = self.low_rank(layer, [outputs, inputs])?;
        let magnitude = self.magnitude(layer, outputs)?;
        let held = matrix.dtype();
        let tensor = |data: TensorData| Tensor::<2>::from_data(data, (device, DType::F32));
        let added = tensor(low_rank.b).matmul(tensor(low_rank.a)) * low_rank.scale;
        let sum = tensor(matrix.convert_dtype(DType::F32)) + added;
        let merged = match magnitude {
            None => sum,
            Some(lengths) => {
                let norms = sum.clone().square().sum_dim(1).sqrt();
                let lengths = Tensor::<1>::from_data(lengths, (device, DType::F32));
                sum * (lengths.reshape([outputs, 1]) / norms)
            }
        };
        Ok(merged.into_data().convert_dtype(held))
    }
}
