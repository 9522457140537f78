//! What a GPU is, what it holds, what it is made to do, and the most that it can do: to account for
//! a model's speed instead of guessing at it.
//!
//! Every answer is `None` for a device whose work this crate's kernels of GPUs do not do: a
//! processor, or any device without the feature `gpu`.

#[cfg(feature = "gpu")]
use burn::tensor::MemoryAccess;
use burn::tensor::{Device, Tensor};

#[cfg(feature = "gpu")]
use crate::gpu;

/// The name of the adapter.
pub fn name(device: &Device) -> Option<String> {
    #[cfg(feature = "gpu")]
    return gpu::limits::name(device);
    #[cfg(not(feature = "gpu"))]
    none(device)
}

/// Whether this crate's kernels do the device's work.
pub fn is_served(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return gpu::tensors::serves(device);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// The bytes of the largest buffer that the device gives: no tensor is larger.
///
/// ```
/// use blip2_kernels::device;
/// use burn::tensor::Device;
///
/// assert_eq!(device::largest_buffer(&Device::flex()), None); // a processor sets no such limit
/// ```
pub fn largest_buffer(device: &Device) -> Option<u64> {
    #[cfg(feature = "gpu")]
    return gpu::limits::largest_buffer(device);
    #[cfg(not(feature = "gpu"))]
    none(device)
}

/// The bytes of the device's memory; also `None` where its driver does not tell, as with WGSL.
pub fn memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "gpu")]
    return gpu::limits::memory(device);
    #[cfg(not(feature = "gpu"))]
    none(device)
}

/// Whether the device has units of its own for products of matrices in `f16`.
pub fn has_matrix_units(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return gpu::limits::has_matrix_units(device);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// Whether those units multiply matrices of `f16`, `bf16`, `int8` and `int4` as they are held: none is widened
/// for a product.
pub fn multiplies_as_held(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return gpu::limits::multiplies_as_held(device);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// Has devices without matrix units compute as if they had some, number by number, which is slow: so that a
/// software driver can show what the kernel for them reads and writes.
#[doc(hidden)]
pub fn emulate_matrix_units(emulated: bool) {
    #[cfg(feature = "gpu")]
    gpu::product::emulate(emulated);
    #[cfg(not(feature = "gpu"))]
    let _ = emulated;
}

/// The bytes of tensors that the device's memory holds for the whole process, without what is held
/// for reuse.
pub fn memory_in_use(device: &Device) -> Option<u64> {
    name(device)?;
    device.memory_pool_usage().map(|usage| usage.bytes_in_use)
}

/// The bytes a second that the device reads and writes in copying its memory, measured.
pub fn copy_bandwidth(device: &Device) -> Option<f64> {
    #[cfg(feature = "gpu")]
    return gpu::limits::bandwidth(device, MemoryAccess::Copy);
    #[cfg(not(feature = "gpu"))]
    none(device)
}

/// The bytes a second that the device reads of its memory without writing, measured: what the weights
/// of a step of decoding can at most be read by.
pub fn read_bandwidth(device: &Device) -> Option<f64> {
    #[cfg(feature = "gpu")]
    return gpu::limits::bandwidth(device, MemoryAccess::Read);
    #[cfg(not(feature = "gpu"))]
    none(device)
}

/// The operations a second, two for a multiply-add, that the device does at most with operands in
/// `f32` or, if `halves`, in `f16`, by matrix units where it has them; measured.
pub fn product_peak(device: &Device, halves: bool) -> Option<f64> {
    #[cfg(feature = "gpu")]
    return gpu::limits::product_peak(device, halves);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = halves;
        none(device)
    }
}

/// Tells a [`Watch`] that the numbers of a tensor are read back from a device's memory. Of no other device
/// is anything counted.
pub fn note_read<const D: usize>(tensor: &Tensor<D>) {
    #[cfg(feature = "gpu")]
    if gpu::tensors::serves(&tensor.device()) {
        gpu::count::reads(tensor.dims().iter().product::<usize>() * tensor.dtype().size());
    }
    #[cfg(not(feature = "gpu"))]
    let _ = tensor;
}

/// Counts what the process makes its GPUs do, from its making on.
///
/// One at a time: a second takes the first one's place while it lives. Where this crate is built
/// without the feature `gpu` it counts nothing.
///
/// ```
/// use blip2_kernels::device::Watch;
///
/// let watch = Watch::new();
/// // … a step of decoding …
/// assert_eq!(watch.launches(), 0); // nothing ran on a GPU
/// ```
#[derive(Debug)]
pub struct Watch {
    #[cfg(feature = "gpu")]
    inner: gpu::count::Watch,
}

impl Watch {
    /// Begins to count.
    #[allow(clippy::new_without_default)] // watching is no value
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "gpu")]
            inner: gpu::count::Watch::new(),
        }
    }

    /// As [`new`](Self::new), and asks what the device's memory holds whenever a kernel is launched,
    /// which makes every launch wait for the one before it.
    pub fn of_memory(device: &Device) -> Self {
        #[cfg(not(feature = "gpu"))]
        let _ = device;
        Self {
            #[cfg(feature = "gpu")]
            inner: gpu::count::Watch::of_memory(device),
        }
    }

    /// The most that [`memory_in_use`] was when a kernel was launched; `None` where nobody
    /// [asked](Self::of_memory), or nothing was launched.
    pub fn peak_memory(&self) -> Option<u64> {
        #[cfg(feature = "gpu")]
        return self.inner.peak_memory();
        #[cfg(not(feature = "gpu"))]
        None
    }

    /// The kernels launched so far, this crate's and Burn's.
    pub fn launches(&self) -> u64 {
        #[cfg(feature = "gpu")]
        return self.inner.launches()[0];
        #[cfg(not(feature = "gpu"))]
        0
    }

    /// Those of them that are Burn's own operations.
    pub fn others(&self) -> u64 {
        #[cfg(feature = "gpu")]
        {
            let [all, own] = self.inner.launches();
            all - own
        }
        #[cfg(not(feature = "gpu"))]
        0
    }

    /// The bytes that this crate's kernels have read and written so far, each number once for each
    /// launch, by the shapes of what they were given.
    pub fn bytes_moved(&self) -> u64 {
        #[cfg(feature = "gpu")]
        return self.inner.moved();
        #[cfg(not(feature = "gpu"))]
        0
    }

    /// The bytes that were [read back](note_read) from the devices' memory so far to choose tokens.
    pub fn bytes_read(&self) -> u64 {
        #[cfg(feature = "gpu")]
        return self.inner.read();
        #[cfg(not(feature = "gpu"))]
        0
    }
}

#[cfg(not(feature = "gpu"))]
fn none<T>(_: &Device) -> Option<T> {
    None
}
