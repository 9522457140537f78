//! What a forward keeps.

/// What a [`forward`](crate::ConformerEncoder::forward) is to keep of its layers.
///
/// There are no attention maps to keep: attention is within blocks of frames, and the reference has no
/// map of a whole recording either.
///
/// ```
/// use blip2_audio::ConformerOptions;
///
/// let options = ConformerOptions::default().with_hidden_states(true);
/// assert!(options.hidden_states);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConformerOptions {
    /// Keep the hidden states of every layer (`output_hidden_states`). Default: they are dropped.
    pub hidden_states: bool,
}

impl ConformerOptions {
    /// Keeps the hidden states of every layer, or drops them.
    #[must_use]
    pub fn with_hidden_states(self, hidden_states: bool) -> Self {
        Self { hidden_states }
    }
}
