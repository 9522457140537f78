//! What a forward keeps of its layers.

use burn::tensor::Tensor;

/// What a forward is to keep of its layers on the way.
///
/// `true` stands for everything and `false` for nothing wherever options are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LmOptions {
    /// Keep the hidden states of every layer.
    pub output_hidden_states: bool,
    /// Keep the attention maps of every layer, which grow with the square of the length.
    pub output_attentions: bool,
}

impl From<bool> for LmOptions {
    fn from(everything: bool) -> Self {
        Self {
            output_hidden_states: everything,
            output_attentions: everything,
        }
    }
}

/// What has been kept so far.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    options: LmOptions,
    pub(crate) hidden_states: Vec<Tensor<3>>,
    pub(crate) attentions: Vec<Tensor<4>>,
    pub(crate) cross_attentions: Vec<Tensor<4>>,
}

impl Kept {
    /// Keeps what `options` ask for; [`Kept::default`] keeps nothing.
    pub(crate) fn new(options: LmOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Whether attention maps are to be computed at all.
    pub(crate) fn wants_maps(&self) -> bool {
        self.options.output_attentions
    }

    /// Whether nothing is kept at all.
    pub(crate) fn is_idle(&self) -> bool {
        !self.options.output_attentions && !self.options.output_hidden_states
    }

    /// Offers hidden states.
    pub(crate) fn hidden(&mut self, hidden_states: &Tensor<3>) {
        if self.options.output_hidden_states {
            self.hidden_states.push(hidden_states.clone());
        }
    }
}
