//! Requests that run in one session.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
    time::Duration,
};

use blip2_lm::generate::{Batch, Generated};

use super::{AnswerPiece, AnswerRequest, answer_of};
use crate::{
    error::Blip2Error,
    verbs::{Answer, Started, Timed, Timings, Writer, alone, decode, token},
};

/// Requests that run in one session, a token at a time or as a beam search.
pub(super) enum Group {
    Rows(Rows),
    /// A beam search, which has nothing to show before its end.
    Beams {
        request: usize,
        started: Box<Started>,
        timings: Timings,
    },
}

/// The requests that a batch does not have its answers to, by their numbers.
pub(super) type Growing<P> = BTreeMap<usize, AnswerRequest<P>>;

/// What a step brought.
#[derive(Default)]
pub(super) struct Brought {
    pub(super) pieces: Vec<AnswerPiece>,
    pub(super) ended: Vec<(usize, Result<Answer, Blip2Error>)>,
}

impl Group {
    /// Whether its next step is a beam search.
    pub(super) fn searches(&self) -> bool {
        matches!(self, Self::Beams { .. })
    }

    /// A step of its own; `None` where that was the last.
    pub(super) fn step<P: Writer>(
        self,
        growing: &Growing<P>,
        brought: &mut Brought,
    ) -> Result<Option<Self>, Blip2Error> {
        match self {
            Self::Rows(mut rows) => {
                rows.step(growing, brought)?;
                Ok((!rows.batch.is_finished()).then_some(Self::Rows(rows)))
            }
            Self::Beams {
                request,
                started,
                timings,
            } => {
                if let Some(asked) = growing.get(&request) {
                    let tokenizer = asked.seen.member().tokenizer();
                    let found = alone(decode(*started, tokenizer, timings));
                    if let Ok(found) = &found {
                        brought.pieces.extend(whole(request, found));
                    }
                    brought.ended.push((request, found));
                }
                Ok(None)
            }
        }
    }
}

/// The pieces of a search: each sequence in one.
fn whole(request: usize, found: &Answer) -> impl Iterator<Item = AnswerPiece> {
    let all = std::iter::once(found).chain(&found.alternatives);
    all.enumerate().map(move |(sequence, answer)| AnswerPiece {
        request,
        sequence,
        text: answer.text.clone(),
        token: None,
        finish_reason: Some(answer.finish_reason),
    })
}

/// Requests without beams, whose sequences grow by a token each in a step.
pub(super) struct Rows {
    batch: Box<Batch<'static, Timed>>,
    members: Vec<Member>,
    /// By their numbers in the batch.
    sequences: BTreeMap<usize, Sequence>,
}

/// A request, with the numbers of its sequences in the batch.
struct Member {
    request: usize,
    sequences: Range<usize>,
    clock: Clock,
}

/// What a request took before it ran in the session where it runs.
struct Clock {
    timings: Timings,
    /// The time of its prefill, if that was another session's.
    prefill: Option<Duration>,
    /// How long the session had decoded when the request began.
    since: Duration,
}

struct Sequence {
    request: usize,
    /// Which of those that the request asked for.
    number: usize,
    last: Option<u32>,
}

impl Rows {
    /// `requests` are those of the session's prompts.
    pub(super) fn start<P: Writer>(
        requests: &[(usize, &AnswerRequest<P>)],
        started: Started,
        timings: Timings,
    ) -> Result<Self, Blip2Error> {
        let (mut prompts, mut members) = (Vec::new(), Vec::new());
        let mut sequences = BTreeMap::new();
        for (&(request, asked), history) in requests.iter().zip(started.histories) {
            let decoder = asked.seen.member().decoder();
            let generator = asked.options.generator(asked.config(), decoder)?;
            let first = sequences.len();
            for number in 0..generator.config().num_return_sequences {
                let sequence = Sequence {
                    request,
                    number,
                    last: None,
                };
                sequences.insert(first + number, sequence);
            }
            members.push(Member {
                request,
                sequences: first..sequences.len(),
                clock: Clock {
                    timings,
                    prefill: None,
                    since: Duration::ZERO,
                },
            });
            prompts.push((generator, history));
        }
        Ok(Self {
            batch: Box::new(Batch::new(started.session, prompts)?),
            members,
            sequences,
        })
    }

    fn step<P: Writer>(
        &mut self,
        growing: &Growing<P>,
        brought: &mut Brought,
    ) -> Result<(), Blip2Error> {
        for (row, piece) in self.batch.step()? {
            let Entry::Occupied(mut sequence) = self.sequences.entry(row) else {
                continue;
            };
            let sequence = sequence.get_mut();
            let (request, number) = (sequence.request, sequence.number);
            let Some(asked) = growing.get(&request) else {
                continue;
            };
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    brought.ended.push((request, Err(error.into())));
                    continue;
                }
            };
            let tokenizer = asked.seen.member().tokenizer();
            let token = piece.token.map(|token| {
                let before = sequence.last.replace(token.id);
                let own = token::after(tokenizer, before, token.id, token.logprob);
                own.among(tokenizer, before, &piece.top)
            });
            brought.pieces.push(AnswerPiece {
                request,
                sequence: number,
                text: piece.text,
                token,
                finish_reason: self.batch.finish_reason(row),
            });
        }
        self.end_finished(growing, brought);
        Ok(())
    }

    /// Makes answers of the requests whose sequences have all ended, and forgets them.
    fn end_finished<P: Writer>(&mut self, growing: &Growing<P>, brought: &mut Brought) {
        let Self {
            batch,
            members,
            sequences,
        } = self;
        let mut session = Timings::default();
        batch.session().note(&mut session);
        members.retain(|member| {
            let mut numbers = member.sequences.clone();
            if !numbers.all(|number| batch.finish_reason(number).is_some()) {
                return true;
            }
            let generated: Vec<Generated> = member
                .sequences
                .clone()
                .filter_map(|number| {
                    sequences.remove(&number);
                    batch.take(number)
                })
                .collect();
            if let Some(asked) = growing.get(&member.request) {
                let timings = member.clock.read(&session);
                let answer = answer_of(asked, &generated, timings);
                brought.ended.push((member.request, answer));
            }
            false
        });
    }

    /// Takes other rows, which have taken a step as these have, into its session.
    pub(super) fn join(&mut self, mut other: Self) -> Result<(), Blip2Error> {
        let first = self.batch.sequences();
        let session = |rows: &Self| {
            let session = rows.batch.session();
            (session.prefill, session.decode)
        };
        let ((prefill, now), (others_prefill, others_now)) = (session(self), session(&other));
        for member in &mut self.members {
            member.clock.prefill.get_or_insert(prefill);
        }
        for member in &mut other.members {
            let clock = &mut member.clock;
            clock.prefill.get_or_insert(others_prefill);
            clock.since = now.saturating_sub(others_now.saturating_sub(clock.since));
            member.sequences = member.sequences.start + first..member.sequences.end + first;
        }
        self.batch.join(*other.batch)?;
        self.members.extend(other.members);
        let sequences = other.sequences.into_iter();
        self.sequences
            .extend(sequences.map(|(number, sequence)| (number + first, sequence)));
        Ok(())
    }

    /// The requests, each numbered by so much more.
    pub(super) fn renumbered(mut self, more: usize) -> Self {
        for member in &mut self.members {
            member.request += more;
        }
        for sequence in self.sequences.values_mut() {
            sequence.request += more;
        }
        self
    }
}

impl Clock {
    /// The request's timings, of its session's.
    fn read(&self, session: &Timings) -> Timings {
        let decode = session.decode.unwrap_or_default();
        Timings {
            prefill: self.prefill.or(session.prefill),
            decode: Some(decode.saturating_sub(self.since)),
            // Of a session in which several run there is no saying whose they were.
            drafted: session.drafted.filter(|_| self.prefill.is_none()),
            accepted: session.accepted.filter(|_| self.prefill.is_none()),
            ..self.timings
        }
    }
}
