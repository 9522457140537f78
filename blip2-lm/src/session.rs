//! A running decode of any model, borrowed or owned.

use std::{fmt, ops::Deref, ptr};

use burn::tensor::Tensor;

use crate::{
    batch::{greedy, logits, top},
    error::LmError,
    generate::{DecodeSession, JoinSession, Logits, RewindSession, Scores},
};

/// What a [`Session`] needs of a model. The model holds the weights and the state everything that a
/// decode changes, so that one model serves many decodes.
pub(crate) trait Decode {
    /// What a decode remembers between its steps.
    type State;

    /// The size of the vocabulary.
    fn vocab_size(&self) -> usize;

    /// The number of prompts.
    fn rows(&self, state: &Self::State) -> usize;

    /// See [`DecodeSession::prefill`]: the logits, `[rows, 1, vocab]`.
    fn prefill(&self, state: &mut Self::State) -> Result<Tensor<3>, LmError>;

    /// See [`DecodeSession::step`]: the logits, `[rows, 1, vocab]`.
    fn step(
        &self,
        state: &mut Self::State,
        parents: &[usize],
        tokens: &[u32],
    ) -> Result<Tensor<3>, LmError>;

    /// See [`RewindSession::extend`]: the logits, `[1, new, vocab]`.
    fn extend(&self, state: &mut Self::State, tokens: &[u32]) -> Result<Tensor<3>, LmError>;

    /// See [`RewindSession::rewind`].
    fn rewind(&self, state: &mut Self::State, count: usize);

    /// See [`JoinSession::join`].
    fn join(&self, state: &mut Self::State, other: Self::State) -> Result<(), LmError>;

    /// See [`DecodeSession::remaining_positions`].
    fn remaining_positions(&self, state: &Self::State) -> Option<usize>;
}

/// A running decode of the model that `H` points to: prompts, then one token at a time with a KV
/// cache.
///
/// A model's `start` gives a session that borrows the model (`Session<&Model>`). A program that
/// keeps sessions, such as a server, holds its model in an [`Arc`](std::sync::Arc) and lets the
/// session [hold that](Self::held_by): then the session is `'static` and may go to another thread.
///
/// ```
/// # use blip2_lm::{GenerationConfig, Generator, LanguageModel, Session};
/// # use blip2_io::config::{OptConfig, TextConfig};
/// # use blip2_kernels::{RandomWeights, Weights};
/// # use burn::tensor::Device;
/// use std::{sync::Arc, thread};
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let source = RandomWeights::new(0, 0.1);
/// # let device = Device::flex();
/// # let model = LanguageModel::load(&TextConfig::Opt(config), &Weights::new(&source, &device))?;
/// let model = Arc::new(model); // of one copy of the weights, however many sessions hold it
/// let prompt = vec![vec![2, 17, 42]];
/// let embeds = model.embed(&prompt)?;
/// let session = model.start(embeds, &[vec![true; 3]], None, 5)?;
/// let mut session: Session<Arc<LanguageModel>> = session.held_by(Arc::clone(&model))?;
///
/// let five = GenerationConfig::default().with_max_new_tokens(5);
/// let generator = Generator::new(five)?;
/// let answers = thread::spawn(move || generator.generate(&mut session, &prompt));
/// assert_eq!(answers.join().expect("no panic")?[0][0].tokens.len(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(private_bounds)] // only this crate's own models run in it
pub struct Session<H>
where
    H: Deref,
    H::Target: Decode,
{
    model: H,
    state: <H::Target as Decode>::State,
    /// The logits of the latest step on their device, if it gave the largest alone.
    latest: Option<Tensor<3>>,
}

#[allow(private_bounds)]
impl<H> Session<H>
where
    H: Deref,
    H::Target: Decode,
{
    /// `state` is of a decode that `model` began.
    pub(crate) fn new(model: H, state: <H::Target as Decode>::State) -> Self {
        Self {
            model,
            state,
            latest: None,
        }
    }

    /// The same decode, with another handle of the same model: an owned one in place of a reference.
    /// Nothing is copied.
    ///
    /// # Errors
    ///
    /// [`LmError::OtherModel`] if `model` points to another model, or to a copy: what the session
    /// has in its caches was computed by this very one.
    pub fn held_by<G>(self, model: G) -> Result<Session<G>, LmError>
    where
        G: Deref<Target = H::Target>,
    {
        if !ptr::eq(&*self.model, &*model) {
            return Err(LmError::OtherModel);
        }
        Ok(Session {
            model,
            state: self.state,
            latest: self.latest,
        })
    }

    /// Runs the prompt.
    fn run_prompt(&mut self) -> Result<Tensor<3>, LmError> {
        self.model.prefill(&mut self.state)
    }

    /// Runs one step.
    fn run_step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Tensor<3>, LmError> {
        // Its memory is free for this step's.
        self.latest = None;
        self.model.step(&mut self.state, parents, tokens)
    }

    /// The largest of logits, which are kept should they not do.
    fn top(&mut self, tensor: Tensor<3>, k: usize) -> Result<Scores, LmError> {
        match top(&tensor, k)? {
            Some(scores) => {
                self.latest = Some(tensor);
                Ok(scores)
            }
            None => logits(tensor).map(Scores::Logits),
        }
    }
}

#[allow(private_bounds)]
impl<H> DecodeSession for Session<H>
where
    H: Deref,
    H::Target: Decode,
{
    type Error = LmError;

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn rows(&self) -> usize {
        self.model.rows(&self.state)
    }

    fn prefill(&mut self) -> Result<Logits, LmError> {
        logits(self.run_prompt()?)
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, LmError> {
        logits(self.run_step(parents, tokens)?)
    }

    fn prefill_greedy(&mut self, forbidden: &[u32]) -> Result<Scores, LmError> {
        greedy(self.run_prompt()?, forbidden)
    }

    fn step_greedy(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        forbidden: &[u32],
    ) -> Result<Scores, LmError> {
        greedy(self.run_step(parents, tokens)?, forbidden)
    }

    fn prefill_top(&mut self, k: usize) -> Result<Scores, LmError> {
        let logits = self.run_prompt()?;
        self.top(logits, k)
    }

    fn step_top(&mut self, parents: &[usize], tokens: &[u32], k: usize) -> Result<Scores, LmError> {
        let logits = self.run_step(parents, tokens)?;
        self.top(logits, k)
    }

    fn all_logits(&mut self) -> Result<Option<Logits>, LmError> {
        self.latest.take().map(logits).transpose()
    }

    fn remaining_positions(&self) -> Option<usize> {
        self.model.remaining_positions(&self.state)
    }
}

#[allow(private_bounds)]
impl<H> JoinSession for Session<H>
where
    H: Deref,
    H::Target: Decode,
{
    fn join(&mut self, other: Self) -> Result<(), LmError> {
        if !ptr::eq(&*self.model, &*other.model) {
            return Err(LmError::OtherModel);
        }
        self.model.join(&mut self.state, other.state)
    }
}

#[allow(private_bounds)]
impl<H> RewindSession for Session<H>
where
    H: Deref,
    H::Target: Decode,
{
    fn extend(&mut self, tokens: &[u32]) -> Result<Logits, LmError> {
        logits(self.model.extend(&mut self.state, tokens)?)
    }

    fn rewind(&mut self, count: usize) {
        self.model.rewind(&mut self.state, count);
    }
}

#[allow(private_bounds)]
impl<H> fmt::Debug for Session<H>
where
    H: Deref,
    H::Target: Decode,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("rows", &self.model.rows(&self.state))
            .finish_non_exhaustive()
    }
}
