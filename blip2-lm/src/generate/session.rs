//! What the engine asks of a language model: logits, one step at a time.

use blip2_kernels::Likeliest;

use super::GenerateError;

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

/// What a step gives to greedy search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scores {
    /// All logits, to search on the host.
    Logits(Logits),
    /// The likeliest token of each row, which a device found itself.
    Likeliest(Vec<Likeliest>),
}

impl Scores {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Logits(logits) => logits.rows(),
            Self::Likeliest(rows) => rows.len(),
        }
    }

    /// What there is of row `i`, which is below [`rows`](Self::rows).
    pub(super) fn row(&self, i: usize) -> RowScores<'_> {
        match self {
            Self::Logits(logits) => RowScores::Logits(logits.row(i)),
            Self::Likeliest(rows) => RowScores::Likeliest(rows[i]),
        }
    }
}

/// A row of [`Scores`].
#[derive(Clone, Copy, Debug)]
pub(super) enum RowScores<'a> {
    Logits(&'a [f32]),
    Likeliest(Likeliest),
}

/// A running decode: what the engine needs of a language model.
///
/// A session holds its prompt, already embedded or encoded, and a key/value cache. The engine calls
/// [`prefill`](Self::prefill) once and then [`step`](Self::step) until every row has finished.
///
/// Driven by hand, without a [`Generator`](super::Generator):
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{DecoderLm, OptConfig, RandomWeights, Weights};
/// use blip2_lm::DecodeSession;
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
/// let embeds = model.embed(&[vec![2, 17, 42]])?;
/// let mut session = model.start(embeds, &[vec![true; 3]], 5)?;
/// assert_eq!(session.prefill()?.rows(), 1);
/// let two = session.step(&[0, 0], &[7, 8])?; // the prompt goes on in two ways …
/// assert_eq!(two.rows(), 2);
/// let three = session.step(&[1, 1, 1], &[4, 5, 6])?; // … and the second of them in three
/// assert_eq!(three.rows(), 3);
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
pub trait DecodeSession {
    /// What can go wrong in the model.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The number of logits per row, the same in every call.
    fn vocab_size(&self) -> usize;

    /// The number of prompt rows.
    fn rows(&self) -> usize;

    /// Runs the prompt. Returns the logits of the token after it, one row for each prompt row.
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn prefill(&mut self) -> Result<Logits, Self::Error>;

    /// Runs one token in each row: row `i` of this step continues row `parents[i]` of the step
    /// before (of the prefill, at first) with `tokens[i]`. Both slices have the same length.
    ///
    /// `parents` may be shorter than the last step (rows that finished are left out, and cost
    /// nothing any more), longer (beams fan out of one prefilled row), and in any order with
    /// repetitions (beams change places). Returns the logits after each new row.
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, Self::Error>;

    /// As [`prefill`](Self::prefill), for greedy search: a device that finds the likeliest tokens itself,
    /// of those that are not `forbidden`, gives them in place of all logits. By default it does not.
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn prefill_greedy(&mut self, forbidden: &[u32]) -> Result<Scores, Self::Error> {
        let _ = forbidden;
        self.prefill().map(Scores::Logits)
    }

    /// As [`step`](Self::step), for greedy search: see [`prefill_greedy`](Self::prefill_greedy).
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn step_greedy(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        forbidden: &[u32],
    ) -> Result<Scores, Self::Error> {
        let _ = forbidden;
        self.step(parents, tokens).map(Scores::Logits)
    }

    /// How many more tokens can be fed after the prompt before the context is full; `None` if the
    /// model has no such limit. One more than this can be generated, as the last is not fed.
    fn remaining_positions(&self) -> Option<usize> {
        None
    }
}

/// A running decode that takes in another: how a batch that runs gets new rows.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{DecoderLm, OptConfig, RandomWeights, Weights};
/// use blip2_lm::{DecodeSession, JoinSession};
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
/// let mut running = model.start(model.embed(&[vec![2, 17, 42]])?, &[vec![true; 3]], 5)?;
/// running.prefill()?;
/// running.step(&[0], &[7])?;
/// let mut late = model.start(model.embed(&[vec![2, 9]])?, &[vec![true; 2]], 5)?;
/// late.prefill()?;
/// running.join(late)?;
/// assert_eq!(running.step(&[0, 1], &[8, 4])?.rows(), 2); // row 1 is the late one's
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
pub trait JoinSession: DecodeSession + Sized {
    /// Takes the rows of `other`'s last step (of its prefill, if there was none) behind those of its own:
    /// where the last step had `n` rows, row `i` of `other` is parent `n + i` of the next. Both prompts have
    /// run, and both are of one model. Each row gets what it would get alone.
    ///
    /// # Errors
    ///
    /// For a prompt that has not run, and for another model.
    fn join(&mut self, other: Self) -> Result<(), Self::Error>;
}

/// A running decode of one row that runs several tokens in one pass, and takes back those that do not hold:
/// what [`Speculative`](super::Speculative) decoding stands on.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{DecoderLm, OptConfig, RandomWeights, Weights};
/// use blip2_lm::{DecodeSession, RewindSession};
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
/// let mut session = model.start(model.embed(&[vec![2, 17, 42]])?, &[vec![true; 3]], 5)?;
/// session.prefill()?;
/// let tried = session.extend(&[7, 8, 9])?; // after 7, after 8, after 9
/// assert_eq!(tried.rows(), 3);
/// session.rewind(2); // 7 alone holds
/// assert_eq!(session.step(&[0], &[8])?.row(0), tried.row(1));
/// # Ok::<(), blip2_lm::LmError>(())
/// ```
pub trait RewindSession: DecodeSession {
    /// Runs tokens that follow one another after the only row, and returns the logits after each of them.
    ///
    /// # Errors
    ///
    /// Whatever the model reports; where there is another number of rows than one.
    fn extend(&mut self, tokens: &[u32]) -> Result<Logits, Self::Error>;

    /// Takes back the last `count` tokens that were run, none of them of the prompt.
    fn rewind(&mut self, count: usize);
}

impl<S: DecodeSession + ?Sized> DecodeSession for &mut S {
    type Error = S::Error;

    fn vocab_size(&self) -> usize {
        (**self).vocab_size()
    }

    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn prefill(&mut self) -> Result<Logits, Self::Error> {
        (**self).prefill()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, Self::Error> {
        (**self).step(parents, tokens)
    }

    fn prefill_greedy(&mut self, forbidden: &[u32]) -> Result<Scores, Self::Error> {
        (**self).prefill_greedy(forbidden)
    }

    fn step_greedy(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        forbidden: &[u32],
    ) -> Result<Scores, Self::Error> {
        (**self).step_greedy(parents, tokens, forbidden)
    }

    fn remaining_positions(&self) -> Option<usize> {
        (**self).remaining_positions()
    }
}

/// Runs the prompt and checks the shape of what comes back.
pub(super) fn prefill<S: DecodeSession>(session: &mut S) -> Result<Logits, GenerateError> {
    let rows = session.rows();
    let logits = session.prefill().map_err(GenerateError::session)?;
    checked(logits, rows, session.vocab_size())
}

/// Runs one step and checks the shape of what comes back.
pub(super) fn step<S: DecodeSession>(
    session: &mut S,
    parents: &[usize],
    tokens: &[u32],
) -> Result<Logits, GenerateError> {
    let logits = session
        .step(parents, tokens)
        .map_err(GenerateError::session)?;
    checked(logits, parents.len(), session.vocab_size())
}

/// Runs the prompt for whoever chooses from what it gives: where that is by greedy search alone, with
/// the tokens that are `forbidden`.
pub(super) fn first<S: DecodeSession>(
    session: &mut S,
    forbidden: Option<&[u32]>,
) -> Result<Scores, GenerateError> {
    let Some(forbidden) = forbidden else {
        return prefill(session).map(Scores::Logits);
    };
    let rows = session.rows();
    let scores = session.prefill_greedy(forbidden);
    found(scores.map_err(GenerateError::session)?, rows, session)
}

/// Runs one step, as [`first`] does the prompt.
pub(super) fn next<S: DecodeSession>(
    session: &mut S,
    parents: &[usize],
    tokens: &[u32],
    forbidden: Option<&[u32]>,
) -> Result<Scores, GenerateError> {
    let Some(forbidden) = forbidden else {
        return step(session, parents, tokens).map(Scores::Logits);
    };
    let scores = session.step_greedy(parents, tokens, forbidden);
    let scores = scores.map_err(GenerateError::session)?;
    found(scores, parents.len(), session)
}

fn found<S: DecodeSession>(
    scores: Scores,
    rows: usize,
    session: &S,
) -> Result<Scores, GenerateError> {
    let vocab = session.vocab_size();
    let whole = |id: u32| (id as usize) < vocab;
    match scores {
        Scores::Logits(logits) => checked(logits, rows, vocab).map(Scores::Logits),
        Scores::Likeliest(tokens) => {
            let known =
                |token: &Likeliest| !matches!(token, Likeliest::Token { id, .. } if !whole(*id));
            match tokens.len() == rows && tokens.iter().all(known) {
                true => Ok(Scores::Likeliest(tokens)),
                false => Err(GenerateError::SessionShape {
                    rows: tokens.len(),
                    vocab,
                    expected_rows: rows,
                    expected_vocab: vocab,
                }),
            }
        }
    }
}

fn checked(logits: Logits, rows: usize, vocab: usize) -> Result<Logits, GenerateError> {
    if logits.rows() != rows || logits.vocab() != vocab {
        return Err(GenerateError::SessionShape {
            rows: logits.rows(),
            vocab: logits.vocab(),
            expected_rows: rows,
            expected_vocab: vocab,
        });
    }
    Ok(logits)
}
