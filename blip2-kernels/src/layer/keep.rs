//! What a forward keeps of its layers: hidden states and attention maps.

use burn::tensor::Tensor;

/// What a forward is to keep of its layers, beside its result: the reference's
/// `output_hidden_states` and `output_attentions`.
///
/// ```
/// use blip2_kernels::Keep;
///
/// assert!(!Keep::NOTHING.attentions); // the usual; an attention map costs a slower attention
/// assert!(Keep::ALL.hidden_states && Keep::ALL.attentions);
/// assert_eq!(Keep::HIDDEN_STATES.with_attentions(), Keep::ALL);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Keep {
    /// The hidden states of every layer (`output_hidden_states`).
    pub hidden_states: bool,
    /// The attention maps of every layer (`output_attentions`), which grow with the square of the
    /// length.
    pub attentions: bool,
}

impl Keep {
    /// Nothing, which is the default.
    pub const NOTHING: Self = Self {
        hidden_states: false,
        attentions: false,
    };

    /// Hidden states alone.
    pub const HIDDEN_STATES: Self = Self::NOTHING.with_hidden_states();

    /// Attention maps alone.
    pub const ATTENTIONS: Self = Self::NOTHING.with_attentions();

    /// Everything.
    pub const ALL: Self = Self::HIDDEN_STATES.with_attentions();

    /// The same, and hidden states.
    #[must_use]
    pub const fn with_hidden_states(self) -> Self {
        Self {
            hidden_states: true,
            ..self
        }
    }

    /// The same, and attention maps.
    #[must_use]
    pub const fn with_attentions(self) -> Self {
        Self {
            attentions: true,
            ..self
        }
    }
}

/// Collects what a [`Keep`] asks for while a model runs.
///
/// A model offers what it has; the collector decides whether to hold it. What it does not hold is
/// freed as early as without it.
///
/// ```
/// use blip2_kernels::{Keep, Kept};
/// use burn::tensor::{Device, Tensor};
///
/// let mut kept = Kept::new(Keep::HIDDEN_STATES);
/// let mut x = Tensor::<3>::ones([1, 5, 16], &Device::flex());
/// for _layer in 0..2 {
///     kept.hidden(&x); // offered, whether anybody wants it or not
///     x = x * 2.0;
/// }
/// assert_eq!(kept.hidden_states.len(), 2);
/// assert!(!kept.wants_maps()); // attention may be fused
/// ```
#[derive(Debug, Default)]
pub struct Kept {
    keep: Keep,
    /// What was offered as [`hidden`](Self::hidden), in order.
    pub hidden_states: Vec<Tensor<3>>,
    /// The maps of self-attention, one for each layer.
    pub attentions: Vec<Tensor<4>>,
    /// The maps of cross-attention, one for each layer that was asked; `None` of a layer that has
    /// no cross-attention.
    pub cross_attentions: Vec<Option<Tensor<4>>>,
}

impl Kept {
    /// Collects what `keep` asks for; [`Kept::default`] collects nothing.
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// What is asked for.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// Whether attention maps are to be computed at all: kernels of fused attention have none.
    pub fn wants_maps(&self) -> bool {
        self.keep.attentions
    }

    /// Whether nothing is kept at all, so that a layer may be [recomputed](crate::recompute) in the
    /// backward pass: a second run would keep everything twice.
    pub fn is_idle(&self) -> bool {
        self.keep == Keep::NOTHING
    }

    /// What meets `states`, recorded as they are where maps are kept: so every layer's map is a leaf of
    /// the graph, those too that are made before the two have met.
    pub fn beside(&self, x: Tensor<3>, states: &Tensor<3>) -> Tensor<3> {
        match self.wants_maps() && states.is_autodiff() {
            true => x.autodiff(),
            false => x,
        }
    }

    /// Offers hidden states.
    pub fn hidden(&mut self, hidden_states: &Tensor<3>) {
        if self.keep.hidden_states {
            self.hidden_states.push(hidden_states.clone());
        }
    }

    /// Offers a map of self-attention.
    pub fn attention(&mut self, map: Option<Tensor<4>>) {
        if self.keep.attentions {
            self.attentions.extend(map);
        }
    }

    /// Offers a layer's map of cross-attention, `None` if it has no cross-attention.
    pub fn cross_attention(&mut self, map: Option<Tensor<4>>) {
        if self.keep.attentions {
            self.cross_attentions.push(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn only_what_is_asked_for_is_held() {
        let device = Device::flex();
        let hidden = Tensor::<3>::zeros([1, 2, 3], &device);
        let map = Tensor::<4>::zeros([1, 1, 2, 2], &device);
        for (keep, states, maps) in [
            (Keep::NOTHING, 0, 0),
            (Keep::HIDDEN_STATES, 1, 0),
            (Keep::ATTENTIONS, 0, 1),
            (Keep::ALL, 1, 1),
        ] {
            let mut kept = Kept::new(keep);
            kept.hidden(&hidden);
            kept.attention(Some(map.clone()));
            kept.cross_attention(None);
            assert_eq!(kept.hidden_states.len(), states, "{keep:?}");
            assert_eq!(kept.attentions.len(), maps, "{keep:?}");
            assert_eq!(kept.cross_attentions.len(), maps, "{keep:?}");
            assert_eq!(kept.is_idle(), keep == Keep::default());
            assert_eq!(kept.wants_maps(), maps > 0);
        }
    }
}
