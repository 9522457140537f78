//! Tables of vectors.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor},
};

use crate::{
    matrix::Matrix,
    seam::{self, TensorEpilogue},
};

/// A table of `rows` vectors of width `dim`, looked up by index, and usable as the output head of
/// a language model whose head is tied to its input embeddings.
///
/// ```
/// use blip2_kernels::{RandomWeights, Weights};
/// use burn::tensor::{Device, Int, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let words = Weights::new(&source, &device).tied_embedding("embed_tokens", 100, 16);
/// let ids = Tensor::<2, Int>::from_ints([[2, 17, 42]], &device);
/// let x = words.forward(ids);
/// assert_eq!(x.dims(), [1, 3, 16]);
/// assert_eq!(words.logits(x).dims(), [1, 3, 100]); // the table as an output head
/// ```
#[derive(Module, Debug)]
pub struct Embedding {
    weight: Matrix,
    /// Where a table that is held packed has its vectors.
    #[module(skip)]
    device: Device,
    #[module(skip)]
    padding: Option<u32>,
}

impl Embedding {
    /// A table of `weight` `[rows, dim]`, whose vectors are wanted on `device`.
    pub fn new(weight: Matrix, device: &Device) -> Self {
        Self {
            weight,
            device: device.clone(),
            padding: None,
        }
    }

    /// The same table, of which looking up the vector `row` gives no gradient (PyTorch's
    /// `padding_idx`): in training, padding stays what it is.
    #[must_use]
    pub fn with_padding(mut self, row: Option<u32>) -> Self {
        self.padding = row;
        self
    }

    /// A table that is held as a tensor.
    pub fn dense(weight: Param<Tensor<2>>) -> Self {
        let device = weight.lazy_device();
        Self::new(Matrix::Dense(weight), &device)
    }

    /// Looks vectors up.
    ///
    /// # Shapes
    ///
    /// - indices: `[batch, seq]`, each below [`rows`](Embedding::rows)
    /// - output: `[batch, seq, dim]`, `f32`
    pub fn forward(&self, indices: Tensor<2, Int>) -> Tensor<3> {
        let vectors = seam::lookup(&self.weight, indices.clone());
        let Some(padding) = self.padding.filter(|_| vectors.is_autodiff()) else {
            return vectors;
        };
        let [batch, seq, dim] = vectors.dims();
        let is_padding = indices.equal_elem(i64::from(padding));
        let is_padding = is_padding
            .reshape([batch, seq, 1])
            .expand([batch, seq, dim]);
        vectors.clone().mask_where(is_padding, vectors.detach())
    }

    /// The product of each vector with every row of the table: the logits of a tied head.
    ///
    /// # Shapes
    ///
    /// - input: `[..., dim]`
    /// - output: `[..., rows]`
    pub fn logits<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        seam::linear(input, &self.weight, TensorEpilogue::default())
    }

    /// The device that holds the table.
    pub fn device(&self) -> Device {
        match &self.weight {
            Matrix::Dense(weight) => weight.lazy_device(),
            Matrix::Packed(_) => self.device.clone(),
            Matrix::OnDevice(weight) => weight.device(),
        }
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.weight.outputs()
    }

    /// The width of a vector.
    pub fn dim(&self) -> usize {
        self.weight.inputs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::packed::{PackedFormat, PackedMatrix};
    use burn::tensor::{DType, TensorData};

    #[test]
    fn padding_gets_no_gradient_by_being_looked_up() {
        let device = Device::flex().autodiff();
        let ids = || Tensor::<2, Int>::from_ints([[2, 0, 2, 1]], &device);
        let gradient = |padding| {
            let weight = Tensor::<2>::ones([3, 2], &device).require_grad();
            let table = Embedding::dense(Param::from_tensor(weight.clone())).with_padding(padding);
            let vectors = table.forward(ids());
            let seen: Vec<f32> = vectors.to_data().try_to_vec().unwrap();
            assert_eq!(seen, [1.0; 8]);
            let gradients = vectors.sum().backward();
            let found: Vec<f32> = weight
                .grad(&gradients)
                .unwrap()
                .into_data()
                .try_to_vec()
                .unwrap();
            found
        };
        assert_eq!(gradient(None), [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(gradient(Some(2)), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(gradient(Some(0)), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn looks_up_and_gives_logits() {
        let device = Device::flex();
        let values = [[1.0f32, 0.0], [0.0, 2.0], [3.0, 3.0]];
        let data = TensorData::from(values);
        let dense = [DType::F32, DType::BF16].map(|dtype| {
            let weight = Tensor::from_data(data.clone().convert_dtype(dtype), (&device, dtype));
            Embedding::dense(Param::from_tensor(weight))
        });
        let packed = [PackedFormat::F32, PackedFormat::Bf16].map(|format| {
            let packed = PackedMatrix::pack(format, 3, 2, |output, row| {
                row.copy_from_slice(&values[output]);
            });
            Embedding::new(Matrix::Packed(packed), &device)
        });
        for table in dense.into_iter().chain(packed) {
            assert_eq!((table.rows(), table.dim()), (3, 2));
            let x = table.forward(Tensor::from_ints([[2, 0]], &device));
            assert_eq!(
                x.to_data().try_to_vec::<f32>().unwrap(),
                [3.0, 3.0, 1.0, 0.0]
            );
            assert_eq!(
                table.logits(x).into_data().try_to_vec::<f32>().unwrap(),
                [3.0, 6.0, 18.0, 1.0, 0.0, 3.0]
            );
        }
    }
}
