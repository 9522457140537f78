//! The optimizer's state, as tensors in a file.

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::Module,
    optim::{AdamWState, AdaptiveMomentumState},
    tensor::{Tensor, TensorData},
};

use crate::{error::TrainError, names::Named, optimizer::AdamW, trained::Trained};

/// The optimizer's numbers by name: of each parameter the first moment (`|m`), the second (`|v`), and
/// how many steps it was in (`|t`).
pub(crate) fn to_tensors(optimizer: &AdamW) -> BTreeMap<String, TensorData> {
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

/// The state of each parameter's optimizer, of what [`to_tensors`] gave after `steps` steps. `path` is
/// what an error names.
pub(crate) fn of_tensors<M: Module>(
    mut moments: BTreeMap<String, TensorData>,
    steps: usize,
    trained: &Trained<M>,
    path: &Path,
) -> Result<BTreeMap<String, AdamWState<1>>, TrainError> {
    let device = trained.device();
    let mut states = BTreeMap::new();
    for Named { name, shape, .. } in trained.parameters() {
        let mut take = |part: &str| moments.remove(&format!("{name}|{part}"));
        let (m, v, t) = match (take("m"), take("v"), take("t")) {
            (Some(m), Some(v), Some(t)) => (m, v, t),
            // No step has moved it.
            (None, None, None) => continue,
            _ => {
                let reason = format!("it has not all moments of `{name}`");
                return Err(TrainError::state(path, reason));
            }
        };
        let count: usize = shape.iter().product();
        if [&m, &v].iter().any(|moment| **moment.shape() != [count]) {
            let reason = format!("the moments of `{name}` are not of its {count} numbers");
            return Err(TrainError::state(path, reason));
        }
        let time = t.iter::<f32>().next().unwrap_or(f32::NAN);
        // No other number can be counted on from: the bias correction would divide by zero.
        if time.fract() != 0.0 || !(1.0..=steps as f32).contains(&time) {
            let reason = format!("`{name}` was in {time} of {steps} steps");
            return Err(TrainError::state(path, reason));
        }
        let momentum = AdaptiveMomentumState {
            time: time as usize,
            moment_1: Tensor::from_data(m, device),
            moment_2: Tensor::from_data(v, device),
            max_moment_2: None,
        };
        states.insert(name.clone(), AdamWState::new(momentum));
    }
    match moments.keys().next() {
        None => Ok(states),
        Some(other) => {
            let reason = format!("it has `{other}`, which is of nothing that is trained");
            Err(TrainError::state(path, reason))
        }
    }
}
