//! Between Burn's tensors on the `flex` backend and the slices that kernels read and write.
//!
//! This goes through Burn's extension interface by its downcast rather than its dispatch macro: a
//! tensor that is not on plain `flex` (on a GPU, or recorded for its gradient) is declined, and its
//! caller computes with Burn's own operations. The macro's dispatch panics on a backend that its
//! list lacks.

use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};

/// Whether tensors on `device` can be computed with by kernels.
pub(crate) fn serves(device: &Device) -> bool {
    !device.is_autodiff() && *device == Device::flex()
}

/// A contiguous tensor of `f32`; `None` where the tensor is not on plain `flex`.
pub(crate) fn lower<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    any_layout(tensor).map(|tensor| {
        if tensor.as_slice::<f32>().is_some() {
            tensor
        } else {
            tensor.to_contiguous()
        }
    })
}

fn any_layout<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    let served = tensor.dtype() == DType::F32 && serves(&tensor.device());
    served.then(|| tensor.clone().try_into_primitive::<Flex>().ok())?
}

/// The elements of a tensor that was [lowered](lower).
pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// A tensor of rank 4 whose last axis is contiguous.
pub(crate) struct Rows {
    tensor: FlexTensor,
    pub(crate) dims: [usize; 4],
    /// Of the first three axes.
    pub(crate) strides: [usize; 3],
}

impl Rows {
    /// The elements from the first on.
    pub(crate) fn data(&self) -> &[f32] {
        let start = self.tensor.layout().start_offset();
        self.tensor.storage().get(start..).unwrap_or_default()
    }

    /// A row of the last axis.
    pub(crate) fn row(&self, batch: usize, head: usize, index: usize) -> &[f32] {
        let [b, h, i] = self.strides;
        let start = batch * b + head * h + index * i;
        &self.data()[start..start + self.dims[3]]
    }
}

/// The tensor as rows: as it lies, if its last axis is contiguous. `None` where it is not on plain
/// `flex`.
pub(crate) fn rows(tensor: &Tensor<4>) -> Option<Rows> {
    let dims = tensor.dims();
    let mut tensor = any_layout(tensor)?;
    let layout = tensor.layout();
    if layout.inner_stride() != 1 || !layout.has_positive_strides() {
        tensor = tensor.to_contiguous();
    }
    let mut strides = [0; 3];
    for (to, &from) in strides.iter_mut().zip(tensor.layout().strides()) {
        *to = from.unsigned_abs();
    }
    Some(Rows {
        tensor,
        dims,
        strides,
    })
}

/// A tensor of what a kernel computed.
pub(crate) fn lift<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    let layout = Layout::contiguous(Shape::from(shape));
    Tensor::from_primitive::<Flex>(FlexTensor::new(
        Bytes::from_elems(values),
        layout,
        DType::F32,
    ))
}
