//! What a device is, and the most that it can do.

use burn::{
    backend::DispatchDevice,
    tensor::{Device, MemoryAccess, ThroughputKey, ThroughputMode},
};
use burn_cubecl::cubecl::{
    client::Client,
    ir::{ElemType, FloatKind},
    throughput::{CmmaDims, ComputeCmmaConfig, select_cmma_tile},
};

use super::{
    product::{self, multiplies_halves},
    tensors,
};

/// As [`crate::device::name`].
pub(crate) fn name(device: &Device) -> Option<String> {
    client(device)?;
    device.identity().map(|identity| identity.name)
}

/// As [`crate::device::largest_buffer`].
pub(crate) fn largest_buffer(device: &Device) -> Option<u64> {
    Some(client(device)?.properties().memory.max_page_size)
}

/// As [`crate::device::memory`].
pub(crate) fn memory(device: &Device) -> Option<u64> {
    client(device)?.properties().memory.max_memory()
}

/// As [`crate::device::has_matrix_units`].
pub(crate) fn has_matrix_units(device: &Device) -> bool {
    client(device).is_some_and(|client| multiplies_halves(&client))
}

/// As [`crate::device::multiplies_as_held`].
pub(crate) fn multiplies_as_held(device: &Device) -> bool {
    client(device).is_some_and(|client| product::multiplies_as_held(&client))
}

/// Bytes a second, read and written, or read alone.
pub(crate) fn bandwidth(device: &Device, access: MemoryAccess) -> Option<f64> {
    client(device)?;
    measured(device, ThroughputMode::memory(access), |value, key| {
        value.bytes_per_s(key)
    })
}

/// As [`crate::device::product_peak`].
pub(crate) fn product_peak(device: &Device, halves: bool) -> Option<f64> {
    let client = client(device)?;
    let [half, single] = [FloatKind::F16, FloatKind::F32].map(ElemType::Float);
    let dtype = if halves { half } else { single };
    let all = (usize::MAX, usize::MAX, usize::MAX);
    let tile = select_cmma_tile(&client, half, half, single, all).filter(|_| halves);
    let mode = match tile {
        Some((m, n, k)) => ThroughputMode::ComputeCmma {
            dtype,
            config: ComputeCmmaConfig {
                accumulator_type: single,
                cmma_dims: CmmaDims {
                    m: m as usize,
                    n: n as usize,
                    k: k as usize,
                },
            },
        },
        None => ThroughputMode::ComputeDirect { dtype },
    };
    measured(device, mode, |value, _| value.ops_per_s())
}

fn measured(
    device: &Device,
    mode: ThroughputMode,
    rate: impl Fn(&burn::tensor::ThroughputValue, &ThroughputKey) -> f64,
) -> Option<f64> {
    let key = ThroughputKey { mode };
    let stat = device.performance_stats(&[key]).pop()?;
    stat.value.ok().map(|value| rate(&value, &key))
}

fn client(device: &Device) -> Option<Client> {
    match device.as_dispatch() {
        DispatchDevice::Cube(device_of_burn) if tensors::serves(device) => {
            Some(device_of_burn.client())
        }
        _ => None,
    }
}
