//! The shapes in which checkpoints store matrices.

/// The outputs and inputs of a matrix that is stored in this shape: `[out, in]`, or `[out, in, 1]`, the
/// kernel of a pointwise convolution.
///
/// ```
/// use blip2_kernels::matrix_shape;
///
/// assert_eq!(matrix_shape(&[96, 24]), Some([96, 24]));
/// assert_eq!(matrix_shape(&[96, 24, 1]), Some([96, 24]));
/// assert_eq!(matrix_shape(&[96, 24, 5]), None);
/// ```
pub fn matrix_shape(stored: &[usize]) -> Option<[usize; 2]> {
    match *stored {
        [outputs, inputs] | [outputs, inputs, 1] => Some([outputs, inputs]),
        _ => None,
    }
}
