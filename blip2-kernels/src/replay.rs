//! Work that is described to a GPU once and done again and again.
//!
//! Telling a device what to do costs a processor tens of microseconds a launch, for hundreds of launches a
//! token. Of work whose shapes stay, nothing changes but the numbers that it reads: it is recorded, and
//! replayed. Elsewhere nothing is recorded, and work is done as it always is.

use burn::tensor::Tensor;

#[cfg(feature = "gpu")]
use crate::gpu;

/// Recorded work of inputs `I` axes and a result of `O`.
#[derive(Debug)]
pub struct Replay<const I: usize, const O: usize> {
    #[cfg(feature = "gpu")]
    inner: gpu::replay::Replay,
    #[cfg(not(feature = "gpu"))]
    never: std::convert::Infallible,
}

/// Work that is about to be recorded.
///
/// It is done once of [these inputs](Self::inputs), as it will be when it is [recorded](Self::record): a
/// recording may take no other memory than what that left.
#[derive(Debug)]
pub struct Rehearsal<const I: usize> {
    #[cfg(feature = "gpu")]
    inner: gpu::replay::Rehearsal,
    #[cfg(not(feature = "gpu"))]
    never: std::convert::Infallible,
}

impl<const I: usize> Rehearsal<I> {
    /// Begins with the first inputs; `None` where nothing is recorded: on a processor, for tensors that
    /// are recorded for their gradients, and while another recording is under way.
    ///
    /// ```
    /// use blip2_kernels::replay::Rehearsal;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let x = Tensor::<2>::ones([3, 4], &Device::flex());
    /// assert!(Rehearsal::new(&[x]).is_none()); // a processor is its own
    /// ```
    pub fn new(inputs: &[Tensor<I>]) -> Option<Self> {
        #[cfg(feature = "gpu")]
        return gpu::replay::Rehearsal::new(inputs).map(|inner| Self { inner });
        #[cfg(not(feature = "gpu"))]
        {
            let _ = inputs;
            None
        }
    }

    /// Copies of the inputs, where the work will find those of later times, too.
    pub fn inputs(&self) -> Vec<Tensor<I>> {
        #[cfg(feature = "gpu")]
        return self.inner.inputs();
        #[cfg(not(feature = "gpu"))]
        match self.never {}
    }

    /// Records what `work` makes the device do, none of which is done. It must be the work that was done
    /// before, of the same weights, and tell no kernel anything that will be another next time. `None` if
    /// it has no result, or made the device do what cannot be recorded: then whatever tensor it wrote in
    /// place gives an error to whoever reads it.
    pub fn record<const O: usize>(
        self,
        work: impl FnOnce(Vec<Tensor<I>>) -> Option<Tensor<O>>,
    ) -> Option<Replay<I, O>> {
        #[cfg(feature = "gpu")]
        return self.inner.record(work).map(|inner| Replay { inner });
        #[cfg(not(feature = "gpu"))]
        {
            let _ = work;
            match self.never {}
        }
    }
}

impl<const I: usize, const O: usize> Replay<I, O> {
    /// Does the work with other inputs, of the shapes of the first; `None` for other shapes, and where the
    /// device refuses.
    pub fn run(&mut self, inputs: &[Tensor<I>]) -> Option<Tensor<O>> {
        #[cfg(feature = "gpu")]
        return self.inner.run(inputs);
        #[cfg(not(feature = "gpu"))]
        {
            let _ = inputs;
            match self.never {}
        }
    }
}

/// How many places caches hold that grow together, and where, kept in a device's memory, so that a step that is
/// recorded finds them whenever it is done again.
#[derive(Debug)]
pub struct PlaceCounter {
    #[cfg(feature = "gpu")]
    pub(crate) inner: gpu::counter::Counter,
    #[cfg(not(feature = "gpu"))]
    never: std::convert::Infallible,
}

impl PlaceCounter {
    /// Keeps the sequences `rows`, in that order, of all caches that [count here](crate::KvCache::count_by), each of which
    /// holds `places`. Kernels find them from then on, also those that were recorded: no key or value moves.
    ///
    /// `false`, and nothing is done, for another number of sequences, and where they did not move before the counter
    /// was made: then kernels do not look for where they are.
    ///
    /// # Panics
    ///
    /// If a row is named that is not held, as slice indexing does.
    pub fn move_rows(&self, rows: &[usize], places: usize) -> bool {
        #[cfg(feature = "gpu")]
        return self.inner.move_rows(rows, places);
        #[cfg(not(feature = "gpu"))]
        {
            let _ = (rows, places);
            match self.never {}
        }
    }

    /// Counts one more: what a step begins with.
    pub fn add_one(&self) {
        #[cfg(feature = "gpu")]
        self.inner.add_one();
        #[cfg(not(feature = "gpu"))]
        match self.never {}
    }

    /// Whether every kernel so far read its number of places here, and was told none that would be another
    /// next time.
    pub fn is_read(&self) -> bool {
        #[cfg(feature = "gpu")]
        return self.inner.is_read();
        #[cfg(not(feature = "gpu"))]
        match self.never {}
    }
}
