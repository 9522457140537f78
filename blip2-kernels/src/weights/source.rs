//! What answers a model's requests.

use burn::{
    module::Param,
    tensor::{DType, Device, Tensor, TensorData},
};
use rayon::prelude::*;

use super::{request::TensorRequest, role::Role, shape::matrix_shape};
use crate::{
    matrix::{
        Matrix,
        device::DeviceMatrix,
        packed::{PackedFormat, PackedMatrix},
    },
    seam,
};

/// Answers a model's requests for tensors: a checkpoint, a random initialiser, a mere plan.
///
/// A model never opens a file; it asks a [`Weights`](crate::Weights) cursor for each tensor by its
/// Hugging Face name and shape, and the source behind it owns number formats, sharding and mapping, and keeps the
/// account of what was missing or misshapen, so that all faults of a checkpoint are reported
/// together.
///
/// ```
/// use std::collections::HashMap;
///
/// use blip2_kernels::{Bias, TensorRequest, WeightSource, Weights};
/// use burn::tensor::{DType, Device, Tensor, TensorData};
///
/// /// Tensors of `f32` in memory.
/// struct Memory(HashMap<&'static str, Vec<f32>>);
///
/// impl WeightSource for Memory {
///     fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
///         let values = self.0.get(request.name)?.clone();
///         let fits = values.len() == request.shape.iter().product::<usize>();
///         let data = fits.then(|| TensorData::new(values, request.shape.to_vec()))?;
///         Some(data.convert_dtype(request.storage(DType::F32)))
///     }
///
///     fn contains(&self, name: &str) -> bool {
///         self.0.contains_key(name)
///     }
/// }
///
/// let tensors = [("fc.weight", vec![1.0, 2.0]), ("fc.bias", vec![0.5])];
/// let (source, device) = (Memory(HashMap::from(tensors)), Device::flex());
/// let fc = Weights::new(&source, &device).linear("fc", 2, 1, Bias::With);
/// let y = fc.forward(Tensor::<2>::from_floats([[10.0, 1.0]], &device));
/// assert_eq!(y.into_data(), TensorData::from([[12.5f32]]));
/// ```
pub trait WeightSource {
    /// The tensor's data in the format it is to be held in, of exactly the asked shape.
    ///
    /// `None` says that there is no such tensor, or none that fits; the source has noted why, and
    /// whoever made the source must ask it for that account before the model is used.
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData>;

    /// The matrix ready for the kernels, where the source holds it so: a file of packed matrices.
    ///
    /// Asked before [`tensor`](Self::tensor), for matrices that kernels will multiply. The format
    /// is the source's choice.
    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        let _ = request;
        None
    }

    /// Hears that the data of a tensor has been packed and will not be read again, so that pages of
    /// a mapped file can be given back: the model would else be in memory twice.
    fn release(&self, request: &TensorRequest<'_>) {
        let _ = request;
    }

    /// Whether a tensor of this name exists. Lets a model follow a checkpoint that stores an
    /// optional part (an untied head, a fused bias) without that counting as a fault.
    fn contains(&self, name: &str) -> bool;

    /// Whether there are tensors of both names, whose numbers are not the same: a head that the configuration
    /// calls tied to the table of tokens, and that was trained apart from it. No answer is no.
    fn differ(&self, name: &str, other: &str) -> bool {
        let _ = (name, other);
        false
    }
}

/// The matrix of a request, packed in the format of its precision: as the source holds it, or of
/// what the source stores.
pub fn packed_matrix(
    source: &dyn WeightSource,
    request: &TensorRequest<'_>,
) -> Option<PackedMatrix> {
    if let Some(packed) = source.packed(request) {
        return Some(packed);
    }
    let [outputs, inputs] = matrix_shape(request.shape)?;
    let data = source.tensor(request)?;
    let format = request.precision.packed(data.dtype(), request.role);
    let packed = PackedMatrix::from_data(format, outputs, inputs, &data);
    source.release(request);
    packed
}

/// Where the matrices of a device are, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Packed in this processor's memory, for its kernels.
    Host,
    /// In a GPU's memory, for its kernels: packed, where they read the format so.
    Device,
    /// Wherever Burn holds tensors.
    Tensor,
}

impl Place {
    pub(super) fn of(device: &Device) -> Self {
        match device {
            device if seam::packs(device) => Self::Host,
            device if seam::packs_on_device(device) => Self::Device,
            _ => Self::Tensor,
        }
    }
}

/// The matrix of a request in the memory of the device that it names.
pub(super) fn device_matrix(
    source: &dyn WeightSource,
    request: &TensorRequest<'_>,
) -> Option<Matrix> {
    let [outputs, inputs] = matrix_shape(request.shape)?;
    // Tables that are only looked up are never packed in a file.
    if request.role != Role::Embedding
        && let Some(packed) = source.packed(request)
    {
        return Some(upload(&packed, request.device));
    }
    let data = source.tensor(request)?;
    let format = request.precision.on_device(data.dtype(), request.role);
    let matrix = match DeviceMatrix::reads(format) {
        true => {
            let packed = PackedMatrix::from_data(format, outputs, inputs, &data)?;
            upload(&packed, request.device)
        }
        false => dense(data, [outputs, inputs], format, request.device),
    };
    source.release(request);
    Some(matrix)
}

/// A packed matrix in a device's memory: a tensor, where its kernels do not read the format.
fn upload(packed: &PackedMatrix, device: &Device) -> Matrix {
    if let Some(matrix) = DeviceMatrix::new(packed, device) {
        return Matrix::OnDevice(matrix);
    }
    let (outputs, inputs) = (packed.outputs(), packed.inputs());
    let mut values = vec![0.0; outputs * inputs];
    let rows = values.par_chunks_exact_mut(inputs.max(1)).enumerate();
    rows.for_each(|(output, row)| packed.read_row(output, row));
    let data = TensorData::new(values, [outputs, inputs]);
    dense(data, [outputs, inputs], packed.format(), device)
}

fn dense(data: TensorData, shape: [usize; 2], format: PackedFormat, device: &Device) -> Matrix {
    let dtype = match format {
        PackedFormat::F16 if device.supports_dtype(DType::F16) => DType::F16,
        _ => DType::F32,
    };
    // A pointwise convolution's has an axis more.
    let (bytes, _, _) = data.convert_dtype(dtype).into_parts();
    let tensor = Tensor::from_data(TensorData::from_bytes(bytes, shape, dtype), (device, dtype));
    Matrix::Dense(Param::from_tensor(tensor))
}
