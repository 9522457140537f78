//! Launches that a device is told once and does again.
//!
//! A launch costs its processor tens of microseconds: who computes, where operands lie, what the kernel is
//! told of their shapes. Of work that is repeated, none of that changes but the numbers. It is recorded
//! while it is described (CubeCL's graphs), against the very buffers that it reads and writes, and done
//! again with other numbers in those.

#![allow(unsafe_code)] // launches of kernels

use burn::tensor::{DType, Tensor};
use burn_cubecl::{
    cubecl::{
        self,
        client::{Client, Graph},
        prelude::*,
    },
    tensor::CubeTensor,
};

use super::{
    count::{self, Made},
    tensors::{self, UNITS, buffer, elements, empty, lift, lower},
};

#[cube(launch_unchecked)]
fn copy(from: &[f32], to: &mut [f32], len: usize) {
    if ABSOLUTE_POS < len {
        to[ABSOLUTE_POS] = from[ABSOLUTE_POS];
    }
}

/// Copies numbers into another tensor of as many.
fn copy_into(from: &CubeTensor, to: &CubeTensor) {
    let len = elements(from).min(elements(to));
    count::moves(2 * 4 * len);
    // SAFETY: a unit reads a number of one tensor and writes it to the same place of the other, and
    // both have that many.
    unsafe {
        copy::launch_unchecked(
            &to.client,
            tensors::cubes(len.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            buffer(from, elements(from)),
            buffer(to, elements(to)),
            len,
        );
    }
}

/// The same numbers in a buffer of their own.
fn copied(tensor: &CubeTensor) -> CubeTensor {
    let shape: [usize; 1] = [elements(tensor)];
    let mut copy = empty(tensor, shape, DType::F32);
    copy.meta = tensor.meta.clone();
    copy_into(tensor, &copy);
    copy
}

/// Work that was recorded.
pub(crate) struct Replay {
    /// Contiguous; where the work reads what it is given.
    inputs: Vec<CubeTensor>,
    /// Contiguous; where it writes its result.
    output: CubeTensor,
    graph: Graph,
    made: Made,
}

/// Work that is to be recorded: its device is told to keep what the work takes of its memory as it is. Then
/// the work is done once, and once more to be recorded, when it may take nothing but what it took before.
pub(crate) struct Rehearsal {
    inputs: Vec<CubeTensor>,
    client: Client,
    stage: Stage,
}

/// What a device's stream is told of a recording.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Prepared,
    Over,
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        // Also where the work panicked: else the stream would never take launches again.
        if self.stage == Stage::Prepared {
            drop(self.on_stream(|| self.client.stop_capture()));
        }
    }
}

impl Rehearsal {
    /// Begins; `None` where nothing can be recorded.
    pub(crate) fn new<const I: usize>(inputs: &[Tensor<I>]) -> Option<Self> {
        let own = |input| lower(input).map(|input| copied(&input));
        let inputs = inputs.iter().map(own).collect::<Option<Vec<_>>>()?;
        let client = inputs.first()?.client.clone();
        client.graph_prepare().ok()?;
        Some(Self {
            inputs,
            client,
            stage: Stage::Prepared,
        })
    }

    /// What a device's stream is told is in order with what it alone is told.
    fn on_stream<T>(&self, run: impl FnOnce() -> T) -> T {
        self.inputs[0].handle.stream.executes(run)
    }

    /// What the work is to read.
    pub(crate) fn inputs<const I: usize>(&self) -> Vec<Tensor<I>> {
        self.inputs.iter().cloned().map(lift).collect()
    }

    /// Records what `work` launches, of which nothing is done. `None` where that cannot be, and where `work`
    /// has no result.
    pub(crate) fn record<const I: usize, const O: usize>(
        mut self,
        work: impl FnOnce(Vec<Tensor<I>>) -> Option<Tensor<O>>,
    ) -> Option<Replay> {
        let recorded = self.on_stream(|| {
            self.client.start_capture().ok()?;
            let counting = count::Counting::new();
            let output = work(self.inputs()).as_ref().and_then(lower);
            Some((output, counting.end(), self.client.stop_capture()))
        });
        let (output, made, graph) = recorded?;
        self.stage = Stage::Over;
        Some(Replay {
            output: output?,
            graph: graph.ok()?,
            made,
            inputs: std::mem::take(&mut self.inputs),
        })
    }
}

impl Replay {
    /// Does the work with other inputs of the same shapes, in whatever thread; `None` for other shapes, and
    /// where the device refuses.
    pub(crate) fn run<const I: usize, const O: usize>(
        &mut self,
        inputs: &[Tensor<I>],
    ) -> Option<Tensor<O>> {
        let alike = |(held, new): (&CubeTensor, &Tensor<I>)| {
            held.meta.shape().as_slice() == new.dims().as_slice()
        };
        if inputs.len() != self.inputs.len() || !self.inputs.iter().zip(inputs).all(alike) {
            return None;
        }
        self.output.handle.stream.executes(|| {
            for (held, new) in self.inputs.iter().zip(inputs) {
                copy_into(&lower(new)?, held);
            }
            // SAFETY: the graph keeps the memory that its launches were given from being moved or given
            // to anybody else; inputs and output are this value's own, which is borrowed alone, so that
            // nobody else reads or writes them meanwhile; and all that touches them is told to the
            // stream that it was recorded on.
            unsafe { self.graph.replay() }.ok()?;
            self.made.again();
            Some(lift(copied(&self.output)))
        })
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsal").finish_non_exhaustive()
    }
}
