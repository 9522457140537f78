//! A matrix in one of the ways it can be held.

pub(crate) mod device;
mod module;
pub(crate) mod packed;

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor, TensorData},
};

use self::{
    device::DeviceMatrix,
    packed::{PackedFormat, PackedMatrix},
};

/// A matrix `[outputs, inputs]` of weights, to be multiplied with.
///
/// How it is held is [`Weights`](crate::Weights)' choice: packed on the plain `flex` backend, whose
/// kernels are this crate's; a tensor on all others, and where gradients are recorded, since a packed
/// matrix cannot be trained. A product of a packed matrix with a tensor that kernels do not serve
/// widens the matrix first, so that gradients pass through it.
///
/// ```
/// use blip2_kernels::{Matrix, RandomWeights, Weights};
/// use burn::tensor::Device;
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let matrix = Weights::new(&source, &device).matrix("fc.weight", 8, 4);
/// assert!(matches!(matrix, Matrix::Packed(_))); // on plain `flex`
/// assert_eq!((matrix.outputs(), matrix.inputs()), (8, 4));
/// assert_eq!(matrix.to_tensor(&device).dims(), [8, 4]);
/// ```
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // a model has one for each layer
pub enum Matrix {
    /// A tensor of Burn, in any float format.
    Dense(Param<Tensor<2>>),
    /// Packed for the kernels.
    Packed(PackedMatrix),
    /// Packed in a GPU's memory, for its kernels.
    OnDevice(DeviceMatrix),
}

/// `x · Wᵀ + b`: what a linear layer is without an adapter.
#[derive(Debug)]
pub(crate) struct Affine<'a> {
    pub(crate) matrix: &'a Matrix,
    /// `[outputs]`
    pub(crate) bias: Option<Tensor<1>>,
}

impl Matrix {
    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Dense(weight) => weight.lazy_shape()[0],
            Self::Packed(packed) => packed.outputs(),
            Self::OnDevice(matrix) => matrix.outputs(),
        }
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense(weight) => weight.lazy_shape()[1],
            Self::Packed(packed) => packed.inputs(),
            Self::OnDevice(matrix) => matrix.inputs(),
        }
    }

    /// The packed matrix, if it is held so.
    pub fn as_packed(&self) -> Option<&PackedMatrix> {
        match self {
            Self::Packed(packed) => Some(packed),
            Self::Dense(_) | Self::OnDevice(_) => None,
        }
    }

    /// The format that the matrix is packed in, wherever it lies.
    pub fn packed_format(&self) -> Option<PackedFormat> {
        match self {
            Self::Dense(_) => None,
            Self::Packed(packed) => Some(packed.format()),
            Self::OnDevice(matrix) => Some(matrix.format()),
        }
    }

    /// The weights as a tensor `[outputs, inputs]` of `f32`: a copy, unless they are held so.
    ///
    /// A narrow matrix is widened for one product and dropped after it: the model is held once, in its
    /// narrow format, and no activation is rounded to it.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2> {
        let on_host;
        let packed = match self {
            Self::Dense(weight) => {
                let weight = weight.val();
                return match weight.dtype() {
                    DType::F32 => weight,
                    _ => weight.cast(DType::F32),
                };
            }
            Self::OnDevice(matrix) => match matrix.to_host() {
                Some(packed) => {
                    on_host = packed;
                    &on_host
                }
                // Its words are those of a packed matrix by its construction.
                None => return Tensor::zeros([matrix.outputs(), matrix.inputs()], device),
            },
            Self::Packed(packed) => packed,
        };
        let [outputs, inputs] = [packed.outputs(), packed.inputs()];
        let mut values = vec![0.0; outputs * inputs];
        for (output, row) in values.chunks_exact_mut(inputs.max(1)).enumerate() {
            packed.read_row(output, row);
        }
        Tensor::from_data(
            TensorData::new(values, [outputs, inputs]),
            (device, DType::F32),
        )
    }
    /// The sum of squares of each row, `[outputs]`.
    pub(crate) fn row_squares(&self, device: &Device) -> Tensor<1> {
        let Self::Packed(packed) = self else {
            let weight = self.to_tensor(device).inner();
            return weight.square().sum_dim(1).squeeze_dim::<1>(1);
        };
        // Row by row: a widened matrix would be as large as the model is narrow.
        let mut row = vec![0.0; packed.inputs()];
        let squares: Vec<f32> = (0..packed.outputs())
            .map(|output| {
                packed.read_row(output, &mut row);
                let sum: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                sum as f32
            })
            .collect();
        let outputs = squares.len();
        Tensor::from_data(TensorData::new(squares, [outputs]), (device, DType::F32))
    }
}
