//! Between Burn's tensors on a GPU and the buffers that kernels read and write.

#![allow(unsafe_code)] // launches of kernels

use std::any::{Any, TypeId};

use burn::{
    backend::{BackendTypes, DispatchDevice},
    tensor::{DType, Device, Int, Shape, Tensor},
};
use burn_cubecl::{
    Cube,
    cubecl::{client::Client, prelude::BufferArg, server::Handle},
    kernel::into_contiguous,
    ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};

use crate::matrix::device::DeviceMatrix;

/// Units of a cube: enough to hide the way to memory, and no more than every device has.
pub(super) const UNITS: u32 = 256;

type Primitive = <Cube as BackendTypes>::FloatTensorPrimitive;

/// Whether tensors on `device` can be computed with by kernels.
///
/// Where an application turns on Burn's fusion, its tensors are plans and not buffers: then Burn's own
/// operations serve, which is what fusion is for.
pub(crate) fn serves(device: &Device) -> bool {
    let plain = TypeId::of::<Primitive>() == TypeId::of::<CubeTensor>();
    plain && !device.is_autodiff() && matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

/// A tensor of `f32` as it lies; `None` where it is not on a GPU, or recorded for its gradient.
pub(crate) fn as_it_lies<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    any_float(tensor)
}

/// As [`as_it_lies`], in any float format.
pub(super) fn any_float<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    if !serves(&tensor.device()) {
        return None;
    }
    let primitive = tensor.clone().try_into_primitive::<Cube>().ok()?;
    plain(primitive)
}

/// A contiguous tensor of `f32`.
pub(crate) fn lower<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    as_it_lies(tensor).map(into_contiguous)
}

/// A contiguous tensor of integers.
pub(super) fn lower_integers<const D: usize>(tensor: &Tensor<D, Int>) -> Option<CubeTensor> {
    if !serves(&tensor.device()) {
        return None;
    }
    let primitive = tensor.clone().try_into_primitive::<Cube>().ok()?;
    plain(primitive).map(into_contiguous)
}

/// The words of a matrix that lies packed in a device's memory.
pub(super) fn words(matrix: &DeviceMatrix) -> Option<CubeTensor> {
    lower_integers(matrix.words())
}

/// A tensor that may not be there; `None` where it is there and elsewhere.
pub(super) fn lower_optional<const D: usize>(
    tensor: Option<&Tensor<D>>,
) -> Option<Option<CubeTensor>> {
    match tensor {
        Some(tensor) => lower(tensor).map(Some),
        None => Some(None),
    }
}

/// A tensor of what a kernel computed.
#[allow(clippy::panic)] // see there
pub(crate) fn lift<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    match (Box::new(tensor) as Box<dyn Any>).downcast::<Primitive>() {
        Ok(tensor) => Tensor::from_primitive::<Cube>(*tensor),
        // Nothing was lowered there, see `serves`, and so no kernel ran.
        Err(_) => unreachable!("a device of plans ran a kernel"),
    }
}

/// A new tensor beside `neighbour`, not yet written.
pub(super) fn empty<const D: usize>(
    neighbour: &CubeTensor,
    shape: [usize; D],
    dtype: DType,
) -> CubeTensor {
    let (client, device) = (neighbour.client.clone(), neighbour.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape), dtype)
}

/// A buffer of `len` elements of what a kernel reads at a time.
pub(super) fn buffer(tensor: &CubeTensor, len: usize) -> BufferArg {
    raw(&tensor.handle, len)
}

fn raw(handle: &Handle, len: usize) -> BufferArg {
    // SAFETY: a kernel is told this length and reads no further, and every caller gives the number of
    // elements that the tensor's own shape, or the part of the buffer that is the tensor's, says are there.
    unsafe { BufferArg::from_raw_parts(handle.clone(), len) }
}

/// The elements of a tensor.
pub(super) fn elements(tensor: &CubeTensor) -> usize {
    tensor.meta.num_elements()
}

/// The bytes of a tensor's numbers.
pub(super) fn bytes(tensor: &CubeTensor) -> usize {
    elements(tensor) * tensor.dtype.size()
}

/// The multiprocessors of a device, guessed where it does not tell.
pub(super) fn multiprocessors(client: &Client) -> usize {
    let told = client.properties().hardware.num_streaming_multiprocessors;
    told.map_or(64, |count| count.max(1) as usize)
}

fn plain(primitive: Primitive) -> Option<CubeTensor> {
    let primitive = (Box::new(primitive) as Box<dyn Any>).downcast::<CubeTensor>();
    primitive.ok().map(|tensor| *tensor)
}

/// As many cubes, in a grid that every device takes: there may be some more than asked for.
pub(super) fn cubes(count: usize) -> burn_cubecl::cubecl::prelude::CubeCount {
    /// The most cubes along an axis.
    const MOST: usize = 65_535;
    let rows = count.div_ceil(MOST).max(1);
    burn_cubecl::cubecl::prelude::CubeCount::Static(
        count.div_ceil(rows).max(1) as u32,
        rows as u32,
        1,
    )
}
