//! A session that is ahead: a draft model writes what the model itself checks in one pass.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::logits::Logits;
use super::numerics::argmax;
use super::session::{DecodeSession, JoinSession, RewindSession};

/// How many tokens are drafted at first, and at most.
const FIRST: usize = 4;
const MOST: usize = 8;

/// A session of a model, the target, for which a draft, a smaller or narrower model of the same vocabulary,
/// writes ahead (speculative decoding: Leviathan et al., 2023; Chen et al., 2023).
///
/// The draft's likeliest tokens are run through the target in one pass, which costs little more than a single
/// token where a step is bound by reading the weights. Whoever decodes sees an ordinary session: asked for
/// the token that was drafted, it has the logits already; asked for another one, it takes back what does not
/// hold. So all logits are the target's own, and what is decoded is what it would decode alone: greedily,
/// with constraints and penalties, and by sampling too, token for token of the same seed.
///
/// It drafts while there is one row. With beams, or after others [join](JoinSession::join), it is the
/// target alone.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::{DecoderLm, OptConfig, Precision, RandomWeights, Weights};
/// use blip2_lm::generate::{GenerationConfig, Generator, Speculative};
///
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let weights = Weights::new(&source, &device);
/// let model = DecoderLm::load(&config, &weights)?;
/// let narrow = DecoderLm::load(&config, &weights.with_precision(Precision::Int4))?;
///
/// let (prompt, mask) = ([vec![2, 17, 42]], [vec![true; 3]]);
/// let embeds = model.embed(&prompt)?;
/// let target = model.start(embeds.clone(), &mask, 9)?;
/// let draft = narrow.start(embeds.clone(), &mask, 9)?;
/// let mut ahead = Speculative::new(target, draft);
/// let drafts = ahead.drafts();
///
/// let generator = Generator::new(GenerationConfig::default().with_max_new_tokens(9))?;
/// let found = generator.generate(&mut ahead, &prompt)?;
/// let mut alone = model.start(embeds, &mask, 9)?;
/// assert_eq!(found[0][0].tokens, generator.generate(&mut alone, &prompt)?[0][0].tokens);
/// println!("{} of {} drafted tokens held", drafts.accepted(), drafts.drafted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Speculative<S, D = S> {
    target: S,
    /// Until there is another number of rows than one.
    draft: Option<Draft<D>>,
    /// Tokens that the target has run and that nobody has asked for, each with the logits after it.
    ahead: VecDeque<(u32, Logits)>,
    /// How many tokens may still be run.
    room: Option<usize>,
    counts: Drafts,
}

/// The draft's session, and where it stands.
#[derive(Debug)]
struct Draft<D> {
    session: D,
    /// Tokens that it has run and that nobody has asked for yet.
    beyond: VecDeque<u32>,
    /// Tokens that were asked for and that it has not run.
    behind: Vec<u32>,
    /// How many tokens to draft.
    length: usize,
}

/// How many tokens were drafted for a [`Speculative`] session, and how many of them held. A clone counts
/// on with the session.
#[derive(Debug, Clone, Default)]
pub struct Drafts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    drafted: AtomicUsize,
    accepted: AtomicUsize,
}

impl Drafts {
    /// How many tokens were drafted.
    pub fn drafted(&self) -> usize {
        self.0.drafted.load(Relaxed)
    }

    /// How many of them were decoded and gone on from; the last token of a text never is.
    pub fn accepted(&self) -> usize {
        self.0.accepted.load(Relaxed)
    }
}

impl<D: RewindSession> Draft<D> {
    /// Takes a token that was asked for.
    fn follow(&mut self, token: u32) {
        if self.beyond.front() == Some(&token) {
            self.beyond.pop_front();
            return;
        }
        self.session.rewind(self.beyond.len());
        self.beyond.clear();
        self.behind.push(token);
    }

    /// Writes up to `count` tokens after those that were asked for, of which the last is not run.
    fn write(&mut self, count: usize) -> Result<Vec<u32>, D::Error> {
        let mut written = Vec::new();
        while written.len() < count {
            let logits = match written.last() {
                Some(&last) => {
                    self.beyond.push_back(last);
                    self.session.extend(&[last])?
                }
                None if self.behind.is_empty() => break,
                None => self.session.extend(&std::mem::take(&mut self.behind))?,
            };
            // What is no number is left to the target to tell of.
            let Some(next) = argmax(logits.row(logits.rows() - 1)) else {
                break;
            };
            written.push(next as u32);
        }
        Ok(written)
    }
}

impl<S: RewindSession, D: RewindSession<Error = S::Error>> Speculative<S, D> {
    /// `target` decodes what `draft` writes ahead. Both have the same prompt, which neither has run.
    pub fn new(target: S, draft: D) -> Self {
        let is_one = target.rows() == 1 && draft.rows() == 1;
        let same = target.vocab_size() == draft.vocab_size();
        let room = [target.remaining_positions(), draft.remaining_positions()];
        Self {
            draft: (is_one && same).then_some(Draft {
                session: draft,
                beyond: VecDeque::new(),
                behind: Vec::new(),
                length: FIRST,
            }),
            room: room.into_iter().flatten().min(),
            target,
            ahead: VecDeque::new(),
            counts: Drafts::default(),
        }
    }

    /// What is counted of it, for whoever keeps that.
    pub fn drafts(&self) -> Drafts {
        self.counts.clone()
    }

    /// The target as if it had never been ahead.
    fn settle(&mut self) {
        self.target.rewind(self.ahead.len());
        self.ahead.clear();
    }

    /// The logits after a token, whose successors are drafted and checked with it.
    fn run_ahead(&mut self, token: u32) -> Result<Logits, S::Error> {
        // The token itself takes a place too.
        let room = self.room.map_or(usize::MAX, |room| room.saturating_sub(1));
        let drafted = match &mut self.draft {
            Some(draft) => draft.write(draft.length.min(room))?,
            None => Vec::new(),
        };
        if drafted.is_empty() {
            return self.target.step(&[0], &[token]);
        }
        self.counts.0.drafted.fetch_add(drafted.len(), Relaxed);
        let tokens: Vec<u32> = std::iter::once(token).chain(drafted).collect();
        let logits = self.target.extend(&tokens)?;
        let after = |n: usize| Logits::one(logits.row(n));
        let later = tokens.iter().enumerate().skip(1);
        self.ahead = later.map(|(n, &token)| (token, after(n))).collect();
        Ok(after(0))
    }
}

impl<S: RewindSession, D: RewindSession<Error = S::Error>> DecodeSession for Speculative<S, D> {
    type Error = S::Error;

    fn vocab_size(&self) -> usize {
        self.target.vocab_size()
    }

    fn rows(&self) -> usize {
        self.target.rows()
    }

    fn prefill(&mut self) -> Result<Logits, S::Error> {
        let logits = self.target.prefill()?;
        if let Some(draft) = &mut self.draft {
            draft.session.prefill()?;
        }
        Ok(logits)
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, S::Error> {
        let (&[0], &[token], Some(draft)) = (parents, tokens, &mut self.draft) else {
            self.settle();
            self.draft = None;
            return self.target.step(parents, tokens);
        };
        draft.follow(token);
        let held = match self.ahead.pop_front() {
            Some((drafted, logits)) if drafted == token => {
                self.counts.0.accepted.fetch_add(1, Relaxed);
                // All of it held: the next draft may be longer.
                if self.ahead.is_empty() {
                    draft.length = (draft.length + 2).min(MOST);
                }
                Some(logits)
            }
            Some(_) => {
                draft.length = draft.length.saturating_sub(1).max(1);
                self.target.rewind(self.ahead.len() + 1);
                self.ahead.clear();
                None
            }
            None => None,
        };
        let logits = match held {
            Some(logits) => logits,
            None => self.run_ahead(token)?,
        };
        self.room = self.room.map(|room| room.saturating_sub(1));
        Ok(logits)
    }

    fn remaining_positions(&self) -> Option<usize> {
        self.target.remaining_positions()
    }
}

impl<S, D> JoinSession for Speculative<S, D>
where
    S: RewindSession + JoinSession,
    D: RewindSession<Error = S::Error>,
{
    fn join(&mut self, mut other: Self) -> Result<(), S::Error> {
        other.settle();
        self.settle();
        self.draft = None;
        self.target.join(other.target)
    }
}
