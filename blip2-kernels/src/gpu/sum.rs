//! Sums over the units of a cube, through shared memory: every device has that, and a tree of halves
//! adds in one order whatever the device's planes are.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Adds `slices` runs of `width` numbers, which the units have just written, into the first run.
/// `slices` is a power of two.
#[cube]
pub(super) fn fold(
    shared: &mut Shared<[f32]>,
    width: usize,
    #[comptime] slices: usize,
    #[comptime] units: usize,
) {
    let mut half = comptime!(slices / 2).runtime();
    while half > 0 {
        sync_cube();
        let mut unit = UNIT_POS as usize;
        while unit < half * width {
            shared[unit] += shared[unit + half * width];
            unit += units;
        }
        half /= 2;
    }
    sync_cube();
}

/// As [`fold`], the largest in place of the sum.
#[cube]
pub(super) fn fold_max(
    shared: &mut Shared<[f32]>,
    width: usize,
    #[comptime] slices: usize,
    #[comptime] units: usize,
) {
    let mut half = comptime!(slices / 2).runtime();
    while half > 0 {
        sync_cube();
        let mut unit = UNIT_POS as usize;
        while unit < half * width {
            shared[unit] = max(shared[unit], shared[unit + half * width]);
            unit += units;
        }
        half /= 2;
    }
    sync_cube();
}
