//! What norms add to a variance.

/// The epsilon of all norms: PyTorch's default, which no configuration changes.
pub(crate) const EPSILON: f64 = 1e-5;
