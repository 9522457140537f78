//! Biases that hide positions from attention.

use burn::tensor::{Bool, Device, Tensor};

/// What is added to the score of a position that must not be attended to.
///
/// Finite, so that a row in which everything is masked (a padding position) gives an even
/// distribution rather than NaN, which would spread through the values of later layers; and so
/// far below any score that its weight is exactly zero beside an unmasked one.
pub const MASKED: f32 = -1e30;

/// The bias that hides padding: 0 where `attend` is true and [`MASKED`] elsewhere.
///
/// # Shapes
///
/// - attend: `[batch, keys]`
/// - output: `[batch, 1, 1, keys]`
///
/// ```
/// use blip2_kernels::{MASKED, padding_bias};
/// use burn::tensor::{Bool, Device, Tensor, TensorData};
///
/// let attend = TensorData::from([[true, true, false]]);
/// let bias = padding_bias(Tensor::<2, Bool>::from_data(attend, &Device::flex()));
/// assert_eq!(bias.into_data(), TensorData::from([[[[0.0, 0.0, MASKED]]]]));
/// ```
pub fn padding_bias(attend: Tensor<2, Bool>) -> Tensor<4> {
    let [batch, keys] = attend.dims();
    let zeros = Tensor::<2>::zeros([batch, keys], &attend.device());
    zeros
        .mask_fill(attend.bool_not(), MASKED)
        .reshape([batch, 1, 1, keys])
}

/// The bias that hides the future from `queries` positions which are the last of `keys`: query
/// `i` sees keys up to `keys − queries + i`.
///
/// # Shapes
///
/// - output: `[1, 1, queries, keys]`
///
/// ```
/// use blip2_kernels::{MASKED, causal_bias};
/// use burn::tensor::{Device, TensorData};
///
/// // Two new positions after one that is cached.
/// let bias = causal_bias(2, 3, &Device::flex());
/// assert_eq!(bias.into_data(), TensorData::from([[[[0.0, 0.0, MASKED], [0.0, 0.0, 0.0]]]]));
/// ```
pub fn causal_bias(queries: usize, keys: usize, device: &Device) -> Tensor<4> {
    let past = keys.saturating_sub(queries);
    let hidden = Tensor::<2, Bool>::tril_mask([queries, keys], past as i64, device);
    Tensor::<2>::zeros([queries, keys], device)
        .mask_fill(hidden, MASKED)
        .reshape([1, 1, queries, keys])
}
