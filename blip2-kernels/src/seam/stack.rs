//! Layers one after another, and the threads that compute them.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use rayon::prelude::*;

use super::{any_trains, packs};

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
/// another call's step would take it up and keep that call waiting. What is trained stays in its thread, too,
/// which alone knows what its step shares: random numbers, and how activations are kept.
///
/// ```
/// use blip2_kernels::{Bias, RandomWeights, Weights, layers_in_pool};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let layers = vec![Weights::new(&source, &device).linear("fc", 8, 8, Bias::With)];
/// let x = Tensor::<2>::ones([5, 8], &device);
/// let y = layers_in_pool(&layers, &device, layers.len(), [8, 5], || layers[0].forward(x));
/// assert_eq!(y.dims(), [5, 8]);
/// ```
pub fn layers_in_pool<M: Module, R: Send>(
    module: &M,
    device: &Device,
    layers: usize,
    [width, rows]: [usize; 2],
    run: impl FnOnce() -> R + Send,
) -> R {
    /// Some tens of milliseconds.
    const SHORT: usize = 1 << 30;
    let products = layer_size(width).saturating_mul(layers.saturating_mul(rows));
    match products <= SHORT && !any_trains(module) {
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
/// is faster than having all threads meet at every product. The numbers are the same either way. Layers that
/// are trained take all at once, in their own thread.
///
/// ```
/// use blip2_kernels::{Bias, RandomWeights, Weights, in_groups};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let layer = Weights::new(&source, &device).linear("fc", 96, 96, Bias::With);
/// let hidden = Tensor::<3>::ones([100, 65, 96], &device);
/// assert_eq!(in_groups(&layer, hidden, |some| layer.forward(some)).dims(), [100, 65, 96]);
/// ```
pub fn in_groups<M: Module>(
    module: &M,
    hidden: Tensor<3>,
    run: impl Fn(Tensor<3>) -> Tensor<3> + Send + Sync,
) -> Tensor<3> {
    /// In `f32`, as much as the second level of a core's cache.
    const SMALL: usize = 1 << 19;
    let [batch, seq, width] = hidden.dims();
    let rows = rows_at_once(&hidden.device()).filter(|_| !any_trains(module));
    let Some(rows) = rows else {
        return run(hidden);
    };
    let threads = rayon::current_num_threads();
    let apart = threads > 1 && layer_size(width) <= SMALL;
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

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use burn::module::Param;

    use super::*;

    /// What a thread is told, and what it found.
    fn places(layers: &[Param<Tensor<2>>]) -> (bool, usize) {
        let (device, calls) = (Device::flex(), AtomicUsize::new(0));
        let layers = layers.to_vec();
        let here = thread::current().id();
        let place = || thread::current().id();
        let stayed = layers_in_pool(&layers, &device, 1, [8, 1], place) == here;
        let hidden = Tensor::<3>::ones([1000, 4, 8], &device);
        let output = in_groups(&layers, hidden, |some| {
            calls.fetch_add(1, Ordering::Relaxed);
            some
        });
        assert_eq!(output.dims(), [1000, 4, 8]);
        (stayed, calls.into_inner())
    }

    #[test]
    #[cfg(feature = "autodiff")]
    fn what_is_trained_stays_in_its_thread_as_a_whole() {
        let plain = || Param::from_tensor(Tensor::<2>::ones([8, 8], &Device::flex()));
        let trained = plain().val().autodiff().require_grad();
        // A trained parameter behind one that is not, as an adapter is behind its matrix.
        assert_eq!(places(&[plain(), Param::from_tensor(trained)]), (true, 1));
        let (stayed, calls) = places(&[plain()]);
        assert!(calls > 1);
        assert_eq!(stayed, rayon::current_num_threads() == 1);
    }
}
