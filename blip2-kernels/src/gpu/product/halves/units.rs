//! A device's matrix units, and what takes their place where they are emulated.

use std::sync::atomic::{AtomicBool, Ordering};

use burn_cubecl::cubecl::{
    client::Client,
    features::MmaConfig,
    ir::{ElemType, FloatKind},
};

use super::{PLANE, SIDE};

/// Who multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum MatrixUnits {
    /// The device's own.
    Own,
    /// Nobody: the same numbers are multiplied one by one, to see that they are the right ones.
    Emulated,
}

/// Whether units are emulated where there are none.
static EMULATED: AtomicBool = AtomicBool::new(false);

/// As [`crate::device::emulate_matrix_units`].
pub(crate) fn emulate(emulated: bool) {
    EMULATED.store(emulated, Ordering::Relaxed);
}

/// The device's matrix units, if the kernel knows them: squares of 16 that planes of 32 share.
pub(in super::super) fn units(client: &Client) -> Option<MatrixUnits> {
    let properties = client.properties();
    let hardware = &properties.hardware;
    let planes = [hardware.plane_size_min, hardware.plane_size_max] == [PLANE as u32; 2];
    let [half, single] = [FloatKind::F16, FloatKind::F32].map(ElemType::Float);
    let squares = |unit: &MmaConfig| {
        let types = unit.a_type == half && unit.b_type == half && unit.cd_type == single;
        types && [unit.m, unit.n, unit.k] == [SIDE as u32; 3]
    };
    if planes && properties.features.matmul.cmma.iter().any(squares) {
        return Some(MatrixUnits::Own);
    }
    let emulated = EMULATED.load(Ordering::Relaxed);
    emulated.then_some(MatrixUnits::Emulated)
}

/// As [`crate::device::multiplies_as_held`].
pub(crate) fn multiplies_as_held(client: &Client) -> bool {
    units(client).is_some()
}
