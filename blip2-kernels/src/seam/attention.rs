//! What attention is computed of.

use burn::tensor::Tensor;

#[cfg(feature = "gpu")]
use crate::gpu::cache::DeviceCache;
#[cfg(feature = "flex")]
use crate::kernel::cache::SharedCache;

/// `softmax(q · kᵀ · scale + bias) · v` (Vaswani et al., 2017, section 3.2.1), described; computed by
/// [`forward`](Self::forward).
///
/// `scale` multiplies the scores, which is one rounding less than multiplying the queries.
///
/// ```
/// use blip2_kernels::{DotProductAttention, causal_bias};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let x = Tensor::<4>::ones([2, 3, 5, 8], &device); // [batch, heads, seq, head_dim]
/// let attended = DotProductAttention::new(x.clone(), x.clone(), x, 8f64.sqrt().recip())
///     .with_bias(causal_bias(5, 5, &device))
///     .with_map(true)
///     .forward();
/// assert_eq!(attended.output.dims(), [2, 3, 5, 8]);
/// assert_eq!(attended.map.map(|map| map.dims()), Some([2, 3, 5, 5]));
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is computed before `forward`"]
pub struct DotProductAttention<'a> {
    pub(crate) operands: Operands<'a>,
    /// Rows of queries behind those, each part with a number of keys of its own.
    pub(crate) behind: Vec<Operands<'a>>,
    pub(crate) scale: f64,
    pub(crate) bias: Option<Tensor<4>>,
    /// Whether queries see no keys behind them.
    pub(crate) causal: bool,
    pub(crate) rounding: Rounding,
    pub(crate) keeps_map: bool,
}

/// Where queries, keys and values are.
#[derive(Debug, Clone)]
pub(crate) enum Operands<'a> {
    /// A row of keys and values for each row of queries.
    Apart {
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
    },
    /// Row `i` of the queries attends to row `sources[i]` of keys and values.
    Sources {
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        sources: &'a [usize],
    },
    /// The heads of queries, keys and values follow one another.
    Joint(Tensor<4>),
    /// Keys and values that the kernels hold.
    #[cfg(feature = "flex")]
    Shared {
        q: Tensor<4>,
        cache: &'a SharedCache,
    },
    /// Keys and values in a device's memory.
    #[cfg(feature = "gpu")]
    OnDevice {
        q: Tensor<4>,
        cache: &'a DeviceCache,
    },
    /// Queries that have nothing to attend to yet.
    Nothing { q: Tensor<4> },
}

impl Operands<'_> {
    /// What has a row and a position for each query.
    pub(crate) fn queries(&self) -> &Tensor<4> {
        match self {
            Self::Apart { q, .. } | Self::Sources { q, .. } | Self::Nothing { q } => q,
            #[cfg(feature = "flex")]
            Self::Shared { q, .. } => q,
            #[cfg(feature = "gpu")]
            Self::OnDevice { q, .. } => q,
            Self::Joint(qkv) => qkv,
        }
    }

    /// The number of rows of queries.
    pub(crate) fn rows(&self) -> usize {
        self.queries().dims()[0]
    }

    /// The number of keys that each row attends to.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::Apart { k, .. } | Self::Sources { k, .. } => k.dims()[2],
            #[cfg(feature = "flex")]
            Self::Shared { cache, .. } => cache.len(),
            #[cfg(feature = "gpu")]
            Self::OnDevice { cache, .. } => cache.len(),
            Self::Joint(qkv) => qkv.dims()[2],
            Self::Nothing { .. } => 0,
        }
    }
}

/// What may happen to the operands of attention's two products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rounding {
    /// Nothing: they are multiplied in `f32`.
    #[default]
    None,
    /// They are rounded to brain floats where that is faster: for layers whose [matrices round theirs
    /// too](crate::Linear::rounding).
    Bf16,
}

/// What an [`DotProductAttention`] gives.
#[derive(Debug, Clone)]
pub struct Attended {
    /// The weighted values, `[batch, heads, queries, head_dim]`.
    pub output: Tensor<4>,
    /// The attention map, `[batch, heads, queries, keys]`, if it was asked for.
    pub map: Option<Tensor<4>>,
}

impl<'a> DotProductAttention<'a> {
    /// Attention of queries to keys and values.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, heads, queries, head_dim]`
    /// - k, v: `[batch, groups, keys, head_dim]`, where a head of keys serves `heads / groups` heads of
    ///   queries that follow each other: as many groups as heads but in grouped-query attention
    ///   (Ainslie et al., 2023)
    pub fn new(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, scale: f64) -> Self {
        Self::of(Operands::Apart { q, k, v }, scale)
    }

    /// Attention where several rows of queries share keys and values: row `i` attends to row
    /// `sources[i]`.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, heads, queries, head_dim]`, with a source for each row
    /// - k, v: `[sources, groups, keys, head_dim]`
    ///
    /// # Panics
    ///
    /// If there is no source for each row of queries, or no keys for a source.
    pub fn to_sources(
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        sources: &'a [usize],
        scale: f64,
    ) -> Self {
        let ([rows, ..], [held, ..]) = (q.dims(), k.dims());
        assert!(
            sources.len() == rows && sources.iter().all(|&source| source < held),
            "{rows} rows of queries attend to {sources:?} of {held}"
        );
        Self::of(Operands::Sources { q, k, v, sources }, scale)
    }

    /// Attention of queries, keys and values whose heads follow one another, as a layer gives them
    /// that computes all three at once.
    ///
    /// # Shapes
    ///
    /// - qkv: `[batch, 3 · heads, seq, head_dim]`
    pub fn joint(qkv: Tensor<4>, scale: f64) -> Self {
        Self::of(Operands::Joint(qkv), scale)
    }

    pub(crate) fn of(operands: Operands<'a>, scale: f64) -> Self {
        Self {
            operands,
            behind: Vec::new(),
            scale,
            bias: None,
            causal: false,
            rounding: Rounding::default(),
            keeps_map: false,
        }
    }

    /// Adds a bias to the scaled scores: masks, and relative positions.
    ///
    /// Of sequences that [joined](crate::KvCache::join) a cache, `keys` is the longest's number; a shorter
    /// one's are the last columns.
    ///
    /// # Shapes
    ///
    /// - bias: `[batch or 1, heads or 1, queries or 1, keys]`
    pub fn with_bias(mut self, bias: impl Into<Option<Tensor<4>>>) -> Self {
        self.bias = bias.into();
        self
    }

    /// Whether no query sees what is behind it, as with [`causal_bias`](crate::causal_bias): the queries are
    /// the last of the keys. Kernels of processors hold no such bias, which grows with the square of the length,
    /// and compute nothing of what is hidden. Default: no.
    ///
    /// ```
    /// use blip2_kernels::{DotProductAttention, causal_bias};
    /// use burn::tensor::{Device, Distribution, Tensor};
    ///
    /// let device = Device::flex();
    /// let x = Tensor::<4>::random([1, 2, 70, 64], Distribution::Default, &device);
    /// let attention = || DotProductAttention::new(x.clone(), x.clone(), x.clone(), 0.125);
    /// let causal = attention().with_causal(true).forward().output;
    /// let biased = attention().with_bias(causal_bias(70, 70, &device)).forward().output;
    /// causal.into_data().assert_eq(&biased.into_data(), true);
    /// ```
    pub fn with_causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// What may happen to the operands. Default: nothing.
    pub fn with_rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// Whether the attention map is kept, which grows with the square of the length and which the
    /// kernels otherwise never hold as a whole. Where gradients are recorded, the kept map is a leaf of
    /// the graph: its `grad` is the gradient of the map. Default: no.
    pub fn with_map(mut self, keep: bool) -> Self {
        self.keeps_map = keep;
        self
    }
}
