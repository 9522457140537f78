//! Who computes, and what each kind of work takes so.

use super::floats;

/// The rows that kernels take through an MLP at a time, and that are summed in 64 bits at a time.
pub(super) const ROWS_AT_ONCE: usize = 1024;

/// The most rows that a GPU multiplies with a matrix as it is held, whatever it has for more.
const ROWS_AS_HELD: usize = 32;

/// The keys of a layer, in bytes.
pub(in crate::memory) struct Keys {
    /// While prompts are read.
    pub(in crate::memory) prefill: u64,
    /// At the last step.
    pub(in crate::memory) decode: u64,
    /// What exists twice while rows change places.
    pub(in crate::memory) moved: u64,
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::memory) enum By {
    /// A processor's kernels, on packed matrices.
    Processor,
    /// A GPU's kernels.
    Gpu {
        /// Whether it multiplies many rows in `f16`.
        halves: bool,
    },
    /// Burn's own operations.
    Burn,
}

/// How products are computed.
#[derive(Debug, Clone, Copy)]
pub(in crate::memory) struct Products {
    pub(in crate::memory) by: By,
    /// Whether there are floats of 64 bits.
    pub(in crate::memory) doubles: bool,
    /// What the largest narrow matrix takes while it is widened for a product, where no kernel
    /// multiplies it as it is held.
    pub(in crate::memory) widened: u64,
    /// The threads that share the work out.
    pub(in crate::memory) threads: usize,
    /// How many rows of pictures go through the image encoder's layers at a time, where not all do.
    pub(in crate::memory) at_once: Option<usize>,
}

impl Products {
    /// Attention's scores, which exist twice while they are scaled or normalised.
    pub(in crate::memory) fn scores(
        self,
        batch: usize,
        heads: usize,
        queries: usize,
        keys: usize,
    ) -> u64 {
        match self.by {
            By::Burn => 2 * floats(&[batch, heads, queries, keys]),
            _ => 0,
        }
    }

    /// Attention of pictures to themselves, with the residual stream, queries, keys and values as one
    /// product, and what is made of them.
    pub(super) fn of_pictures(self, batch: usize, heads: usize, seq: usize, width: usize) -> u64 {
        let hidden = floats(&[batch, seq, width]);
        match self.by {
            By::Processor => {
                // Each thread lays out a head's keys and values for itself, in columns by the 32.
                let depth = (width / heads.max(1)).next_multiple_of(32);
                let at_once = self.threads.min(batch.saturating_mul(heads));
                6 * hidden + floats(&[at_once, 2, seq, depth])
            }
            By::Gpu { .. } => 5 * hidden + self.narrowed(&[batch, seq, width]),
            By::Burn => 7 * hidden + self.scores(batch, heads, seq, seq),
        }
    }

    /// A product's input as `f16`, where it is multiplied so.
    fn narrowed(self, dims: &[usize]) -> u64 {
        match self.by {
            By::Gpu { halves: true } => floats(dims) / 2,
            _ => 0,
        }
    }

    /// What is widened for a product of `rows` rows.
    pub(in crate::memory) fn widened_for(self, rows: usize) -> u64 {
        match self.by {
            By::Gpu { .. } if rows <= ROWS_AS_HELD => 0,
            _ => self.widened,
        }
    }

    /// The keys of a layer, `width` floats for each position: of `batch` prompts of `prompt`
    /// positions, which `rows` rows continue by `later`.
    pub(in crate::memory) fn keys(
        self,
        [batch, rows]: [usize; 2],
        [prompt, later]: [usize; 2],
        width: usize,
    ) -> Keys {
        let whole = |rows| floats(&[rows, prompt.saturating_add(later), width]);
        if self.by == By::Processor {
            // Rows share their prompt, and none is moved; room for later positions comes with them.
            let prompts = floats(&[batch, prompt, width]);
            Keys {
                prefill: prompts,
                decode: prompts + floats(&[rows, later, width]),
                moved: 0,
            }
        } else {
            let moved = match self.by {
                // One layer's keys and values at a time: a prompt's rows become those of its beams, and what is left of
                // a batch, once that is a quarter of it, goes to buffers of its own.
                By::Gpu { .. } if rows > batch => (2 * whole(batch)).max(whole(rows) / 2),
                By::Gpu { .. } => whole(rows) / 2,
                _ => whole(rows),
            };
            Keys {
                prefill: whole(batch),
                decode: whole(rows),
                moved,
            }
        }
    }

    /// An MLP over `rows` rows, `inner` wide inside, with the residual stream.
    pub(in crate::memory) fn mlp(self, rows: usize, hidden: usize, inner: usize) -> u64 {
        let (states, inside) = (floats(&[rows, hidden]), floats(&[rows, inner]));
        match self.by {
            By::Processor => {
                // Input and result of both products of a block of rows, each input as the kernels
                // have it.
                let block = rows.min(ROWS_AT_ONCE);
                3 * states + floats(&[block, hidden]) + 2 * floats(&[block, inner])
            }
            // The input is gone before there is an output.
            By::Gpu { .. } => 2 * states + inside + self.narrowed(&[rows, inner]),
            By::Burn => 2 * states + 2 * inside,
        }
    }

    /// As [`mlp`](Self::mlp), of one whose inside is multiplied by a gate; `kept` insides are there
    /// together where not a GPU's kernels compute.
    pub(super) fn gated(self, rows: usize, [hidden, inner]: [usize; 2], kept: u64) -> u64 {
        let (states, inside) = (floats(&[rows, hidden]), floats(&[rows, inner]));
        match self.by {
            // Both lie in one piece of memory until the MLP is over.
            By::Gpu { .. } => 2 * states + 2 * inside + self.narrowed(&[rows, hidden.max(inner)]),
            _ => 2 * states + kept * inside,
        }
    }

    /// Decoding beside the caches: what is moved while rows change places, and a position of each row.
    pub(in crate::memory) fn step(
        self,
        rows: usize,
        moved: u64,
        [hidden, inner]: [usize; 2],
        vocab: usize,
    ) -> u64 {
        let logits = self.logits(rows, vocab);
        let widened = self.widened_for(rows);
        match self.by {
            By::Gpu { .. } => {
                let states = 2 * floats(&[rows, hidden]);
                let layer = states + 2 * floats(&[rows, inner]) + widened;
                moved.max(layer).max(states + logits)
            }
            // Its activations are too small to count beside these.
            _ => moved.max(widened) + logits,
        }
    }

    /// The logits of a step: on the device, on the host, and processed, as far as they are in the
    /// memory that is counted.
    pub(in crate::memory) fn logits(self, rows: usize, vocab: usize) -> u64 {
        let logits = floats(&[rows, vocab]);
        match self.by {
            By::Gpu { .. } => logits,
            _ => 3 * logits,
        }
    }

    /// Whether a GPU's kernels compute.
    pub(in crate::memory) fn by_gpu(self) -> bool {
        matches!(self.by, By::Gpu { .. })
    }
}
