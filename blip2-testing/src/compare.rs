//! How far what was found is from what was expected.

use std::fmt::Display;

use burn::tensor::Tensor;

/// The elements of a tensor, row by row.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// The largest absolute value.
pub fn largest<const D: usize>(x: Tensor<D>) -> f32 {
    x.abs().max().into_scalar()
}

/// The largest absolute difference of two tensors of one shape.
#[track_caller]
pub fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    largest(a - b)
}

/// The largest absolute difference of two lists, and the largest expected value.
#[track_caller]
pub fn largest_difference(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    (
        pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs())),
        largest,
    )
}

/// Fails where two lists of numbers differ by more than `tolerance`; returns by how much they do.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> f32 {
    assert_eq!(found.len(), expected.len(), "{what}");
    let pairs = found.iter().zip(expected);
    let mut worst = 0.0;
    for (place, (found, expected)) in pairs.enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= tolerance,
            "{what}: {found} instead of {expected} at {place}"
        );
        worst = f32::max(worst, difference);
    }
    worst
}

/// Fails unless there is an error whose message holds every one of `parts`.
#[track_caller]
pub fn assert_says<T, E: Display>(result: Result<T, E>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("there should be an error that says {parts:?}");
    };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}
