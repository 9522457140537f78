//! Layers one after another, and the threads that compute them.

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use super::{packs, recomputes};

/// Runs a step of decoding: where `device` computes on the current `rayon` pool's threads, on one of these.
///
/// What a step shares out, a hundred products or more that each take less than a millisecond, then wakes the
/// other threads alone; a caller outside the pool would be put to sleep and woken for each.
///
/// ```
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let sum = blip2_kernels::step_in_pool(&device, || Tensor::<1>::ones([3], &device).sum());
/// assert_eq!(sum.into_scalar::<f32>(), 3.0);
/// ```
pub fn step_in_pool<R: Send>(device: &Device, run: impl FnOnce() -> R + Send) -> R {
    match packs(device) && rayon::current_num_threads() > 1 {
        true => rayon::scope(|_| run()),
        false => run(),
    }
}

/// Runs layers of `width` over `rows` as [`step_in_pool`] does, if they are as short as a step: a small
/// model's, or few rows'. What takes long stays outside of the pool, where a thread that waits for a part of
/// another call's step would take it up and keep that call waiting.
///
/// ```
/// use blip2_kernels::layers_in_pool;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let run = || Tensor::<1>::ones([3], &device).sum();
/// assert_eq!(layers_in_pool(&device, 4, [96, 65], run).into_scalar::<f32>(), 3.0);
/// ```
pub fn layers_in_pool<R: Send>(
    device: &Device,
    layers: usize,
    [width, rows]: [usize; 2],
    run: impl FnOnce() -> R + Send,
) -> R {
    /// Some tens of milliseconds.
    const SHORT: usize = 1 << 30;
    let products = layer_size(width).saturating_mul(layers.saturating_mul(rows));
    match products <= SHORT && !recomputes() {
        true => step_in_pool(device, run),
        false => run(),
    }
}

/// The numbers of a layer's matrices: four of attention, and eight times as much of the perceptron.
fn layer_size(width: usize) -> usize {
    12_usize.saturating_mul(width).saturating_mul(width)
}

/// How many rows, of sequences that know nothing of one another, layers on `device` take best at a time:
/// with more, their activations leave the caches between two operations. `None` where all at once is
/// best, as on a GPU.
///
/// ```
/// use blip2_kernels::rows_at_once;
/// use burn::tensor::Device;
///
/// assert!(rows_at_once(&Device::flex()) >= Some(128));
/// assert_eq!(rows_at_once(&Device::flex().autodiff()), None);
/// ```
pub fn rows_at_once(device: &Device) -> Option<usize> {
    #[cfg(feature = "flex")]
    return packs(device).then(crate::kernel::threads::rows_at_once);
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        None
    }
}

/// Takes sequences, `[batch, seq, width]`, that know nothing of one another through layers, some at a time
/// where that is [faster](rows_at_once).
///
/// Layers so small that each thread's cache holds one are computed by each thread on sequences of its own, which
/// is faster than having all threads meet at every product. The numbers are the same either way.
///
/// ```
/// use blip2_kernels::in_groups;
/// use burn::tensor::{Device, Tensor};
///
/// let hidden = Tensor::<3>::ones([100, 65, 96], &Device::flex());
/// assert_eq!(in_groups(hidden, |some| some * 2.0).dims(), [100, 65, 96]);
/// ```
pub fn in_groups(
    hidden: Tensor<3>,
    run: impl Fn(Tensor<3>) -> Tensor<3> + Send + Sync,
) -> Tensor<3> {
    /// In `f32`, as much as the second level of a core's cache.
    const SMALL: usize = 1 << 19;
    let [batch, seq, width] = hidden.dims();
    let Some(rows) = rows_at_once(&hidden.device()) else {
        return run(hidden);
    };
    let threads = rayon::current_num_threads();
    let apart = threads > 1 && layer_size(width) <= SMALL && !recomputes();
    let (rows, most) = match apart {
        true => (rows / threads, batch.div_ceil(threads)),
        false => (rows, batch),
    };
    let group = rows.div_ceil(seq.max(1)).clamp(1, most.max(1));
    if group >= batch {
        return run(hidden);
    }
    let groups = hidden.split(group, 0);
    let outputs = match apart {
        true => groups.into_par_iter().map(run).collect(),
        false => groups.into_iter().map(run).collect(),
    };
    Tensor::cat(outputs, 0)
}
