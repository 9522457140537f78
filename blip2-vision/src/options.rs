//! What a forward keeps, and which sizes it takes.

use blip2_kernels::Keep;

/// What a [`forward`](crate::VisionModel::forward) is to keep, and how it treats other sizes.
///
/// ```
/// use blip2_vision::{Keep, VisionOptions};
///
/// let options = VisionOptions::default()
///     .with_keep(Keep::HIDDEN_STATES)
///     .with_interpolate_pos_encoding(true);
/// assert!(!options.keep.attentions);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VisionOptions {
    /// What to keep of every layer. Default: nothing.
    pub keep: Keep,
    /// Accept pictures of other sizes than the configured one, with interpolated positions. They
    /// need not be square, nor multiples of a patch: pixels beyond the last whole one are left out.
    /// Default: they are refused.
    pub interpolate_pos_encoding: bool,
}

impl VisionOptions {
    /// Keeps hidden states or attention maps of every layer.
    #[must_use]
    pub fn with_keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// Accepts pictures of other sizes than the configured one, or refuses them.
    #[must_use]
    pub fn with_interpolate_pos_encoding(self, interpolate_pos_encoding: bool) -> Self {
        Self {
            interpolate_pos_encoding,
            ..self
        }
    }
}
