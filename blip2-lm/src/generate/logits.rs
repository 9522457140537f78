//! What a step gives to whoever chooses tokens: all logits, or what a device found among them.

use blip2_kernels::{Likeliest, TopLogits};

use super::GenerateError;
use super::known::Known;

/// Next-token logits of a batch of rows, on the host, row-major `[rows, vocab]`.
///
/// ```
/// use blip2_lm::Logits;
///
/// let mut logits = Logits::new(vec![0.1, 0.7, 0.2, 0.9, 0.0, 0.3], 3)?;
/// assert_eq!((logits.rows(), logits.row(1)), (2, [0.9, 0.0, 0.3].as_slice()));
/// logits.row_mut(0)[1] = f32::NEG_INFINITY; // never token 1
/// assert!(Logits::new(vec![0.0; 5], 3).is_err()); // no whole rows
/// # Ok::<(), blip2_lm::GenerateError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    data: Vec<f32>,
    vocab: usize,
}

impl Logits {
    /// Wraps `data`, laid out as `[rows, vocab]`.
    ///
    /// # Errors
    ///
    /// [`GenerateError::LogitsShape`] if `vocab` is zero or does not divide `data.len()`.
    pub fn new(data: Vec<f32>, vocab: usize) -> Result<Self, GenerateError> {
        if vocab == 0 || !data.len().is_multiple_of(vocab) {
            return Err(GenerateError::LogitsShape {
                values: data.len(),
                vocab,
            });
        }
        Ok(Self { data, vocab })
    }

    /// A row of its own.
    pub(super) fn one(row: &[f32]) -> Self {
        Self {
            data: row.to_vec(),
            vocab: row.len(),
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.data.len() / self.vocab
    }

    /// The number of logits in each row.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The logits of row `i`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`rows`](Self::rows), as slice indexing does.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.vocab..(i + 1) * self.vocab]
    }

    /// The logits of row `i`, to change in place.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`rows`](Self::rows), as slice indexing does.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.vocab..(i + 1) * self.vocab]
    }
}

/// What a step gives to a search or a draw.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scores {
    /// All logits, to search on the host.
    Logits(Logits),
    /// The likeliest token of each row, which a device found itself.
    Likeliest(Vec<Likeliest>),
    /// The largest logits of each row, which a device found itself.
    Top(Vec<TopLogits>),
}

impl Scores {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Logits(logits) => logits.rows(),
            Self::Likeliest(rows) => rows.len(),
            Self::Top(rows) => rows.len(),
        }
    }

    /// What there is of row `i`, which is below [`rows`](Self::rows).
    pub(super) fn row(&self, i: usize) -> RowScores<'_> {
        match self {
            Self::Logits(logits) => RowScores::Known(Known::All(logits.row(i))),
            Self::Likeliest(rows) => RowScores::Likeliest(rows[i]),
            Self::Top(rows) => match &rows[i] {
                TopLogits::Found(top) => RowScores::Known(Known::Top(top)),
                TopLogits::NoDistribution(value) => RowScores::NoDistribution(*value),
                _ => RowScores::Crowded,
            },
        }
    }
}

/// A row of [`Scores`].
#[derive(Clone, Copy, Debug)]
pub(super) enum RowScores<'a> {
    Known(Known<'a>),
    Likeliest(Likeliest),
    NoDistribution(f32),
    /// See [`TopLogits::Crowded`].
    Crowded,
}
