//! What a tensor is for.

/// What a tensor is for, which decides the format it is held in.
///
/// ```
/// use blip2_kernels::Role;
///
/// assert!(Role::Matrix.follows_precision()); // int4, say
/// assert!(!Role::Scale.follows_precision()); // f32 whatever was asked for
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The matrix of a linear layer, `[out, in]`; held in the asked [`Precision`](crate::Precision).
    Matrix,
    /// The matrix of an output head, or a table that is one too, `[vocabulary, in]`; held in the
    /// asked [`Precision`](crate::Precision), but see [`for_head`](crate::Precision::for_head).
    Head,
    /// A table of vectors that are looked up by row; held in the asked [`Precision`](crate::Precision).
    Embedding,
    /// A matrix or table that is computed with directly (query tokens, positions); held in `f32`.
    Dense,
    /// Biases and norm offsets; held in `f32`.
    Bias,
    /// Norm scales; held in `f32`.
    Scale,
}

impl Role {
    /// Whether the tensor is held in the asked precision rather than always in `f32`.
    pub fn follows_precision(self) -> bool {
        matches!(self, Self::Matrix | Self::Head | Self::Embedding)
    }
}
