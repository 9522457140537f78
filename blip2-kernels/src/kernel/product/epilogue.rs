//! What happens to the sums of a tile: widening, bias, activation, residual, and their way into the
//! result.

use super::{
    input::Range,
    output::{Output, Sink},
};
use crate::kernel::{
    activation::Activation,
    isa::{
        tile_kind::{Aligned, PANEL, TileKind},
        vectorized,
    },
};

/// What follows a product: `residual + activation(x · Wᵀ + bias)`.
///
/// Its operands are tensors in a layer and slices in a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue<B, R> {
    /// `[outputs]`
    pub(crate) bias: Option<B>,
    pub(crate) activation: Option<Activation>,
    /// `[..., outputs]`
    pub(crate) residual: Option<R>,
}

/// An [`Epilogue`] of slices.
pub(crate) type SliceEpilogue<'a> = Epilogue<&'a [f32], &'a [f32]>;

impl<B, R> Default for Epilogue<B, R> {
    fn default() -> Self {
        Self {
            bias: None,
            activation: None,
            residual: None,
        }
    }
}

/// All that follows a tile's sums.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    pub(super) kind: TileKind,
    /// Of integers: how to widen each row.
    pub(super) ranges: &'a [Range],
    /// What stands behind the steps of the panel.
    pub(super) behind: &'a [u8],
    /// The sums of earlier blocks, where there are any: a panel's part of some rows.
    pub(super) earlier: Option<&'a Output<'a>>,
    /// Of the last block: what follows the product.
    pub(super) last: Option<Last<'a>>,
    /// Where the results go: a panel's part of some rows.
    pub(super) y: Sink<'a>,
    pub(super) row: usize,
    pub(super) output: usize,
    pub(super) width: usize,
    /// All outputs.
    pub(super) outputs: usize,
}

/// What follows a product, for the outputs of a panel.
#[derive(Clone, Copy)]
pub(super) struct Last<'a> {
    pub(super) bias: Option<&'a [f32]>,
    /// Where to put what the activation finds.
    pub(super) kept: Option<&'a Output<'a>>,
    pub(super) activation: Option<Activation>,
    /// Of all rows and outputs.
    pub(super) residual: Option<&'a [f32]>,
}

vectorized! {
    /// Finishes the rows of a tile, each in registers from its sums to the result: copies between
    /// steps took a tenth of an encoder's product.
    pub(super) fn finish(job: Finish<'_>, sums: &[[f32; PANEL]]) {
        let scales = Scales::new(job.kind, job.behind);
        let (bias, kept, activation, residual) = match job.last {
            Some(last) => (last.bias, last.kept, last.activation, last.residual),
            None => (None, None, None, None),
        };
        let bias = bias.map(padded);
        for (n, sums) in sums.iter().enumerate() {
            let mut values = Aligned(*sums);
            scales.widen(job.kind, &mut values, job.ranges[n]);
            if let Some(earlier) = job.earlier {
                add(&mut values, &earlier.load(job.row + n, job.output, job.width));
            }
            if let Some(bias) = &bias {
                add(&mut values, bias);
            }
            if let Some(kept) = kept {
                kept.store(job.row + n, job.output, job.width, &values);
            }
            if let Some(activation) = activation {
                activate(job.kind, activation, &mut values);
            }
            if let Some(residual) = residual {
                let start = (job.row + n) * job.outputs + job.output;
                add(&mut values, &padded(&residual[start..start + job.width]));
            }
            job.y.store(job.row + n, job.output, job.width, &values);
        }
    }
}

#[cfg(feature = "autodiff")]
vectorized! {
    /// Finishes whole rows in place, and puts aside what the activation finds.
    pub(super) fn finish_rows(
        values: &mut [f32],
        kept: Option<&mut [f32]>,
        epilogue: &SliceEpilogue<'_>,
    ) {
        let SliceEpilogue { bias, activation, residual } = *epilogue;
        if let Some(bias) = bias {
            for row in values.chunks_exact_mut(bias.len().max(1)) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        }
        if let Some(kept) = kept {
            kept.copy_from_slice(values);
        }
        if let Some(activation) = activation {
            let (whole, rest) = values.as_chunks_mut::<PANEL>();
            for values in whole {
                activate(TileKind::F32, activation, values);
            }
            let mut last = padded(rest);
            activate(TileKind::F32, activation, &mut last);
            rest.copy_from_slice(&last[..rest.len()]);
        }
        if let Some(residual) = residual {
            for (value, residual) in values.iter_mut().zip(residual) {
                *value += residual;
            }
        }
    }
}

/// What widens the sums of integers.
struct Scales {
    scales: Aligned<[f32; PANEL]>,
    totals: Aligned<[u32; PANEL]>,
}

impl Scales {
    #[inline(always)]
    fn new(kind: TileKind, behind: &[u8]) -> Self {
        let (mut scales, mut totals) = (Aligned([0.0; PANEL]), Aligned([0; PANEL]));
        let words = behind.as_chunks::<4>().0;
        let totals_at = match kind {
            TileKind::Int8 | TileKind::Int8Signed => {
                for (scale, word) in scales.iter_mut().zip(words) {
                    *scale = f32::from_le_bytes(*word);
                }
                PANEL
            }
            TileKind::Int4 => 0,
            _ => return Self { scales, totals },
        };
        for (total, word) in totals.iter_mut().zip(&words[totals_at..]) {
            *total = u32::from_le_bytes(*word);
        }
        Self { scales, totals }
    }

    #[inline(always)]
    fn widen(&self, kind: TileKind, sums: &mut [f32; PANEL], range: Range) {
        match kind {
            TileKind::Int8 | TileKind::Int8Signed => {
                let scales = self.scales.iter().zip(self.totals.iter());
                for (sum, (scale, &total)) in sums.iter_mut().zip(scales) {
                    let shift = (range.zero as u32).wrapping_mul(total);
                    let integer = sum.to_bits().wrapping_sub(shift) as i32;
                    *sum = integer as f32 * (scale * range.scale);
                }
            }
            TileKind::Int4 => {
                for (sum, &total) in sums.iter_mut().zip(self.totals.iter()) {
                    let shift = range.zero as f32 * f32::from_bits(total);
                    *sum = (*sum - shift) * range.scale;
                }
            }
            _ => {}
        }
    }
}

/// Some values of a panel, with zeros behind them.
#[inline(always)]
fn padded(values: &[f32]) -> Aligned<[f32; PANEL]> {
    match values.try_into() {
        Ok(whole) => Aligned(whole),
        Err(_) => {
            let mut padded = Aligned([0.0; PANEL]);
            padded[..values.len()].copy_from_slice(values);
            padded
        }
    }
}

#[inline(always)]
fn add(sums: &mut [f32; PANEL], other: &[f32; PANEL]) {
    for (sum, other) in sums.iter_mut().zip(other) {
        *sum += other;
    }
}

/// Applies the activation of a layer to its sums, in 64 bits where they were summed so.
#[inline(always)]
fn activate(kind: TileKind, activation: Activation, sums: &mut [f32; PANEL]) {
    match kind {
        TileKind::F32Wide => activation.apply_exactly(sums),
        _ => activation.apply(sums),
    }
}
