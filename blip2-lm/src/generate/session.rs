//! What the engine asks of a language model: logits, one step at a time.

use super::logits::{Logits, Scores};

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

    /// As [`prefill`](Self::prefill), for whoever needs the `k` largest logits of each row alone: a device
    /// that finds them itself gives them in place of all logits. By default it does not.
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn prefill_top(&mut self, k: usize) -> Result<Scores, Self::Error> {
        let _ = k;
        self.prefill().map(Scores::Logits)
    }

    /// As [`step`](Self::step), for whoever needs the `k` largest logits of each row alone: see
    /// [`prefill_top`](Self::prefill_top).
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn step_top(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        k: usize,
    ) -> Result<Scores, Self::Error> {
        let _ = k;
        self.step(parents, tokens).map(Scores::Logits)
    }

    /// All logits of the latest step, or of the prefill, of which the [largest](Self::prefill_top) were
    /// given and did not do; asked for once at most. `None` from a session that gives all logits.
    ///
    /// # Errors
    ///
    /// Whatever the model reports.
    fn all_logits(&mut self) -> Result<Option<Logits>, Self::Error> {
        Ok(None)
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

    fn prefill_top(&mut self, k: usize) -> Result<Scores, Self::Error> {
        (**self).prefill_top(k)
    }

    fn step_top(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        k: usize,
    ) -> Result<Scores, Self::Error> {
        (**self).step_top(parents, tokens, k)
    }

    fn all_logits(&mut self) -> Result<Option<Logits>, Self::Error> {
        (**self).all_logits()
    }

    fn remaining_positions(&self) -> Option<usize> {
        (**self).remaining_positions()
    }
}
