//! Numbers of the file that make sense.

use std::fmt::Display;

use crate::Failure;

/// Refuses a number by its key, unless it is `right`.
pub(super) fn within(
    key: &str,
    value: impl Display,
    right: bool,
    range: &str,
) -> Result<(), Failure> {
    match right {
        true => Ok(()),
        false => Err(Failure::Work(format!("{key} = {value} must be {range}"))),
    }
}

pub(super) fn at_least_one(key: &str, value: usize) -> Result<(), Failure> {
    within(key, value, value > 0, "at least 1")
}

/// Refuses a number outside `0..end`.
pub(super) fn below(key: &str, value: f64, end: f64) -> Result<(), Failure> {
    let range = format!("at least 0 and below {end}");
    within(key, value, (0.0..end).contains(&value), &range)
}
