//! What answers a model's requests.

use burn::tensor::TensorData;

use super::request::TensorRequest;
use crate::matrix::packed::PackedMatrix;

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
    let &[outputs, inputs] = request.shape else {
        return None;
    };
    let data = source.tensor(request)?;
    let format = request.precision.packed(data.dtype(), request.role);
    let packed = PackedMatrix::from_data(format, outputs, inputs, &data);
    source.release(request);
    packed
}
