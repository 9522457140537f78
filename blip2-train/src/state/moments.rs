//! The optimizer's state, as tensors in a file.

use std::collections::BTreeMap;

use burn::{
    optim::{AdamWState, AdaptiveMomentumState},
    tensor::{Device, Tensor, TensorData},
};

use crate::optimizer::AdamW;

/// The optimizer's numbers by name: of each parameter the first moment (`|m`), the second (`|v`), and
/// how many steps it was in (`|t`).
pub(super) fn to_tensors(optimizer: &AdamW) -> BTreeMap<String, TensorData> {
    let mut found = BTreeMap::new();
    for (name, state) in &optimizer.states {
        let AdaptiveMomentumState {
            time,
            moment_1,
            moment_2,
            ..
        } = &state.momentum;
        found.insert(format!("{name}|m"), moment_1.clone().into_data());
        found.insert(format!("{name}|v"), moment_2.clone().into_data());
        // Exact in an `f32` for as long as anyone trains.
        found.insert(
            format!("{name}|t"),
            TensorData::new(vec![*time as f32], [1]),
        );
    }
    found
}

/// The state of each parameter's optimizer, of what [`to_tensors`] gave.
pub(super) fn of_tensors(
    mut moments: BTreeMap<String, TensorData>,
    device: &Device,
) -> BTreeMap<String, AdamWState<1>> {
    let names: Vec<String> = moments
        .keys()
        .filter_map(|key| key.strip_suffix("|t").map(str::to_string))
        .collect();
    let mut states = BTreeMap::new();
    for name in names {
        let mut take = |part: &str| moments.remove(&format!("{name}|{part}"));
        let (Some(m), Some(v), Some(t)) = (take("m"), take("v"), take("t")) else {
            continue;
        };
        let time = t.iter::<f32>().next().unwrap_or(0.0) as usize;
        let momentum = AdaptiveMomentumState {
            time,
            moment_1: Tensor::from_data(m, device),
            moment_2: Tensor::from_data(v, device),
            max_moment_2: None,
        };
        states.insert(name, AdamWState::new(momentum));
    }
    states
}
