//! Whether a layer has a bias.

/// Whether a linear layer adds a bias to its product.
///
/// ```
/// use blip2_kernels::Bias;
///
/// let attention_bias = false; // of a configuration
/// assert_eq!(Bias::when(attention_bias), Bias::Without);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bias {
    /// It does: the checkpoint has a `bias` beside the `weight`.
    With,
    /// It does not.
    Without,
}

impl Bias {
    /// As a configuration's switch says, such as `attention_bias`.
    pub fn when(switch: bool) -> Self {
        if switch { Self::With } else { Self::Without }
    }

    /// Whether there is one.
    pub fn is_there(self) -> bool {
        self == Self::With
    }
}
