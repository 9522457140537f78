//! Tables of vectors.

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor, module},
};

use crate::linear::{product, widened};

/// A table of `rows` vectors of width `dim`, looked up by index, and usable as the output head of
/// a language model whose head is tied to its input embeddings.
#[derive(Module, Debug)]
pub struct Embedding {
    weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table of `weight` `[rows, dim]`.
    pub fn new(weight: Param<Tensor<2>>) -> Self {
        Self { weight }
    }

    /// Looks vectors up.
    ///
    /// # Shapes
    ///
    /// - indices: `[batch, seq]`, each below [`rows`](Embedding::rows)
    /// - output: `[batch, seq, dim]`, `f32`
    pub fn forward(&self, indices: Tensor<2, Int>) -> Tensor<3> {
        let rows = module::embedding(self.weight.val(), indices);
        if rows.dtype() == DType::F32 {
            rows
        } else {
            rows.cast(DType::F32)
        }
    }

    /// The product of each vector with every row of the table: the logits of a tied head.
    ///
    /// # Shapes
    ///
    /// - input: `[..., dim]`
    /// - output: `[..., rows]`
    pub fn attend<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        product(input, widened(self.weight.val()), None)
    }

    /// The device that holds the table.
    pub fn device(&self) -> Device {
        self.weight.lazy_device()
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.weight.lazy_shape()[0]
    }

    /// The width of a vector.
    pub fn dim(&self) -> usize {
        self.weight.lazy_shape()[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn looks_up_and_attends() {
        let device = Device::flex();
        let data = TensorData::from([[1.0f32, 0.0], [0.0, 2.0], [3.0, 3.0]]);
        for dtype in [DType::F32, DType::BF16] {
            let weight = Tensor::from_data(data.clone().convert_dtype(dtype), (&device, dtype));
            let table = Embedding::new(Param::from_tensor(weight));
            let x = table.forward(Tensor::from_ints([[2, 0]], &device));
            assert_eq!(
                x.to_data().try_to_vec::<f32>().unwrap(),
                [3.0, 3.0, 1.0, 0.0]
            );
            assert_eq!(
                table.attend(x).into_data().try_to_vec::<f32>().unwrap(),
                [3.0, 6.0, 18.0, 1.0, 0.0, 3.0]
            );
        }
    }
}
